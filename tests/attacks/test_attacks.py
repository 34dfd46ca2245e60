"""The attacker's kit: what is seen of each attempt is what is written beside it."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.attacks.approver import ACT, PAY
from tests.attacks.everything import ATTEMPTS, BY_WHOM
from tests.attacks.kit import DETECTED, NOT_GUARANTEED, PREVENTED, Ground, Story, see
from tests.support.audits import verdicts
from tests.support.both import Place, quick
from tests.support.people import PEOPLE
from tests.support.repository import ROOT

from attestlog._internal.core.report import Verdict

ATTEMPTS_MIN = 80


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Logs are laid out here one after another: only what differs is written."""
    with quick():
        yield Place(tmp_path_factory.mktemp("attacks") / "log")


@pytest.mark.parametrize("called", ATTEMPTS)
def test_what_is_seen(called: str, place: Place, tmp_path: Path) -> None:
    one = ATTEMPTS[called]
    assert see(one, Ground(tmp_path), place) == (one.seen, one.one_file)


def test_there_are_enough_by_each() -> None:
    by_whom = Counter(one.who for one in ATTEMPTS.values())
    assert set(by_whom) == {module.__name__.rpartition(".")[2] for module in BY_WHOM}
    assert min(by_whom.values()) >= 8
    assert by_whom.total() >= ATTEMPTS_MIN


def test_each_outcome_is_what_is_seen() -> None:
    for called, one in ATTEMPTS.items():
        verdict, _, code = one.seen.partition(" ")
        if one.outcome is PREVENTED:
            assert verdict.endswith("Error") or verdict in {Verdict.VERIFIED, "nothing"}, called
        elif one.outcome is DETECTED:
            assert verdict in list(Verdict), called
            assert code, called
        else:
            assert verdict in {Verdict.VERIFIED, "MovedError"}, called


def test_the_threat_model_names_what_is_not_guaranteed() -> None:
    page = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    lacking = [name for name, one in ATTEMPTS.items() if one.outcome is NOT_GUARANTEED and name not in page]
    assert lacking == []


def test_what_is_tried_would_be_well_without_the_attack(place: Place, tmp_path: Path) -> None:
    """The story is sound, and a payment that the right person approved happens."""
    made, ground = Story(), Ground(tmp_path)
    made.append(made.pay())
    place.put(made.files())
    assert verdicts(place.root) == ("VERIFIED", "VERIFIED")
    with ground.live() as log:
        approval = PEOPLE[0].approve(PAY, log.rules.log)
        with log.guard(**ACT, approvals=[approval]):
            happened = True
    assert happened
    assert verdicts(log.path) == ("VERIFIED", "VERIFIED")
