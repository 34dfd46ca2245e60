"""The whole-log verifier: entries tampered with, each found where it is, by one or two findings."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.audits import codes, verify
from tests.support.logs import Key, LogMaker

from attestlog._internal.core import canonical
from attestlog._internal.core.entry import PAYLOAD_SIZE_MAX_BYTES
from attestlog._internal.core.hashes import batch_message, hex_hash, leaf_hash
from attestlog._internal.core.report import Verdict

Tamper = Callable[[LogMaker, Path], None]


@pytest.fixture
def log(made: LogMaker) -> LogMaker:
    return made


def swap(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4], log.lines[5] = log.lines[5], log.lines[4]


def delete(log: LogMaker, tmp_path: Path) -> None:
    del log.lines[4]


def delete_first_of_batch(log: LogMaker, tmp_path: Path) -> None:
    del log.lines[8]


def repeat(log: LogMaker, tmp_path: Path) -> None:
    log.lines.insert(5, log.lines[2])


def edit_payload(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4] = log.lines[4].replace(b"T-4", b"T-x")


def edit_member(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4] = log.lines[4].replace(b"agent-1", b"agent-2")


def edit_and_rehash(log: LogMaker, tmp_path: Path) -> None:
    members = log.entry(4) | {"actor_id": "agent-2"}
    outside = ("action_payload", "entry_hash", "hsm_signature")
    covered = {name: value for name, value in members.items() if name not in outside}
    log.lines[4] = canonical.encode(members | {"entry_hash": hex_hash(canonical.encode(covered))})


def strip_signature(log: LogMaker, tmp_path: Path) -> None:
    log.lines[7] = canonical.encode(log.entry(7) | {"hsm_signature": ""})


def strip_batch_signature(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4] = canonical.encode(log.entry(4) | {"hsm_signature": ""})


def foreign_signature(log: LogMaker, tmp_path: Path) -> None:
    signature = Key(2).sign(bytes.fromhex(log.entry(7)["entry_hash"])).hex()
    log.lines[7] = canonical.encode(log.entry(7) | {"hsm_signature": signature})


def foreign_key(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(7, links=False, key=Key(2))


def other_algorithm(log: LogMaker, tmp_path: Path) -> None:
    log.lines[7] = canonical.encode(log.entry(7) | {"signature_algorithm": "Ed25519"})


def batch_index(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4] = re.sub(rb":3/6:", b":2/6:", log.lines[4])


def batch_size(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4] = re.sub(rb":3/6:", b":3/7:", log.lines[4])


def batch_path(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4] = re.sub(rb"(:3/6:)([0-9a-f]{64})", rb"\g<1>" + b"0" * 64, log.lines[4])


def batch_path_short(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4] = re.sub(rb"(:3/6:)([0-9a-f]{64})", rb"\g<1>", log.lines[4])


def batch_signature(log: LogMaker, tmp_path: Path) -> None:
    def other(match: re.Match[bytes]) -> bytes:
        return match[1] + (b"11" if match[2] == b"00" else b"00")

    for number in range(1, 7):
        log.lines[number] = re.sub(rb'(hsm_signature":"[0-9a-f]{20})(..)', other, log.lines[number])


def null_payload(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4] = canonical.encode(log.entry(4) | {"action_payload": None})


def reorder_members(log: LogMaker, tmp_path: Path) -> None:
    members = log.entry(4)
    log.lines[4] = json.dumps(
        {"timestamp": members.pop("timestamp"), **members}, separators=(",", ":")
    ).encode()


def duplicate_member(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4] = log.lines[4].replace(b'"severity":1,', b'"severity":1,"severity":1,')


def white_space(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4] = log.lines[4].replace(b'"severity":1,', b'"severity": 1,')


def other_number(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4] = log.lines[4].replace(b'"number":4', b'"number":4.0')


def carriage_return(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4] += b"\r"


def wrong_type(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(4, links=False, severity="1")


def wrong_range(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(4, links=False, severity=11)


def bad_proof(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(4, links=False, provided_proofs=[{"type": "rollback"}])


def unknown_member(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(4, links=False, extra=1)


def empty_line(log: LogMaker, tmp_path: Path) -> None:
    log.lines.insert(4, b"")


def garbage_lines(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4:4] = [b"garbage", b"\x00" * 100, b"{}"]


def garbage_for_an_entry(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4] = b"\x00" * len(log.lines[4])


def number_again(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(4, links=False, sequence_number=40)


def other_past(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(4, links=False, prev_entry_hash="0" * 64)


def back_in_time(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(7, timestamp="2025-10-30T11:00:00.000000Z")


def no_such_day(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(7, timestamp="2025-11-31T12:00:00.000000Z")


def wrong_score(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(7, composite_score=9.5, pillars_scores={"an_toan": 2})


def wrong_k_state(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(7, k_state=0)


def wrong_floor(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(7, safety_floor_met=True)


def wrong_proofs(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(7, required_proofs=["rollback"])


def wrong_quorum(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(7, required_approvals=2)


def too_large(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(7, actor_context={"notes": "n" * 70_000})


def payload_too_large(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(7, action_payload={"text": "t" * PAYLOAD_SIZE_MAX_BYTES})


def stop_batch(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(6)


MALFORMED = [("entry.malformed", 4)]
TAMPERING: list[tuple[Tamper, list[tuple[str, int]]]] = [
    (swap, [("entry.sequence", 5), ("entry.sequence", 4), ("entry.sequence", 6)]),
    (delete, [("entry.sequence", 5)]),
    (delete_first_of_batch, [("entry.sequence", 9)]),
    (repeat, [("entry.sequence", 2), ("entry.sequence", 5)]),
    (edit_payload, [("entry.action_hash", 4)]),
    (edit_member, [("entry.entry_hash", 4)]),
    (edit_and_rehash, [("entry.signature", 4), ("entry.chain", 5)]),
    (strip_signature, [("entry.signature_form", 7)]),
    (strip_batch_signature, [("entry.signature_form", 4)]),
    (foreign_signature, [("entry.signature", 7)]),
    (foreign_key, [("entry.signing_key", 7), ("entry.chain", 8)]),
    (other_algorithm, [("entry.entry_hash", 7), ("entry.algorithm", 7)]),
    (batch_index, [("entry.batch", 4), ("entry.signature", 4)]),
    (batch_size, [("entry.batch", 4)]),
    (batch_path, [("entry.signature", 4)]),
    (batch_path_short, [("entry.signature_form", 4)]),
    (batch_signature, [("entry.signature", number) for number in range(1, 7)]),
    (null_payload, [("entry.payload_missing", 4)]),
    (reorder_members, [("entry.canonical", 4)]),
    (duplicate_member, [("entry.canonical", 4)]),
    (white_space, [("entry.canonical", 4)]),
    (other_number, [("entry.canonical", 4)]),
    (carriage_return, [("entry.canonical", 4)]),
    (wrong_type, MALFORMED),
    (wrong_range, MALFORMED),
    (bad_proof, MALFORMED),
    (unknown_member, MALFORMED),
    (empty_line, MALFORMED),
    (garbage_lines, MALFORMED),
    (garbage_for_an_entry, MALFORMED),
    (number_again, [("entry.sequence", 40), ("entry.sequence", 5)]),
    (other_past, [("entry.chain", 4), ("entry.chain", 5)]),
    (back_in_time, [("entry.timestamp", 7)]),
    (no_such_day, [("entry.timestamp", 7)]),
    (wrong_score, [("entry.derived", 7), ("entry.derived", 7)]),
    (wrong_k_state, [("entry.derived", 7)]),
    (wrong_floor, [("entry.derived", 7)]),
    (wrong_proofs, [("entry.derived", 7)]),
    (wrong_quorum, [("entry.derived", 7)]),
    (too_large, [("entry.too_large", 7)]),
    (payload_too_large, [("entry.too_large", 7)]),
    (stop_batch, [("entry.batch", 6)]),
]


@pytest.mark.parametrize("tamper,expected", TAMPERING, ids=[tamper.__name__ for tamper, _ in TAMPERING])
def test_tampering_is_found_where_it_is(
    log: LogMaker, tmp_path: Path, tamper: Tamper, expected: list[tuple[str, int]]
) -> None:
    tamper(log, tmp_path)
    log.write_entries()
    report = verify(log, tmp_path)
    assert report.verdict == Verdict.TAMPERED
    about_entries = [item for item in codes(report) if item[0].startswith("entry.")]
    assert about_entries == expected
    # Beyond those, one may say that stored hashes and signed root are of other entries.
    rest = {code for code, _ in codes(report)} - {code for code, _ in expected}
    assert rest <= {"tree.stale", "checkpoint.root"}


def test_the_rewritten_log_of_a_key_holder_is_sound_by_itself(log: LogMaker, tmp_path: Path) -> None:
    log.reseal(7, action_payload={"task_id": "another"})
    log.lay_out()
    assert verify(log, tmp_path).findings == []


def test_the_genesis_entry_must_be_signed_alone(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log")
    members = log.entry(0) | {"signature_algorithm": log.key.public.algorithm + "+BATCH"}
    outside = ("action_payload", "entry_hash", "hsm_signature")
    digest = hex_hash(canonical.encode({k: v for k, v in members.items() if k not in outside}))
    root = batch_message(leaf_hash(bytes.fromhex(digest)))
    log.lines[0] = canonical.encode(
        members | {"entry_hash": digest, "hsm_signature": log.key.sign(root).hex() + ":0/1:"}
    )
    log.lay_out()
    assert codes(verify(log, tmp_path)) == [("entry.batch", 0)]


def test_evidence_comes_with_a_finding(log: LogMaker, tmp_path: Path) -> None:
    delete(log, tmp_path)
    log.write_entries()
    finding = verify(log, tmp_path).findings[0]
    assert (finding.sequence_number, finding.expected, finding.found) == (5, 4, 5)
