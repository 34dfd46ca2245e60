"""The entries, read to their end, against all that says something about them: tree, checkpoint, memory.

Where the log contradicts its own checkpoint it is TAMPERED: something in it
does not hold. FORKED is for what contradicts evidence from outside the log.
"""

from __future__ import annotations

from collections.abc import Iterator

from attestlog._internal.core.checkpoint import Checkpoint
from attestlog._internal.core.hashes import EMPTY_ROOT
from attestlog._internal.core.report import Finding, Report, Verdict
from attestlog._internal.judging.findings import finding
from attestlog._internal.verifying.memory import Memory
from attestlog._internal.verifying.stored import StoredTree
from attestlog._internal.verifying.walk import Walk


def compare_tree(stored: StoredTree, walk: Walk) -> Iterator[Finding]:
    """Findings about the stored tree."""
    if walk.is_whole:
        longer = stored.longer(walk.accounted)
        if longer is not None:
            yield longer
        else:
            yield from stored.stale(walk.size)
    for name, why in stored.unreadable:
        yield finding("log.unreadable", f"{name} cannot be read: {why}")


def compare_checkpoint(
    walk: Walk, checkpoint: Checkpoint, memory: Memory | None, report: Report
) -> Iterator[Finding]:
    """Findings about the log's own checkpoint; when it holds, its size goes into the report."""
    if memory is not None and checkpoint.size < memory.checkpoint_size:
        what = f"checkpoint over {checkpoint.size} entries, one over {memory.checkpoint_size} is remembered"
        yield finding("checkpoint.older", what, expected=memory.checkpoint_size, found=checkpoint.size)
    if checkpoint.size > walk.accounted and walk.is_whole:
        what = f"the checkpoint covers {checkpoint.size} entries, {walk.accounted} are there"
        yield finding("checkpoint.ahead", what, expected=checkpoint.size, found=walk.accounted)
    elif _differs(walk, checkpoint.size, checkpoint.root.hex(), report):
        what = f"the root of the first {checkpoint.size} entries is not the one the checkpoint signs"
        found = walk.roots.get(checkpoint.size, b"").hex()
        # Where stored hashes stand for entries that were not read, they may be what is wrong.
        code = "checkpoint.root" if walk.is_whole else "resume.tree"
        yield finding(code, what, expected=checkpoint.root.hex(), found=found)
    elif checkpoint.size in walk.roots:
        report.checkpoint_size = checkpoint.size


def compare_memory(walk: Walk, memory: Memory, report: Report, *, is_resumed: bool) -> Iterator[Finding]:
    """Findings about what is remembered; when it is still a prefix, its size goes into the report."""
    found = walk.roots.get(memory.size, b"").hex()
    if memory.size > walk.accounted and walk.is_whole:
        what = f"{memory.size} entries are remembered, {walk.accounted} are there"
        yield finding("memory.ahead", what, expected=memory.size, found=walk.accounted)
    elif not _differs(walk, memory.size, memory.root, report):
        report.remembered_size = memory.size if found else None
    elif is_resumed or not walk.is_whole:
        what = f"the stored tree and the entries read do not lead to the root remembered at {memory.size}"
        yield finding("resume.tree", what, expected=memory.root, found=found)
    else:
        what = f"the root of the first {memory.size} entries is not the one remembered"
        yield finding("memory.root", what, expected=memory.root, found=found)


def compare_held(
    walk: Walk, held: Checkpoint, origin: str, report: Report, *, is_resumed: bool
) -> Iterator[Finding]:
    """Findings about the checkpoint that the caller kept; its size goes into the report when it holds."""
    found = walk.roots.get(held.size, EMPTY_ROOT if held.size == 0 else b"")
    if held.origin != origin:
        what = f"the checkpoint held is of {held.origin}"
        yield finding("held.origin", what, expected=held.origin, found=origin)
    elif held.size > walk.accounted and walk.is_whole:
        what = f"the checkpoint held covers {held.size} entries, {walk.accounted} are there"
        yield finding("held.ahead", what, expected=held.size, found=walk.accounted)
    elif found == held.root:
        report.held_size = held.size
    elif found and walk.is_whole and not is_resumed:
        what = f"the root of the first {held.size} entries is not the one of the checkpoint held"
        yield finding("held.root", what, expected=held.root.hex(), found=found.hex())
    else:
        what = f"the stored tree and the entries read do not lead to the root held at {held.size}"
        yield finding("resume.tree", what, expected=held.root.hex(), found=found.hex())


def _differs(walk: Walk, size: int, root: str, report: Report) -> bool:
    """Whether the root at `size` is another. Where a gap hides that, the gap was a finding."""
    if size in walk.roots:
        return walk.roots[size].hex() != root
    return report.verdict in {Verdict.VERIFIED, Verdict.INCOMPLETE}
