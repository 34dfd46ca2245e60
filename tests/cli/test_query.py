"""query: the entries that match, page by page."""

from pathlib import Path

import pytest
from tests.cli.running import Run, as_objects, stored


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
        (["--context", "session=s-1"], [2]),
        (["--context", "session=s-1", "--context", "turn=5"], []),
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
        ["--context", "session"],
        ["--context", "turn=4", "--context", "context.turn=5"],
        ["--text", "…"],
        ["--cursor", "-1"],
        ["--limit", "9" * 20],
        ["--limit", "1_1"],
        ["--cursor", "٥"],
        ["--payload", "number=1", "--payload", "number=2"],
        ["--payload", "number=1", "--payload", "payload.number=1"],
        ["--event-type", "ACTION", "--event-type", "CHANGE"],
    ],
)
def test_query_refuses_what_cannot_be_asked(run: Run, log: Path, arguments: list[str]) -> None:
    result = run("query", log, *arguments)
    assert (result.code, result.out) == (2, "")
    assert "attestlog query --help" in result.err
