"""`attestlog evidence`: the split views that a replica or a witness has seen."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec

from attestlog._internal.cli.options import JsonOption, argument
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.verbs import example, new_app

app = new_app()


class _SplitView(NamedTuple):
    """Two checkpoints of one log that cannot both be true, to be shown."""

    members: Mapping[str, Any]
    seen: str
    earlier: str
    """What the replica or witness did with the first checkpoint."""


@app.command(epilog=example("attestlog evidence copies"))
def evidence(
    directory: Annotated[Path, argument("DIR", "Directory of the replica or witness.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Show each split view that a replica or witness has seen: two checkpoints that cannot both be true."""
    from attestlog._internal.witness.state import STATE_FILE

    out = Output(as_json)
    is_witness = (directory / STATE_FILE).exists()
    count = 0
    for split in _seen_by_witness(directory) if is_witness else _seen_by_replica(directory):
        count += 1
        if as_json:
            out.emit("split_view", split.members)
        else:
            _show(out, split)
    if not count and not as_json:
        out.text("no split view was seen")


def _seen_by_witness(directory: Path) -> Iterator[_SplitView]:
    from attestlog._internal.witness.state import WitnessState

    with WitnessState(directory) as state:
        found = state.evidence()
    for item in found:
        seen_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(item.seen_at))
        members = {
            "origin": item.origin, "seen_at": seen_at, "reason": item.reason, "ours": item.ours.decode(),
            "theirs": item.theirs.decode(),
        }  # fmt: skip
        yield _SplitView(members, f"seen {seen_at}", "cosigned before")


def _seen_by_replica(directory: Path) -> Iterator[_SplitView]:
    from attestlog._internal.replica.evidence import evidence as kept_evidence
    from attestlog._internal.replica.replica import LOGS_DIR
    from attestlog._internal.replica.settings import SETTINGS_FILE
    from attestlog.errors import NotFoundError

    if not any((directory / name).exists() for name in (SETTINGS_FILE, LOGS_DIR)):
        raise NotFoundError(f"{directory} is neither a replica nor a witness", path=str(directory))
    for log in sorted((directory / LOGS_DIR).glob("*")):
        for path, split in kept_evidence(log):
            seen = f"seen {split.seen_at}, with {split.size} entries held; kept in {path}"
            yield _SplitView({**msgspec.structs.asdict(split), "path": str(path)}, seen, "held before")


def _show(out: Output, split: _SplitView) -> None:
    out.text((f"{split.members['origin']}: {split.members['reason']}", "bold red"))
    out.text(split.seen)
    for title, note in ((split.earlier, split.members["ours"]), ("told later", split.members["theirs"])):
        out.text(f"{title}:")
        for line in note.splitlines():
            out.text(f"  {line}")
