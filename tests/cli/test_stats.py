"""stats: figures that add up."""

from pathlib import Path

from tests.cli.running import Run, segment


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
