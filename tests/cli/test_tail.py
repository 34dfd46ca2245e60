"""tail: the last entries, as they are stored."""

from pathlib import Path

from tests.cli.running import Run, as_objects, segment, stored

from attestlog._internal.cli.entries import HEADING


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
