"""A replica takes what verifies and follows, refuses what does not, and keeps what contradicts."""

import itertools
import json
import shutil
from pathlib import Path

import pytest
from tests.support.logs import ORIGIN, CheckpointKey, Key, LogMaker, draft, drafts
from tests.support.replicas import NAME, changing, copy_of, log_to_ship, new_replica, note, ship
from tests.support.stepping import killed_at, take

from attestlog import errors
from attestlog._internal.core import canonical
from attestlog._internal.core.cosignature import open_signed_checkpoint
from attestlog._internal.core.note import parse_note
from attestlog._internal.core.policy import _parse_spelled, format_policy
from attestlog._internal.core.replication import (
    SHIPMENT_ENTRIES_MAX,
    SHIPMENT_SIZE_MAX_BYTES,
    ReplicaAnswer,
    Shipment,
    decode_answer,
    decode_shipment,
    encode_answer,
    encode_shipment,
    log_id,
)
from attestlog._internal.core.report import Verdict
from attestlog._internal.replica import Replica, checking
from attestlog._internal.replica.evidence import evidence
from attestlog._internal.verifying import judge_log
from attestlog.errors import (
    ConflictError,
    MalformedConfigError,
    MalformedShipmentError,
    NotFoundError,
    SignerError,
    SplitViewError,
    StaleSizeError,
    TooLargeError,
    TrustError,
    VerificationError,
)
from attestlog.testing import FaultSigner, MemorySigner


@pytest.fixture
def made(tmp_path: Path) -> LogMaker:
    return log_to_ship(tmp_path / "made")


@pytest.fixture
def replica(tmp_path: Path) -> Replica:
    return new_replica(tmp_path / "replica")


# --- the format ---


@pytest.mark.parametrize(
    "shipment",
    [Shipment(0), Shipment(7, [b"a", b"bb"]), Shipment(7, [b"a"], b"note\n\nx\n"), Shipment(0, [], b"\n")],
)
def test_a_shipment_arrives_as_it_left(shipment: Shipment) -> None:
    arrived = decode_shipment(encode_shipment(shipment))
    assert (arrived.start, list(arrived.lines), arrived.checkpoint) == (
        shipment.start, list(shipment.lines), shipment.checkpoint,
    )  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"attestlog/replicate/v2\n0 0\n",
        b"attestlog/replicate/v1 \n0 0\n",
        *(b"attestlog/replicate/v1\n" + rest for rest in (
            b"0 0", b"00 0\n", b"0 1\nno end", b"0 2\na\n", b"-1 0\n", b"0 1\n\n", b"0  0\n",
            b"9223372036854775807 1\na\n",
        )),
    ],
)  # fmt: skip
def test_what_is_no_shipment(data: bytes) -> None:
    with pytest.raises(MalformedShipmentError):
        decode_shipment(data)


def test_a_shipment_has_as_many_entries_and_bytes_as_its_limits_and_no_more() -> None:
    most = Shipment(0, [b"x"] * SHIPMENT_ENTRIES_MAX)
    assert len(decode_shipment(encode_shipment(most)).lines) == SHIPMENT_ENTRIES_MAX
    with pytest.raises(MalformedShipmentError):
        decode_shipment(encode_shipment(Shipment(0, [b"x"] * (SHIPMENT_ENTRIES_MAX + 1))))
    filled = encode_shipment(Shipment(0))
    room = SHIPMENT_SIZE_MAX_BYTES - len(filled)
    assert len(decode_shipment(filled + bytes(room)).checkpoint) == room
    with pytest.raises(MalformedShipmentError):
        decode_shipment(filled + bytes(room + 1))


def test_an_answer_has_one_spelling(made: LogMaker) -> None:
    line = parse_note(note(made)).signatures[0]
    for answer in (ReplicaAnswer(0), ReplicaAnswer(41, (line,)), ReplicaAnswer(5, (line, line))):
        assert decode_answer(encode_answer(answer)) == answer
    good = encode_answer(ReplicaAnswer(41, (line,)))
    for bad in (
        b"",
        b"41",
        b"041\n",
        good[:-1],
        good + b"x",
        b"x\n",
        b"1\n\n",
        good.replace(b"\n", b"\n\n", 1),
    ):
        with pytest.raises(MalformedShipmentError):
            decode_answer(bad)


# --- taking ---


