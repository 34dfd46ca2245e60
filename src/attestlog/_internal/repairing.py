"""Repairing a log's directory: only what is derived from the entries, or was never acknowledged.

No entry is ever touched. Damaged or missing entries can only come back from another copy (`restoring`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attestlog._internal.core.report import Finding, Report, Verdict
from attestlog._internal.in_force import JudgesErasures
from attestlog._internal.storage.resolve import LogName, open_store

TORN, TREE = "torn", "tree"

FIXES: Final = {
    "log.torn_tail": TORN,
    "log.torn_batch": TORN,
    "tree.stale": TREE,
}
"""Findings that can be repaired, and the fix of each."""

DESCRIPTIONS: Final = {
    TORN: "set the torn bytes aside, as a file entries/torn-…: they were never acknowledged",
    TREE: "make the stored tree again from the entries",
}
"""What each fix does; in the order in which they are done."""


def plan_fixes(report: Report) -> list[str]:
    """The fixes that the report's findings call for, in order."""
    wanted = {FIXES[code] for code in report.finding_counts if code in FIXES}
    return [fix for fix in DESCRIPTIONS if fix in wanted]


def beyond_repair(report: Report) -> list[Finding]:
    """Faults that nothing in this directory can repair."""
    return [
        fault for fault in report.findings if fault.code not in FIXES and fault.verdict != Verdict.VERIFIED
    ]


def repair_log(log: LogName, fixes: Iterable[str], *, any_filesystem: bool) -> list[str]:
    """Do these fixes; a sentence for each thing that was set aside. Raises what opening a log raises."""
    # Opening sets torn bytes aside, and goes on only if nothing else is damaged.
    store = open_store(log, any_filesystem=any_filesystem, known=JudgesErasures())
    try:
        with store.exclusive():
            if TREE in fixes:
                store.rebuild_tree()
    finally:
        store.close()
    return list(store.recovered)
