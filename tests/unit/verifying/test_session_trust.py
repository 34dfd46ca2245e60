"""Whom the caller trusts, where keys rotate and are revoked; and what only a memory or a later key shows."""

from pathlib import Path

import pytest
from tests.support.audits import codes, verify
from tests.support.logs import Key, LogMaker, admission, draft, drafts
from tests.support.shapes import ed25519_key

from attestlog._internal.core.cosignature import cosign
from attestlog._internal.core.note import VerifierKey, format_note, parse_note
from attestlog._internal.core.report import Verdict
from attestlog._internal.core.trust import TrustedWitness, TrustPolicy
from attestlog._internal.storage.files import layout
from attestlog._internal.verifying import memory as remembering
from attestlog.errors import NotFoundError, QueryError

FIRST, SECOND, THIRD, THIEF = Key(1), Key(2, "Ed25519"), Key(3), Key(9)


def made(tmp_path: Path, name: str = "log") -> LogMaker:
    """0 genesis, 1–3, 4 rotation to the second key, 5–6, 7 rotation to the third, 8."""
    log = LogMaker(tmp_path / name, key=FIRST)
    log.append(*map(draft, (1, 2, 3)))
    log.rotate(SECOND)
    log.append(*map(draft, (5, 6)))
    log.rotate(THIRD)
    log.append(draft(8))
    return log


@pytest.fixture
def log(tmp_path: Path) -> LogMaker:
    return made(tmp_path)


@pytest.mark.parametrize(
    "key, said",
    [
        (FIRST, "signs entries 0 to 4; the log goes on under"),
        (SECOND, "signs entries 5 to 7; what is before, they are chained to; the log goes on under"),
        (THIRD, "signs entries from 8 on; what is before, they are chained to"),
    ],
)
def test_every_key_of_the_chain_vouches_and_the_report_says_for_what(
    log: LogMaker, tmp_path: Path, key: Key, said: str
) -> None:
    log.lay_out()
    pem = tmp_path / "key.pem"
    pem.write_text(key.public.pem)
    for trust in (key.public.key_id, key.public.pem, str(pem)):
        report = verify(log, tmp_path, trust=[trust])
        assert (report.verdict, report.trusted_by) == (Verdict.VERIFIED, [key.public.key_id])
        assert codes(report)[0][0] == "trust.rotation"
        assert said in report.findings[0].message


def test_without_trust_nothing_is_trusted(log: LogMaker, tmp_path: Path) -> None:
    log.lay_out()
    report = verify(log, tmp_path)
    assert (report.trusted_by, report.self_attested, report.findings) == ([], True, [])


def test_the_genesis_hash_and_the_checkpoint_key_vouch_whatever_was_rotated(
    log: LogMaker, tmp_path: Path
) -> None:
    log.lay_out()
    for trust in (log.entry(0)["entry_hash"], log.checkpoint_key.vkey):
        report = verify(log, tmp_path, trust=[trust])
        assert (report.trusted_by, report.findings) == ([trust], [])


