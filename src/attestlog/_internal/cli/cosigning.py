"""Having witnesses cosign a log's checkpoint, as `checkpoint --witnesses` and `publish --witnesses` do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attestlog._internal.cli.output import notice

if TYPE_CHECKING:
    from attestlog._internal.witness.collecting import Cosigned


def kept_checkpoint(folder: str) -> bytes | None:
    """The checkpoint of a log or a published folder, which witnesses may remember; None if there is none."""
    from attestlog._internal.storage.published import open_published
    from attestlog._internal.storage.resolve import is_published, open_source
    from attestlog.errors import AttestlogError

    try:
        if not is_published(folder):
            return open_source(folder).checkpoint()
        with open_published(folder) as published:
            return published.checkpoint()
    except AttestlogError:
        return None  # what is wrong with it is reported when it is opened


def cosign(log: str, file: Path, *, previous: bytes | None, fail_open: bool) -> Cosigned:
    """Have the stored checkpoint cosigned; say on stderr which witnesses did not. Raises QuorumError."""
    from attestlog._internal.core.trust import parse_trust_policy
    from attestlog._internal.witness.collecting import cosign_checkpoint
    from attestlog.errors import QuorumError

    trust_policy = parse_trust_policy(file.read_bytes())
    try:
        done = cosign_checkpoint(log, trust_policy, previous=previous, fail_open=fail_open)
    except QuorumError as error:
        for name, why in error.failures.items():
            notice(f"witness {name}: {why}")
        raise
    for name, failure in done.failures.items():
        notice(f"witness {name}: {failure.message}")
    if done.lacking is not None:
        notice(f"continued without the quorum (--fail-open): {done.lacking.message}")
    return done