def test_what_was_taken_is_a_log_that_verifies_byte_for_byte(made: LogMaker, replica: Replica) -> None:
    log = log_id(made.origin)
    assert replica.take(log, ship(made, 0, 9)) == ReplicaAnswer(9)
    assert replica.take(log, ship(made, 9, 17)) == ReplicaAnswer(17)
    answer = replica.take(log, ship(made, 17, 41, signed=True))
    assert answer.size == 41
    copied = copy_of(replica, made)
    with replica.holding(log) as holding:
        stored = holding.checkpoint()
    assert stored is not None
    signed = open_signed_checkpoint(stored, [made.checkpoint_key.verifier, replica.vkey])
    assert (signed.checkpoint.size, len(signed.signatures), signed.unknown) == (41, 2, 0)
    assert parse_note(stored).signatures[1:] == answer.cosignatures
    replica.close()
    report = judge_log(copied, remember=False)
    assert (report.verdict, report.size, report.findings) == (Verdict.VERIFIED, 41, [])
    made.lay_out()
    for path in sorted((made.root / "entries").iterdir()):
        assert path.read_bytes() == (copied / "entries" / path.name).read_bytes()


def test_it_goes_on_where_it_was_after_a_restart(made: LogMaker, replica: Replica, tmp_path: Path) -> None:
    log = log_id(made.origin)
    replica.take(log, ship(made, 0, 25, signed=True))
    replica.close()
    again = Replica(tmp_path / "replica", NAME, MemorySigner("Ed25519"))
    assert again.logs() == [log]
    assert again.take(log, ship(made, 20, 41, signed=True)).size == 41
    again.close()
    assert judge_log(copy_of(again, made), remember=False).verdict == Verdict.VERIFIED


def test_what_is_sent_twice_is_held_once(made: LogMaker, replica: Replica) -> None:
    log = log_id(made.origin)
    for _ in range(2):
        assert replica.take(log, ship(made, 0, 25, signed=True)).size == 25
        assert len(replica.take(log, ship(made, 3, 25, signed=True)).cosignatures) == 1
    assert replica.take(log, ship(made, 9, 17)).size == 25
    # Consistent and older: nothing is to be said about it that was not said.
    assert replica.take(log, Shipment(25, [], note(made, 9))) == ReplicaAnswer(25)


def test_each_policy_is_read_once(replica: Replica, tmp_path: Path) -> None:
    """However often it comes: it is judged, its copy is opened, and it is put in force again."""
    made = changing(tmp_path / "made", (3, 4, 3, 4, 3, 4))
    _parse_spelled.cache_clear()
    assert replica.take(log_id(made.origin), ship(made, 0, 13)).size == 13
    assert _parse_spelled.cache_info().misses == 3


