"""Logs that continue others: what is carried over, and the chain followed back."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.audits import codes
from tests.support.logs import LogMaker, create, draft, drafts

from attestlog._internal.core.genesis import Continues
from attestlog._internal.core.report import Report, Verdict
from attestlog._internal.log import Log
from attestlog._internal.verifying import judge_log
from attestlog._internal.verifying.chain import carry_over, find_carried_over, judge_chain
from attestlog.errors import (
    CorruptError,
    MalformedConfigError,
    NotFoundError,
    TamperedError,
    UnverifiedError,
    VerificationError,
)
from attestlog.testing import ManualClock, MemorySigner


@pytest.fixture
def old(tmp_path: Path) -> LogMaker:
    made = LogMaker(tmp_path / "2025", origin="example.com/2025")
    made.append(*drafts(range(1, 6)))
    made.lay_out()
    return made


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def later(path: Path, continues: Continues | None, origin: str = "example.com/2026") -> Path:
    Log.create(
        path, origin=origin, signer=MemorySigner(), checkpoint_signer=MemorySigner("Ed25519"),
        clock=ManualClock(), continues=continues,
    ).close()  # fmt: skip
    return path


def chain(log: Path, *older: Path, **options: Any) -> list[Report]:
    return judge_chain(log, older=older, remember=False, **options)


def test_what_is_carried_over_is_what_was_verified(old: LogMaker, state: Path) -> None:
    report = judge_log(old.root, state_dir=state)
    continues = carry_over(old.root, reason="a new year", state_dir=state)
    assert continues == Continues(
        origin="example.com/2025", genesis=str(report.genesis_hash), size=6, root=str(report.root),
        reason="a new year",
    )  # fmt: skip


def test_a_log_says_for_good_what_it_continues(old: LogMaker, tmp_path: Path) -> None:
    continues = carry_over(old.root, reason="a new year", remember=False)
    new = later(tmp_path / "2026", continues)
    with Log.open(new, clock=ManualClock()) as log:
        assert log.genesis.continues == continues
    report = judge_log(new, remember=False)
    assert report.continues == msgspec.to_builtins(continues)
    assert judge_log(old.root, remember=False).continues is None


def test_the_chain_is_followed_to_the_first_log(old: LogMaker, tmp_path: Path) -> None:
    second = later(tmp_path / "2026", carry_over(old.root, reason="a new year", remember=False))
    third = later(tmp_path / "2027", carry_over(second, reason="another", remember=False), "example.com/2027")
    reports = chain(third, old.root)  # the second is found by this user's configuration
    assert [report.origin for report in reports] == [
        "example.com/2027", "example.com/2026", "example.com/2025"
    ]  # fmt: skip
    assert [(report.verdict, report.findings) for report in reports] == [(Verdict.VERIFIED, [])] * 3
    assert reports[2].trusted_by == [reports[1].continues and reports[1].continues["genesis"]]


def test_an_older_log_may_have_grown(old: LogMaker, tmp_path: Path) -> None:
    new = later(tmp_path / "2026", carry_over(old.root, reason="a new year", remember=False))
    old.append(draft(9))
    old.lay_out()
    assert [report.verdict for report in chain(new, old.root)] == [Verdict.VERIFIED] * 2


def test_an_older_log_that_is_not_at_hand_is_said_not_to_be_followed(old: LogMaker, tmp_path: Path) -> None:
    new = later(tmp_path / "2026", carry_over(old.root, reason="a new year", remember=False))
    other = LogMaker(tmp_path / "other", origin="example.com/2025", first_id=100)
    other.lay_out()
    for places in ([], [tmp_path / "nowhere"], [other.root]):
        (report,) = chain(new, *places)
        assert (report.verdict, codes(report)) == (Verdict.VERIFIED, [("chain.absent", 0)])


def test_an_older_log_that_is_damaged_is_found(old: LogMaker, tmp_path: Path) -> None:
    new = later(tmp_path / "2026", carry_over(old.root, reason="a new year", remember=False))
    segment = old.segment()
    segment.write_bytes(segment.read_bytes().replace(b"T-3", b"T-9"))
    assert [report.verdict for report in chain(new, old.root)] == [Verdict.VERIFIED, Verdict.TAMPERED]


@pytest.mark.parametrize(
    "changes, code, verdict",
    [
        ({"size": 9}, "chain.ahead", Verdict.TRUNCATED),
        ({"root": "0" * 64}, "chain.root", Verdict.FORKED),
        ({"size": 5}, "chain.root", Verdict.FORKED),
        ({"origin": "example.com/2024"}, "chain.origin", Verdict.FORKED),
    ],
)
def test_a_chain_that_does_not_fit_is_found(
    old: LogMaker, tmp_path: Path, changes: dict[str, Any], code: str, verdict: Verdict
) -> None:
    continues = carry_over(old.root, reason="a new year", remember=False)
    new = later(tmp_path / "2026", msgspec.structs.replace(continues, **changes))
    newest, older = chain(new, old.root)
    assert newest.verdict == Verdict.VERIFIED
    assert (older.verdict, [found for found, _ in codes(older)]) == (verdict, [code])
    assert older.held_size is None or code != "chain.root"


def test_of_a_log_whose_tail_was_lost_what_is_there_is_carried_over(old: LogMaker, state: Path) -> None:
    judge_log(old.root, state_dir=state)
    del old.lines[4:]
    old.lay_out()
    assert judge_log(old.root, state_dir=state).verdict == Verdict.TRUNCATED
    continues, report = find_carried_over(old.root, reason="the tail was lost", state_dir=state)
    assert continues.size == 4
    assert report is not None
    assert "memory.ahead" in report.finding_counts


def test_what_is_not_sound_is_not_carried_over(old: LogMaker, tmp_path: Path) -> None:
    with pytest.raises(UnverifiedError):
        carry_over(tmp_path / "nowhere", reason="x", remember=False)
    old.segment().write_bytes(old.segment().read_bytes().replace(b"T-3", b"T-9"))
    with pytest.raises(TamperedError):
        carry_over(old.root, reason="x", remember=False)


def test_a_checkpoint_stands_for_a_log_that_is_remembered(old: LogMaker, tmp_path: Path, state: Path) -> None:
    note = tmp_path / "kept"
    note.write_bytes((old.root / "checkpoint").read_bytes())
    with pytest.raises(NotFoundError, match="of which nothing is remembered"):
        carry_over(note, reason="the disk is gone", state_dir=state)
    report = judge_log(old.root, state_dir=state)
    continues, found = find_carried_over(note, reason="the disk is gone", state_dir=state)
    assert found is None
    assert (continues.genesis, continues.size, continues.root) == (report.genesis_hash, 6, report.root)
    stranger = LogMaker(tmp_path / "stranger", origin="example.com/2025")
    stranger.checkpoint_key = type(old.checkpoint_key)(9, "example.com/2025")
    stranger.lay_out()
    with pytest.raises((VerificationError, CorruptError)):
        carry_over(stranger.root / "checkpoint", reason="x", state_dir=state)


@pytest.mark.parametrize("changes", [{"size": 0}, {"reason": ""}, {"genesis": "x"}, {"origin": "two words"}])
def test_what_is_made_by_hand_is_checked(tmp_path: Path, changes: dict[str, Any]) -> None:
    right = Continues(origin="example.com/2025", genesis="a" * 64, size=7, root="b" * 64, reason="a new year")
    with pytest.raises(MalformedConfigError, match="continues"):
        create(tmp_path / "log", continues=msgspec.structs.replace(right, **changes))
    assert not (tmp_path / "log").exists()
