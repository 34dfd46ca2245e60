"""export: exact lines, and CSV from which every entry can be read back."""

import csv
import io
import json
import stat
import sys
from pathlib import Path

import pytest
from tests.cli.running import ORIGIN, Run, lines_of, segment, stored
from tests.support.logs import draft
from tests.support.tools import extra

from attestlog._internal.core.entry import Entry
from attestlog._internal.exporting.csv_rows import COLUMNS
from attestlog._internal.log import Log


def test_csv_has_every_member_as_a_column_and_nothing_is_lost(run: Run, log: Path) -> None:
    assert sorted(COLUMNS) == sorted(Entry.__struct_fields__)
    result = run("query", log, "--oldest-first", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(result.out, newline="")))
    for row, entry in zip(rows, stored(log), strict=True):
        read = {name: text_of(value) for name, value in row.items()}
        assert read == {name: plain(value) for name, value in entry.items()}
    assert result.out == run("export", log, "--format", "csv").out


def plain(value: object) -> object:
    return "" if value is None else value


def text_of(cell: str) -> object:
    cell = cell.removeprefix("'")
    try:
        return json.loads(cell)
    except ValueError:
        return cell


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "'=1", "'"]


@pytest.mark.parametrize("name", FORMULAS)
def test_a_cell_is_never_a_formula_and_can_be_read_back(run: Run, log: Path, name: str) -> None:
    with Log.open(log) as opened:
        opened.append(draft(1, actor_id=name))
    output = run("query", log, "--limit", 1, "--format", "csv").out
    (row,) = csv.DictReader(io.StringIO(output, newline=""))
    assert row["actor_id"] == f"'{name}"


def test_an_ordinary_cell_is_left_as_it_is(run: Run, log: Path) -> None:
    with Log.open(log) as opened:
        opened.append(draft(1, actor_id='a "b", c\nd=e'))
    output = run("query", log, "--limit", 1, "--format", "csv").out
    (row,) = csv.DictReader(io.StringIO(output, newline=""))
    assert row["actor_id"] == 'a "b", c\nd=e'


def test_export_gives_the_exact_lines(run: Run, log: Path, tmp_path: Path) -> None:
    assert run("export", log).out.encode() == segment(log).read_bytes()
    result = run("export", log, "-o", tmp_path / "copy.jsonl", "--json")
    assert result.object == {
        "type": "export",
        "path": str(tmp_path / "copy.jsonl"),
        "format": "jsonl",
        "size": 4,
        "erased": 0,
        "redacted": 0,
    }
    assert (tmp_path / "copy.jsonl").read_bytes() == segment(log).read_bytes()
    assert run("export", log, "-o", tmp_path / "copy.csv", "--format", "csv").out.startswith("4 entries")


def test_export_replaces_a_file_whole_or_not_at_all(run: Run, log: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.csv"
    target.write_text("before")
    segment(log).write_bytes(segment(log).read_bytes() + b"{}\n")
    assert run("export", log, "--format", "csv", "-o", target).code == 1
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".new")] == []


def test_export_to_a_device_leaves_the_device(run: Run, log: Path) -> None:
    assert run("export", log, "-o", "/dev/null").code == 0
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.parametrize("arguments", [["--format", "xml"], ["--json"]])
def test_export_refuses(run: Run, log: Path, arguments: list[str]) -> None:
    result = run("export", log, *arguments)
    assert (result.code, result.out) == (2, "")


