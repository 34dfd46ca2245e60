"""retain: what is older than it is to be kept goes, and nothing that must stay."""

import time
from pathlib import Path

import pytest
from tests.cli.running import ORIGIN, Run
from tests.support.logs import draft

import attestlog
from attestlog._internal.core.genesis import Settings
from attestlog._internal.log import Log, retaining
from attestlog._internal.storage.resolve import open_source

DAY_US = 86_400_000_000
AGO_DAYS = 40


def old_clock() -> int:
    """Forty days ago."""
    return time.time_ns() // 1000 - AGO_DAYS * DAY_US


@pytest.fixture
def old(tmp_path: Path, home: Path) -> Path:
    """Entries 1 to 12 of forty days ago, chats but every third; segments of five; 4 is under a hold."""
    path = tmp_path / "old"
    policy = {"erasure": {"action_types": ["chat.*"], "retain_days": 30}}
    settings = Settings(segment_entries=5)
    with Log.create(path, origin=ORIGIN, policy=policy, settings=settings, clock=old_clock) as log:
        for number in range(1, 13):
            log.append(draft(number, action_type="chat.said" if number % 3 else "deploy"))
        log.add_hold("case-7", reason="litigation", actor_id="counsel", start=4, stop=5)
    with Log.open(path) as log:
        log.append(draft(14, action_type="chat.said"))
    return path


def erased(path: Path) -> list[int]:
    source = open_source(path)
    return [number for number in range(source.size()) if source.entry(number).action_payload is None]


def test_what_the_policy_says_goes_and_is_recorded(run: Run, old: Path) -> None:
    before = open_source(old).size()
    shown = run("retain", old, "--dry-run")
    assert (shown.code, erased(old), open_source(old).size()) == (0, [], before)
    assert shown.out.splitlines() == [
        "2 payloads of entries 1 to 2: would go",
        "3 payloads of entries 5 to 8: would go",
        "2 payloads of entries 10 to 11: would go",
        "1 stay: under legal hold",
    ]
    done = run("retain", old, "--actor-id", "timer", "--json")
    assert done.code == 0
    assert erased(old) == [1, 2, 5, 7, 8, 10, 11]
    *ranges, end = done.objects
    assert (end["count"], end["kept"], end["dry_run"]) == (7, {"hold": 1}, False)
    source = open_source(old)
    for item in ranges:
        entry = source.entry(item["sequence_number"])
        assert (entry.action_type, entry.actor_id) == ("attestlog.erase_payloads", "timer")
        assert entry.action_payload is not None
        assert (entry.action_payload["start"], entry.action_payload["stop"]) == (item["start"], item["stop"])
    assert len({item["start"] // 5 for item in ranges}) == 3  # a range ends with its segment
    report = run("verify", old, "--json").objects[0]
    assert (report["verdict"], report["erased_payloads"]) == ("VERIFIED", 7)


def test_where_nothing_is_due_nothing_is_written(run: Run, old: Path) -> None:
    assert run("retain", old).code == 0
    size = open_source(old).size()
    again = run("retain", old)
    assert (again.code, again.out) == (0, "nothing is due\n1 stay: under legal hold\n")
    assert open_source(old).size() == size
    assert run("hold", "release", old, "case-7", "--reason", "over", "--actor-id", "counsel").code == 0
    assert run("retain", old).code == 0
    assert 4 in erased(old)


def test_the_policy_is_not_undercut(run: Run, old: Path) -> None:
    done = run("retain", old, "--older-than", "0s", "--start", 9, "--json")
    assert done.code == 0
    assert erased(old) == [10, 11]  # the young chat stays: the policy keeps it for 30 days
    assert done.objects[-1]["kept"] == {"policy": 1}
    more = run("retain", old, "--older-than", "50d")
    assert (more.code, more.out) == (0, "nothing is due\n")
    other = run("retain", old, "--action-type", "deploy", "--json")
    assert (other.code, other.objects[-1]["kept"]) == (0, {"policy": 4})
    assert run("retain", old, "--start", 99).code == 4


def test_without_a_time_it_is_refused(run: Run, log: Path) -> None:
    refused = run("retain", log)
    assert refused.code == 2
    assert "--older-than" in refused.err
    done = run("retain", log, "--older-than", "0s", "--json")
    assert done.code == 0
    # The genesis entry is the log's own: what it says stays.
    assert (erased(log), done.objects[-1]["kept"]) == ([1, 2, 3], {"kept": 1})


def test_a_hold_that_is_placed_meanwhile_wins(run: Run, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = retaining.plan_retention

    def then_held(*given: object, **options: object) -> retaining.Retention:
        planned = plan(*given, **options)  # type: ignore[arg-type]
        with attestlog.open(log) as opened:
            opened.add_hold("case-7", reason="litigation", actor_id="counsel", start=2)
        return planned

    monkeypatch.setattr(retaining, "plan_retention", then_held)
    refused = run("retain", log, "--older-than", "0s")
    assert refused.code == 2
    assert "legal hold" in refused.err
    assert erased(log) == []


def test_one_run_is_bounded(run: Run, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retaining, "RANGES_MAX", 1)
    assert run("retain", old).out.splitlines()[-1] == "there is more: run it again"
    assert erased(old) == [1, 2]
    while "there is more" in run("retain", old).out:
        pass
    assert erased(old) == [1, 2, 5, 7, 8, 10, 11]
