"""show, tail, query, stats, export: what is shown is what is stored."""

import csv
import io
import json
import stat
from pathlib import Path

import pytest
from tests.cli.running import ORIGIN, Run, lines_of, segment
from tests.support.logs import draft

from attestlog._internal.cli.entries import COLUMNS, HEADING
from attestlog._internal.core.entry import Entry
from attestlog._internal.log import Log
from attestlog._internal.storage.files.reader import LogReader


def stored(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in segment(log).read_bytes().splitlines()]


def as_objects(entries: list[dict[str, object]]) -> list[dict[str, object]]:
    return [{"type": "entry", **entry} for entry in entries]


def test_show_by_number_and_by_id_gives_the_entry(run: Run, log: Path) -> None:
    entry = stored(log)[2]
    for which in ("2", entry["entry_id"], str(entry["entry_id"]).upper()):
        assert run("show", log, which, "--json").objects == as_objects([entry])


def test_show_shows_every_member_once(run: Run, log: Path) -> None:
    result = run("show", log, 1)
    assert (result.code, result.err) == (0, "")
    entry = LogReader(log).entry(1)
    in_place = {"sequence_number", "timestamp", "entry_id", "event_type", "event_category", "severity"}
    for name in Entry.__struct_fields__:
        assert result.out.count(f"\n  {name} ") == (name not in in_place)
    assert result.out.startswith(
        f"entry 1  {entry.timestamp}  {entry.entry_id}\nACTION  NORMAL  severity 1\n"
    )
    assert entry.hsm_signature in result.out


@pytest.mark.parametrize("which", ["4", "99999999", "0b7f9a05-7a0c-4f4d-9d0a-6f1ad2f0a1ce"])
def test_show_says_when_there_is_no_such_entry(run: Run, log: Path, which: str) -> None:
    result = run("show", log, which)
    assert (result.code, result.out) == (4, "")
    assert "hint" not in result.err


@pytest.mark.parametrize("which", ["9" * 30, "not-an-id", "-1", "²"])
def test_show_refuses_what_is_neither_number_nor_id(run: Run, log: Path, which: str) -> None:
    assert run("show", log, "--", which).code == 2


def test_tail_shows_the_last_ones_in_order(run: Run, log: Path) -> None:
    assert run("tail", log, "-n", 2, "--json").objects == as_objects(stored(log)[-2:])
    heading, *lines = run("tail", log).out.splitlines()
    assert heading == HEADING
    assert [line.split()[0] for line in lines] == ["0", "1", "2", "3"]
    assert lines[2].split()[2:] == ["VIOLATION", "CRITICAL", "BLOCKED", "x", "execute_autonomous_task"]
    assert run("tail", log, "-n", 0).out == ""


def test_tail_says_where_a_line_is_no_entry(run: Run, log: Path) -> None:
    segment(log).write_bytes(segment(log).read_bytes() + b"{}\n")
    result = run("tail", log, "-n", 1)
    assert (result.code, result.out) == (1, "")
    assert "is not an entry" in result.err


@pytest.mark.parametrize(
    "filters, numbers",
    [
        ([], [3, 2, 1, 0]),
        (["--oldest-first"], [0, 1, 2, 3]),
        (["--event-type", "violation"], [2]),
        (["--event-category", "CRITICAL"], [2]),
        (["--severity-min", "5"], [2]),
        (["--severity", "1"], [3, 1, 0]),
        (["--actor-type", "SYSTEM", "--limit", "1"], [3]),
        (["--actor-id", "x"], [2]),
        (["--action-type", "execute_*"], [3, 2, 1]),
        (["--execution-status", "BLOCKED"], [2]),
        (["--since", "1h"], [3, 2, 1, 0]),
        (["--until", "2020-01-01"], []),
        (["--text", "quiet night"], [3]),
        (["--payload", "number=2"], [2]),
        (["--payload", "number=3", "--payload", "reason=a quiet night"], [3]),
        (["--payload", "number=3", "--payload", "reason=another"], []),
        (["--cursor", "2"], [1, 0]),
    ],
)
def test_query_filters(run: Run, log: Path, filters: list[str], numbers: list[int]) -> None:
    result = run("query", log, *filters, "--json")
    found = [item for item in result.objects if item["type"] == "entry"]
    everything = stored(log)
    assert found == as_objects([everything[number] for number in numbers])
    assert result.code == 0


