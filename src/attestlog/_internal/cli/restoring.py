"""What `restore` does before and after: whose keys go on signing, and the entry that says what happened."""

from __future__ import annotations

from pathlib import Path

from attestlog._internal.cli.opening import open_log
from attestlog._internal.cli.verbs import UsageError
from attestlog._internal.config import Signers, read_config
from attestlog._internal.log import Receipt
from attestlog._internal.restoring import Restored
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import AttestlogError


def signers_of(root: Path, entry: str | None, checkpoint: str | None) -> Signers:
    """Those given, else those of the log that stands at `root`."""
    if entry is None or checkpoint is None:
        try:
            there = read_config(open_source(root)).signers
        except AttestlogError:
            raise UsageError(
                f"no log.toml at {root} names the signers: want --signer and --checkpoint-signer"
            ) from None
        entry, checkpoint = entry or there.entry, checkpoint or there.checkpoint
    return Signers(entry=entry, checkpoint=checkpoint)


def record(root: Path, url: str, restored: Restored) -> Receipt:
    """The entry that the log goes on with. Under a forced restore it is a critical one."""
    with open_log(str(root)) as log:
        return log.change(
            "log_restored", actor_id="attestlog", actor_type="SYSTEM",
            event_category="CRITICAL" if restored.is_behind else "WARNING",
            action_payload={"from": url, "size": restored.size, "forced": restored.is_behind},
        )  # fmt: skip
