"""Having witnesses cosign a log's checkpoint, as `checkpoint --witnesses` and `publish --witnesses` do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attestlog._internal.cli.output import notice

if TYPE_CHECKING:
    from attestlog._internal.witness.collecting import Cosigned


def kept_checkpoint(folder: str) -> bytes | None:
    """The checkpoint in a log's or published folder, which witnesses may remember; None if there is none."""
    from attestlog._internal.storage.files.layout import CHECKPOINT_FILE

    try:
        return (Path(folder) / CHECKPOINT_FILE).read_bytes()
    except OSError:
        return None  # what is wrong with the folder is reported when it is opened


def cosign(log: str, policy: Path, *, previous: bytes | None, fail_open: bool) -> Cosigned:
    """Have the stored checkpoint cosigned; say on stderr which witnesses did not. Raises QuorumError."""
    from attestlog._internal.core.trust import parse_trust_policy
    from attestlog._internal.witness.collecting import cosign_checkpoint
    from attestlog.errors import QuorumError

    rules = parse_trust_policy(policy.read_bytes())
    try:
        done = cosign_checkpoint(log, rules, previous=previous, fail_open=fail_open)
    except QuorumError as error:
        for name, why in error.failures.items():
            notice(f"witness {name}: {why}")
        raise
    for name, failure in done.failures.items():
        notice(f"witness {name}: {failure.message}")
    if done.lacking is not None:
        notice(f"continued without the quorum (--fail-open): {done.lacking.message}")
    return done
