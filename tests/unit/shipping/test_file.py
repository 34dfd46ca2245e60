"""A file: appended to, flushed, and whole lines again after a crash."""

import json
from pathlib import Path

import pytest
from tests.support.exports import about, items, made_log

from attestlog._internal.shipping.contract import Batch
from attestlog._internal.shipping.file import LINES, FileSink
from attestlog.errors import SinkError


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    log = made_log(tmp_path_factory.mktemp("file") / "log")
    return Batch(about(log), 2, 6, items(log)[2:6])


def test_batches_follow_each_other(batch: Batch, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = FileSink(path, "jsonl")
    for _ in range(2):
        sink.deliver(batch)
    assert path.read_bytes().splitlines() == 2 * [item.line for item in batch.items]
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("form", LINES)
def test_every_form_is_json_lines(batch: Batch, tmp_path: Path, form: str) -> None:
    FileSink(tmp_path / "out", form).deliver(batch)
    records = [json.loads(line) for line in (tmp_path / "out").read_bytes().splitlines()]
    assert len(records) == (1 if form == "otlp" else len(batch.items))


def test_a_line_that_a_crash_cut_short_is_not_gone_on_with(batch: Batch, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(batch.items[0].line[:40])
    FileSink(path, "jsonl").deliver(batch)
    torn, *lines = path.read_bytes().splitlines()
    assert torn == batch.items[0].line[:40]
    assert lines == [item.line for item in batch.items]


def test_a_file_that_cannot_be_written_may_pass(batch: Batch, tmp_path: Path) -> None:
    with pytest.raises(SinkError) as raised:
        FileSink(tmp_path / "missing" / "out", "jsonl").deliver(batch)
    assert raised.value.retryable
    with pytest.raises(SinkError):
        FileSink(tmp_path, "jsonl").deliver(batch)