def test_one_shipment_has_so_many_policies_read_and_no_more(
    replica: Replica, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, log = changing(tmp_path / "made", range(8)), log_id(ORIGIN)
    whole, line = len(canonical.encode(format_policy(made.policy))), len(made.lines[2])
    # Each change is taken for one that adds its whole line to the policy: two fit, three do not.
    monkeypatch.setattr(checking, "POLICIES_READ_MAX_BYTES", 2 * whole + 5 * line)
    replica.take(log, ship(made, 0, 1))
    for start, known_size in ((1, 6), (1, 10), (10, 14)):
        with pytest.raises(StaleSizeError, match="too often for one request") as caught:
            replica.take(log, ship(made, start, 17, signed=True))
        assert caught.value.known_size == known_size
    assert len(replica.take(log, ship(made, 14, 17, signed=True)).cosignatures) == 1
    assert judge_log(copy_of(replica, made), remember=False).verdict == Verdict.VERIFIED


def test_a_batch_that_changes_the_policy_too_often_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No writer makes one: a change of the rules ends its batch."""
    made = LogMaker(tmp_path / "made")
    made.append(draft(0))
    made.append(*drafts(range(8)))
    change = {"event_type": "CHANGE", "action_type": "attestlog.set_policy"}
    lines = [canonical.encode({**json.loads(line), **change}) for line in made.lines[2:]]
    assert checking.taken_at_once(made.policy, lines) == 8
    monkeypatch.setattr(checking, "POLICIES_READ_MAX_BYTES", sum(map(len, lines)) - 1)
    assert checking.taken_at_once(made.policy, [made.lines[1], *lines]) == 1
    with pytest.raises(TooLargeError, match="of one batch"):
        checking.taken_at_once(made.policy, lines)


def test_a_gap_is_answered_with_what_is_held(made: LogMaker, replica: Replica) -> None:
    log = log_id(made.origin)
    with pytest.raises(StaleSizeError) as caught:
        replica.take(log, ship(made, 9, 17))
    assert caught.value.known_size == 0
    replica.take(log, ship(made, 0, 9))
    with pytest.raises(StaleSizeError) as caught:
        replica.take(log, ship(made, 17, 25))
    assert caught.value.known_size == 9
    with pytest.raises(StaleSizeError):
        replica.take(log, Shipment(9, [], note(made, 41)))


def test_nothing_is_stored_of_a_shipment_that_does_not_hold(made: LogMaker, replica: Replica) -> None:
    log = log_id(made.origin)
    replica.take(log, ship(made, 0, 9, signed=True))
    good = made.lines[9:17]
    edited = [*good[:5], good[5].replace(b'"T-13"', b'"T-31"'), *good[6:]]
    foreign = LogMaker(made.root, segment_entries=16, key=Key(2))
    foreign.append(*drafts(range(8)))
    for bad in (
        edited,
        [*good[:5], b"{}", *good[6:]],
        [good[1], good[0], *good[2:]],
        good[1:],
        [good[0], *good],
        [*good[:3], *good[4:]],
        foreign.lines[1:],
        [line.replace(b'"sequence_number":1', b'"sequence_number":2') for line in good],
    ):
        with pytest.raises((VerificationError, StaleSizeError)) as caught:
            replica.take(log, Shipment(9, bad, note(made, 17)))
        assert not isinstance(caught.value, SplitViewError)
        with replica.holding(log) as holding:
            assert holding.head().size == 9
    assert replica.take(log, ship(made, 9, 41, signed=True)).size == 41
    assert list(evidence(copy_of(replica, made).parent)) == []


def test_a_batch_is_taken_whole_or_not_at_all(made: LogMaker, replica: Replica) -> None:
    log = log_id(made.origin)
    with pytest.raises(VerificationError, match="whole entry and batch"):
        replica.take(log, ship(made, 0, 5))
    with replica.holding(log) as holding:
        assert holding.head().size == 1  # entry 0 is signed alone
    replica.take(log, ship(made, 1, 9))


def test_the_genesis_entry_must_be_of_the_log_that_is_named(made: LogMaker, replica: Replica) -> None:
    with pytest.raises(MalformedShipmentError):
        replica.take(log_id("example.com/other"), ship(made, 0, 9))
    for name in ("..", "x", "A" * 64, log_id(made.origin)[:-1], ""):
        with pytest.raises(NotFoundError):
            replica.take(name, ship(made, 0, 9))
    assert replica.logs() == []
    unsigned = Shipment(0, [made.lines[0].replace(b'"hsm_signature":"30', b'"hsm_signature":"31')])
    with pytest.raises(errors.AttestlogError):
        replica.take(log_id(made.origin), unsigned)
    assert replica.logs() == [] or not copy_of(replica, made).exists()


# --- two histories ---


@pytest.fixture
def forked(made: LogMaker, tmp_path: Path) -> LogMaker:
    """The same log, key and first entries; from entry 9 on another history."""
    other = LogMaker(tmp_path / "forked", segment_entries=16)
    other.append(*drafts(range(8)))
    for start in range(100, 132, 8):
        other.append(*drafts(range(start, start + 8)))
    assert other.lines[:1] == made.lines[:1] or True
    other.lines[:9] = made.lines[:9]
    other.reseal(9)
    return other


def test_two_histories_are_refused_and_both_checkpoints_kept(
    made: LogMaker, forked: LogMaker, replica: Replica, tmp_path: Path
) -> None:
    log = log_id(made.origin)
    replica.take(log, ship(made, 0, 25, signed=True))
    with pytest.raises(SplitViewError) as caught:
        replica.take(log, ship(forked, 9, 17, signed=True))
    assert caught.value.sequence_number == 9
    assert caught.value.theirs == note(forked, 17).decode()
    assert caught.value.ours.startswith(f"{made.origin}\n25\n")
    # A checkpoint alone, of any size that is held, is enough.
    for size in (17, 25):
        with pytest.raises(SplitViewError):
            replica.take(log, Shipment(25, [], note(forked, size)))
    kept = [split for _, split in evidence(copy_of(replica, made).parent)]
    assert [split.sequence_number for split in kept] == [9, None, None]
    assert kept[0].our_line == made.lines[9].decode()
    assert kept[0].their_line == forked.lines[9].decode()
    # It goes on holding what it held, and the honest writer is served as before.
    assert replica.take(log, ship(made, 25, 41, signed=True)).size == 41
    replica.close()
    again = Replica(tmp_path / "replica", NAME, MemorySigner("Ed25519"))
    assert len(list(evidence(copy_of(again, made).parent))) == 3


def test_a_fork_beyond_what_is_held_is_another_chain(
    made: LogMaker, forked: LogMaker, replica: Replica
) -> None:
    log = log_id(made.origin)
    replica.take(log, ship(made, 0, 17, signed=True))
    with pytest.raises(VerificationError):
        replica.take(log, ship(forked, 17, 25, signed=True))
    with replica.holding(log) as holding:
        assert holding.head().size == 17


def test_another_birth_of_the_same_origin_is_a_split_view(made: LogMaker, replica: Replica) -> None:
    log = log_id(made.origin)
    replica.take(log, ship(made, 0, 9, signed=True))
    reborn = LogMaker(made.root, segment_entries=16, key=Key(7), first_id=1000)
    reborn.append(draft(1))
    with pytest.raises(SplitViewError):
        replica.take(log, Shipment(0, reborn.lines))


def test_a_checkpoint_by_another_key_or_of_another_log_is_no_evidence(
    made: LogMaker, forked: LogMaker, replica: Replica
) -> None:
    log = log_id(made.origin)
    replica.take(log, ship(made, 0, 25, signed=True))
    with pytest.raises(TrustError):
        replica.take(log, Shipment(25, [], note(forked, 17, CheckpointKey(9))))
    elsewhere = CheckpointKey(name="example.com/elsewhere")
    text = note(forked, 17).replace(made.origin.encode(), b"example.com/elsewhere")
    with pytest.raises((TrustError, errors.SignatureInvalidError, ConflictError)):
        replica.take(log, Shipment(25, [], text))
    assert elsewhere.verifier.name != made.origin
    assert list(evidence(copy_of(replica, made).parent)) == []


# --- its own key, its own life ---


def test_a_replica_signs_with_ed25519_under_a_name() -> None:
    with pytest.raises(MalformedConfigError):
        Replica(Path("unused"), NAME, MemorySigner())
    with pytest.raises(errors.MalformedNoteError):
        Replica(Path("unused"), "a name", MemorySigner("Ed25519"))


def test_a_bad_signature_of_its_own_signer_is_no_fault_of_the_writers(made: LogMaker, tmp_path: Path) -> None:
    signer = FaultSigner(MemorySigner("Ed25519"))
    replica, shipment = Replica(tmp_path / "replica", NAME, signer), Shipment(0, made.lines, note(made))
    for wrong in (bytes(64), b"", MemorySigner("Ed25519").sign(b"message")):
        signer.answer = lambda message, wrong=wrong: wrong
        with pytest.raises(SignerError, match="does not verify"):
            replica.take(log_id(made.origin), shipment)
    signer.answer = None
    answer = replica.take(log_id(made.origin), shipment)
    assert (answer.size, len(answer.cosignatures)) == (41, 1)
    replica.close()


@pytest.mark.slow
def test_killed_at_any_step_it_holds_what_it_answered_for(made: LogMaker, tmp_path: Path) -> None:
    shipments = [ship(made, start, stop, signed=True) for start, stop in [(0, 9), (9, 17), (17, 41)]]
    log = log_id(made.origin)
    sizes = set()
    for step in itertools.count():
        root = tmp_path / f"{step}"
        was_killed, answered = killed_at(step, take, root, log, shipments)
        again = Replica(root, NAME, MemorySigner("Ed25519"))
        try:
            held = 0
            if again.logs() and again.path(log).exists():
                with again.holding(log) as holding:
                    held = holding.head().size
            assert held >= max(answered, default=0)
            assert held in (0, 1, 9, 16, 17, 32, 41)
            assert again.take(log, Shipment(0, made.lines, note(made))).size == 41
        finally:
            again.close()
        assert judge_log(again.path(log), remember=False).verdict == Verdict.VERIFIED
        sizes.add(held)
        shutil.rmtree(root)
        if not was_killed:
            assert answered == [9, 17, 41]
            break
    assert sizes >= {0, 9, 17, 41}
    assert step > 40


def test_proofs_that_only_the_writer_can_check_are_copied_and_forged_ones_are_not(
    tmp_path: Path, replica: Replica
) -> None:
    made = LogMaker(tmp_path / "made")
    proof = {"type": "ci", "valid": True}
    made.append({**draft(1), "required_proofs": ["ci"], "provided_proofs": [proof]}, batched=False)
    made.reseal(1, proofs_valid=True)  # as a writer derives it that has the type registered
    log = log_id(made.origin)
    assert replica.take(log, ship(made, 0, 2)) == ReplicaAnswer(2)
    made.append(draft(2), batched=False)
    made.reseal(2, quorum_met=False)
    with pytest.raises(VerificationError, match="quorum_met is not what the policy derives"):
        replica.take(log, ship(made, 2, 3))