def test_query_pages_through_everything(run: Run, log: Path) -> None:
    seen: list[int] = []
    cursor: list[object] = []
    for _ in range(3):
        *entries, last = run("query", log, "--limit", 3, "--json", *cursor).objects
        more = last["type"] == "page"
        seen += [item["sequence_number"] for item in ([*entries] if more else [*entries, last])]
        if not more:
            break
        cursor = ["--cursor", last["next_cursor"]]
    assert seen == [3, 2, 1, 0]


def test_query_table_says_when_there_is_more(run: Run, log: Path) -> None:
    result = run("query", log, "--limit", 2)
    assert [line.split()[0] for line in result.out.splitlines()] == ["number", "3", "2"]
    assert result.err == "attestlog: note: there are more entries: --cursor 2 shows the next ones\n"
    assert run("query", log, "--limit", 4).err == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--limit", "0"],
        ["--format", "xml"],
        ["--since", "yesterday"],
        ["--severity", "11"],
        ["--payload", "number"],
        ["--text", "…"],
        ["--cursor", "-1"],
    ],
)
def test_query_refuses_what_cannot_be_asked(run: Run, log: Path, arguments: list[str]) -> None:
    result = run("query", log, *arguments)
    assert (result.code, result.out) == (2, "")
    assert "attestlog query --help" in result.err


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


def test_stats_counts(run: Run, log: Path) -> None:
    found = run("stats", log, "--json").object
    assert (found["type"], found["entries"], found["violations"]) == ("stats", 4, 1)
    assert found["by_event_type"] == {"BOOT": 1, "ACTION": 1, "VIOLATION": 1, "DECISION": 1}
    assert found["size_bytes"] == segment(log).stat().st_size
    assert abs(found["bytes_per_entry"] - found["size_bytes"] / 4) < 0.1
    assert found["averages"]["an_toan"] == 9
    assert sum(day["entries"] for day in found["days"]) == 4
    text = run("stats", log)
    assert (text.code, text.err) == (0, "")
    assert "BOOT 1, ACTION 1, VIOLATION 1, DECISION 1" in " ".join(text.out.split())
    days = next(line.split() for line in text.out.splitlines() if line.startswith("day "))
    values = next(line.split() for line in text.out.splitlines() if line.startswith(found["days"][0]["day"]))
    assert dict(zip(days, values, strict=True)) == {
        "day": found["days"][0]["day"], "entries": "4", "bytes": f"{found['size_bytes']:,}",
        "violations": "1", "composite": "8.50", "an_toan": "9.00", "duong_dai": "8.00",
        "tin_vao_so_lieu": "–", "han_che_rui_ro": "–",
    }  # fmt: skip


def test_stats_of_nothing(run: Run, log: Path) -> None:
    assert run("stats", log, "--until", "2020-01-01", "--json").object["entries"] == 0
    assert run("stats", log, "--until", "2020-01-01").code == 0
    assert run("stats", log, "--since", "soon").code == 2


def test_names_in_any_script_come_through(shell: Run, log: Path) -> None:
    name = "Trí tuệ nhân tạo 数字 🤖"
    assert shell("append", log, "-", stdin=lines_of(draft(1, actor_id=name))).code == 0
    assert name in shell("tail", log, PYTHONIOENCODING="utf-8").out
    ascii_only = shell("tail", log, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (ascii_only.code, ascii_only.err) == (0, "")
    assert "\\u6570" in ascii_only.out
    assert ORIGIN in shell("show", log, 0, PYTHONIOENCODING="ascii").out