def test_names_in_any_script_come_through(shell: Run, log: Path) -> None:
    name = "Trí tuệ nhân tạo 数字 🤖"
    assert shell("append", log, "-", stdin=lines_of(draft(1, actor_id=name))).code == 0
    assert name in shell("tail", log, PYTHONIOENCODING="utf-8").out
    ascii_only = shell("tail", log, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (ascii_only.code, ascii_only.err) == (0, "")
    assert "\\u6570" in ascii_only.out
    assert ORIGIN in shell("show", log, 0, PYTHONIOENCODING="ascii").out


# --- other forms, filters, and where it went ---


@pytest.mark.parametrize("form", ["ocsf", "cloudevents", "dsse"])
def test_a_form_of_one_record_an_entry(run: Run, log: Path, tmp_path: Path, form: str) -> None:
    assert run("export", log, "--format", form, "-o", tmp_path / "x").out.startswith("4 entries")
    records = [json.loads(line) for line in (tmp_path / "x").read_bytes().splitlines()]
    assert len(records) == 4
    assert (
        all(str(entry["entry_hash"]) in (tmp_path / "x").read_text() for entry in stored(log))
        or form == "dsse"
    )


def test_filters_and_a_range(run: Run, log: Path) -> None:
    lines = segment(log).read_bytes().splitlines(keepends=True)
    assert run("export", log, "--event-type", "VIOLATION").out.encode() == lines[2]
    assert run("export", log, "--start", 1, "--stop", 3).out.encode() == b"".join(lines[1:3])
    assert run("export", log, "--limit", 2).out.encode() == b"".join(lines[:2])
    assert run("export", log, "--payload", "number=3").out.encode() == lines[3]
    assert run("export", log, "--actor-id", "nobody").out == ""


def test_parquet_and_receipts_are_read_back(run: Run, log: Path, tmp_path: Path, vkey: str) -> None:
    for form, module in (("parquet", "pyarrow"), ("cose", "cbor2")):
        extra(module)
        assert run("export", log, "--format", form, "-o", tmp_path / form).code == 0
        result = run("verify", tmp_path / form, "--trust", vkey, "--json")
        assert (result.code, result.object["type"], result.object["size"]) == (0, "export_report", 4)
        text = run("verify", tmp_path / form, "--trust", vkey).out
        assert text.startswith(f"VERIFIED, confirmed by {vkey}")
        assert "not shown by this file alone" in text


def test_a_form_without_its_extra_says_which(
    run: Run, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for form, module, name in (("parquet", "pyarrow.parquet", "parquet"), ("cose", "cbor2", "cose")):
        monkeypatch.setitem(sys.modules, module, None)
        result = run("export", log, "--format", form, "-o", tmp_path / form)
        assert (result.code, f"pip install 'attestlog[{name}]'" in result.err) == (4, True)
        assert not (tmp_path / form).exists()


@pytest.mark.parametrize(
    "options, complaint",
    [
        (["--format", "xml"], "want jsonl, csv, parquet"),
        (["--format", "parquet"], "parquet needs -o FILE"),
        (["--json"], "add -o FILE"),
        (["--signer", "file:x"], "--signer is for dsse and cose"),
        (["--start", "3", "--stop", "2"], "not a range"),
        (["--since", "yesterday"], "is not a time"),
    ],
)
def test_what_cannot_be_asked(run: Run, log: Path, options: list[str], complaint: str) -> None:
    result = run("export", log, *options)
    assert (result.code, result.out) == (2, "")
    assert complaint in result.err


def test_an_export_says_what_is_erased_and_an_erasure_what_was_exported(
    run: Run, log: Path, tmp_path: Path
) -> None:
    before, late = tmp_path / "before.csv", tmp_path / "late.jsonl"
    run("export", log, "--format", "csv", "-o", before)
    run("export", log, "--start", 3, "-o", late)
    run("export", log, "--limit", 1, "--actor-id", "agent-1", "--format", "ocsf", "-o", tmp_path / "one")
    run("ship", log, "--to", f"file:{tmp_path / 'shipped'}", "--once")
    result = run("erase", log, 1, "--reason", "asked for", "--actor-id", "officer-1")
    assert result.code == 0
    assert f"not reached: {before} (csv, entries 0 to 3" in result.out
    assert f"not reached: file:{tmp_path / 'shipped'} (jsonl, entries 0 to 3" in result.out
    assert str(late) not in result.out
    again = run("erase", log, 2, "--reason", "asked for", "--actor-id", "officer-1", "--json").object
    assert [made["to"] for made in again["exports"]] == [str(before), f"file:{tmp_path / 'shipped'}"]
    assert f"not reached: {tmp_path / 'one'} (ocsf, entries 1 to 1," in result.out
    result = run("export", log, "-o", late)
    assert "2 of the entries have an erased payload" in result.err


def test_an_export_that_cannot_be_noted_is_there_all_the_same(
    run: Run, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ATTESTLOG_STATE", str(tmp_path / "file"))
    result = run("export", log, "-o", tmp_path / "x")
    assert result.code == 0
    assert "will not name this export" in result.err
