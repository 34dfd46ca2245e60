"""Where the lines are cut into chunks, and who scans them, changes nothing in the report."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from operator import floordiv, mul
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.property.strategies import DAMAGE, LINES, damaged
from tests.support.logs import Key, LogMaker, draft, drafts, entry_id

from attestlog._internal.core import lines as lines_module
from attestlog._internal.core.report import Report, Verdict
from attestlog._internal.verifying import judge_log, workers
from attestlog._internal.verifying import source as source_module
from attestlog._internal.verifying import whole as verify_module


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> LogMaker:
    made = LogMaker(tmp_path_factory.mktemp("chunks") / "log", segment_entries=12)
    made.append(*(draft(number, dependencies=[entry_id(3 * number)]) for number in range(1, 11)))
    made.append(draft(11, provided_proofs=[{"type": "zk", "valid": True}]))
    made.append(*drafts(range(12, 18)))
    made.rotate(Key(5))
    made.append(*drafts(range(19, 21)), batched=False)
    made.rotate(Key(6))
    made.append(*drafts(range(22, 31)))
    assert len(made.lines) == LINES
    made.lay_out()
    return made


def report_of(
    log: LogMaker, monkeypatch: pytest.MonkeyPatch, size: int, *, is_ahead: bool, patience: int = 1_024
) -> Report:
    def scan_here(
        function: Callable[[Any, Any], Any], context: Any, items: Iterable[Any], *_: object
    ) -> Iterator[Any]:
        return (function(context, item) for item in items)

    with monkeypatch.context() as patch:
        patch.setattr(source_module, "piece_size", lambda *_: size)
        patch.setattr(verify_module, "map_ordered", scan_here)
        patch.setattr(lines_module, "BATCH_ENTRIES_MAX", patience)
        patch.setattr(verify_module, "PARALLEL_MIN_BYTES", 0 if is_ahead else 1 << 60)
        report = judge_log(log.root, remember=False, workers=2)
    report.duration_s = 0.0
    return report


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    damage=DAMAGE,
    sizes=st.lists(st.integers(200, 40_000), min_size=2, max_size=2),
    tail=st.binary(max_size=3),
)
def test_chunks_change_nothing(
    log: LogMaker,
    monkeypatch: pytest.MonkeyPatch,
    damage: list[tuple[str, int]],
    sizes: list[int],
    tail: bytes,
) -> None:
    good = log.lines
    log.lines = damaged(good, damage)
    try:
        log.write_entries(tail)
        whole = report_of(log, monkeypatch, 1 << 30, is_ahead=False)
        assert (whole.verdict == Verdict.VERIFIED) == (log.lines == good and not tail)
        for size in sizes:
            assert report_of(log, monkeypatch, size, is_ahead=False) == whole
            assert report_of(log, monkeypatch, size, is_ahead=True) == whole
            assert report_of(log, monkeypatch, size, is_ahead=True, patience=2) == whole
    finally:
        log.lines = good


def test_worker_processes_find_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: LogMaker
) -> None:
    made = LogMaker(tmp_path / "log")
    made.append(*(draft(number, dependencies=[entry_id(3 * number)]) for number in range(1, 200)))
    made.append(*drafts(range(200, 400)))
    made.reseal(150, links=False, key=Key(2))
    made.lay_out()
    reports = []
    for least in (1 << 60, 0):
        monkeypatch.setattr(verify_module, "PARALLEL_MIN_BYTES", least)
        monkeypatch.setattr(source_module, "piece_size", lambda *_: 50_000)
        reports.append(judge_log(made.root, remember=False, workers=2))
        reports[-1].duration_s = 0.0
    assert reports[0] == reports[1]
    assert {"entry.signing_key", "entry.dependency"} <= set(reports[0].finding_counts)


PID = "__import__('os').getpid()"


def test_results_come_in_order() -> None:
    assert list(workers.map_ordered(mul, 3, range(50), 2)) == [3 * item for item in range(50)]


def test_work_is_done_by_other_processes() -> None:
    pids = set(workers.map_ordered(eval, PID, [{} for _ in range(50)], 2))
    assert 1 <= len(pids) <= 2
    assert os.getpid() not in pids


def test_work_of_a_process_that_dies_is_done_here() -> None:
    suicide = f"{PID} if {PID} == {os.getpid()} else __import__('os')._exit(1)"
    assert list(workers.map_ordered(eval, suicide, [{} for _ in range(5)], 2)) == [os.getpid()] * 5


def test_work_that_fails_there_fails_here() -> None:
    with pytest.raises(ZeroDivisionError):
        list(workers.map_ordered(floordiv, 1, [0], 1))


def test_work_is_done_here_where_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert set(workers.map_ordered(eval, PID, [{} for _ in range(5)], 2)) == {os.getpid()}


def test_stopping_early_leaves_no_process_behind() -> None:
    results = workers.map_ordered(eval, PID, [{} for _ in range(1_000)], 2)
    first = next(results)
    results.close()
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
