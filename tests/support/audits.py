"""Logs to verify, and what verifying them said, in short."""

from pathlib import Path
from typing import Any

from tests.support.logs import LogMaker, draft, drafts

from attestlog._internal.core.report import Report
from attestlog._internal.verifier import verify as one_file
from attestlog._internal.verifying import judge_log


def make(root: Path, **options: Any) -> LogMaker:
    """11 entries: genesis, a batch of 6, one alone, a batch of 2, one alone."""
    log = LogMaker(root, **options)
    log.append(*drafts(range(1, 7)))
    log.append(draft(7))
    log.append(draft(8), draft(9))
    log.append(draft(10))
    return log


def segmented(tmp_path: Path) -> LogMaker:
    """11 entries in segments of 3, each signed alone, laid out."""
    log = LogMaker(tmp_path / "log", segment_entries=3)
    for number in range(1, 11):
        log.append(draft(number))
    log.lay_out()
    return log


def verify(log: LogMaker, tmp_path: Path, **options: Any) -> Report:
    """With a memory of the test's own."""
    return judge_log(log.root, **{"state_dir": tmp_path / "state", **options})


def codes(report: Report) -> list[tuple[str, int | None]]:
    """What was found, and where."""
    return [(found.code, found.sequence_number) for found in report.findings]


def verdicts(path: Path) -> tuple[str, str]:
    """What the full verifier, which remembers nothing, and the one-file verifier say of the whole log."""
    report = one_file.Report()
    one_file.verify(report, path, None, one_file.parse_trust([]))
    return judge_log(path, remember=False).verdict.value, report.verdict