def test_a_key_that_consented_to_a_rotation_and_signed_nothing_vouches_for_nothing(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log", key=FIRST)
    log.rotate(SECOND)
    log.lay_out()
    report = verify(log, tmp_path, trust=[SECOND.public.key_id])
    assert codes(report) == [("trust.mismatch", None)]


# --- a stolen retired key ---


def forked(tmp_path: Path) -> LogMaker:
    """The thief of the first key makes a history of their own from entry 3 on, with another rotation."""
    log = made(tmp_path)
    fork = LogMaker(tmp_path / "fork", key=FIRST)
    fork.append(*map(draft, (1, 2)))
    fork.rotate(THIEF)
    fork.append(*drafts(range(4, 12)))
    fork.lay_out()
    log.lay_out()
    return fork


def test_a_forked_rotation_by_a_stolen_retired_key(tmp_path: Path) -> None:
    fork = forked(tmp_path)
    # By itself, and from its first key or entry on, it holds: nothing in it contradicts.
    first = FIRST.public.key_id
    assert verify(fork, tmp_path, remember=False).verdict == Verdict.VERIFIED
    assert verify(fork, tmp_path, remember=False, trust=[first]).verdict == Verdict.VERIFIED
    # A later key tells the two apart,
    report = verify(fork, tmp_path, remember=False, trust=[SECOND.public.key_id])
    assert (report.verdict, codes(report)) == (Verdict.FORKED, [("trust.mismatch", None)])


def test_a_remembered_checkpoint_shows_the_forked_rotation(log: LogMaker, tmp_path: Path) -> None:
    log.lay_out()
    assert verify(log, tmp_path).verdict == Verdict.VERIFIED
    fork = forked(tmp_path / "elsewhere")
    report = verify(fork, tmp_path, trust=[FIRST.public.key_id])
    assert report.verdict == Verdict.FORKED
    assert ("memory.root", None) in codes(report)


# --- revocation ---


def test_what_a_key_signed_that_an_untrusted_entry_admitted(tmp_path: Path) -> None:
    """Whoever stole a key admits another, and an entry later nobody needs the stolen one."""
    stolen, honest, admitted = Key(1), Key(2), Key(3)
    log = LogMaker(tmp_path / "log", key=stolen)
    log.append(admission(log, honest))
    log.append(draft(2))
    log.append(admission(log, admitted, "host-3"))
    log.key = admitted
    log.append(draft(4))
    log.key = honest
    log.append(draft(5))
    log.revoke(stolen, 2)
    log.lay_out()
    report = verify(log, tmp_path)
    assert report.verdict == Verdict.UNKNOWN
    assert codes(report) == [("key.revoked", 3), ("key.revoked", 4)]
    assert [item.found for item in report.findings] == [key.public.key_id for key in (stolen, admitted)]
    log.key = admitted
    log.append(draft(7))
    log.lay_out()
    assert ("entry.signing_key", 7) in codes(verify(log, tmp_path, remember=False))


def test_what_a_revoked_key_signed_after_its_last_trusted_entry(log: LogMaker, tmp_path: Path) -> None:
    log.revoke(SECOND, 5)
    log.append(draft(10))
    log.lay_out()
    report = verify(log, tmp_path)
    # 6 and 7 are the second key's; 7 is the rotation that brought in the third, so all it signed as well.
    assert codes(report) == [("key.revoked", 6), ("key.revoked", 8)]
    assert report.verdict == Verdict.UNKNOWN
    first, second = report.findings
    assert first.message.startswith("entries 6 to 7 may be anybody's: entry 9 says")
    assert (first.expected, first.found) == (5, SECOND.public.key_id)
    assert second.message.startswith("entries 8 to 10 may be anybody's: their key came in by entry 7")


def test_a_trusted_later_key_answers_for_what_it_signed(log: LogMaker, tmp_path: Path) -> None:
    log.revoke(SECOND, 5)
    log.lay_out()
    report = verify(log, tmp_path, trust=[THIRD.public.key_id])
    assert codes(report) == [("trust.rotation", 8), ("key.revoked", 6)]


def test_nothing_is_doubtful_where_all_is_trusted(log: LogMaker, tmp_path: Path) -> None:
    log.revoke(SECOND, 7)
    log.revoke(FIRST, 4)
    log.lay_out()
    assert codes(verify(log, tmp_path)) == []


@pytest.mark.parametrize(
    "remembered, found",
    [
        (6, [("key.revoked", 6), ("key.revoked", 8)]),
        (7, [("key.revoked", 7), ("key.revoked", 8)]),
        (8, []),
        (9, []),
    ],
)
def test_a_remembered_checkpoint_answers_for_what_it_covers(
    log: LogMaker, tmp_path: Path, remembered: int, found: list[tuple[str, int]]
) -> None:
    log.revoke(SECOND, 5)
    whole = log.lines
    log.lines = whole[:remembered]
    log.lay_out()
    first = verify(log, tmp_path)
    # The batch of 5 and 6 is whole from 7 on.
    assert first.verdict == (Verdict.TRUNCATED if remembered == 6 else Verdict.VERIFIED)
    log.lines = whole
    log.lay_out()
    report = verify(log, tmp_path)
    assert codes(report) == found


@pytest.mark.parametrize(
    "size, found",
    [
        (7, [("key.revoked", 7), ("key.revoked", 8)]),
        (8, []),
        (9, []),
        # This one covers the revocation: it says nothing of what was there before.
        (10, [("key.revoked", 6), ("key.revoked", 8)]),
    ],
)
def test_a_cosigned_checkpoint_answers_for_what_it_covers(
    log: LogMaker, tmp_path: Path, size: int, found: list[tuple[str, int]]
) -> None:
    log.revoke(SECOND, 5)
    log.lay_out(size=size)
    private = ed25519_key("witness")
    witness = VerifierKey("witness.example", 4, private.public_key().public_bytes_raw())
    path = log.root / layout.CHECKPOINT_FILE
    note = parse_note(path.read_bytes())
    line = cosign(note.text, witness, 1_761_825_600, private.sign)
    path.write_bytes(format_note(note.text, [*note.signatures, line]))
    policy = TrustPolicy((), (TrustedWitness("w", witness),), (), "w")
    assert codes(verify(log, tmp_path, trust_policy=policy)) == found


def test_what_is_doubtful_is_not_remembered(log: LogMaker, tmp_path: Path) -> None:
    log.revoke(SECOND, 5)
    log.lay_out()
    for _ in range(2):
        assert verify(log, tmp_path).verdict == Verdict.UNKNOWN


# --- going on from what is remembered ---


def test_going_on_after_rotations(log: LogMaker, tmp_path: Path) -> None:
    log.lay_out()
    assert verify(log, tmp_path).verdict == Verdict.VERIFIED
    log.append(draft(9))
    log.rotate(Key(7))
    log.append(draft(11))
    log.lay_out()
    for start in (1, 4, 5, 6, 7, 8, 9):
        report = verify(log, tmp_path, start=start, trust=[SECOND.public.key_id])
        assert report.verdict == Verdict.VERIFIED
        assert codes(report) == [("trust.rotation", 5)]
    # What was remembered by the last of these is enough to go on from again.
    assert verify(log, tmp_path, start=12).verdict == Verdict.VERIFIED


def test_more_changes_than_are_kept(log: LogMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.lay_out()
    limit = sum(len(log.lines[number]) for number in (4, 7))
    for allowed in (limit, limit - 1):
        monkeypatch.setattr("attestlog._internal.judging.walk.CHANGES_SIZE_MAX_BYTES", allowed)
        state = tmp_path / f"state-{allowed}"
        assert verify(log, tmp_path, state_dir=state).verdict == Verdict.VERIFIED
        memory = remembering.recall(state, log.origin, log.entry(0)["entry_hash"])
        assert memory is not None
        if allowed == limit:
            assert memory.changes is not None
            assert verify(log, tmp_path, state_dir=state, start=8).verdict == Verdict.VERIFIED
        else:
            assert memory.changes is None
            with pytest.raises(QueryError, match="is not kept"):
                verify(log, tmp_path, state_dir=state, start=8)


def test_one_key_need_not_stand_in_a_list(log: LogMaker, tmp_path: Path) -> None:
    """A string is never taken for its letters."""
    log.lay_out()
    vkey = log.checkpoint_key.vkey
    assert verify(log, tmp_path, trust=vkey).trusted_by == [vkey]
    with pytest.raises(NotFoundError, match="is no key id"):
        verify(log, tmp_path, trust="key.pem")
