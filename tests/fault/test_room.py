"""Power cuts over room: the pages of one commit reach the disk in any order, and some of them not at all."""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from tests.fault.simdisk import PAGE_BYTES, SEEDS
from tests.support.logs import (
    LogMaker,
    add_room,
    contents,
    copied,
    create,
    draft,
    drafts,
    last_segment,
    unremembered,
)
from tests.support.tally import tally

from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.erasure import Erasure, erase_line, format_erasure
from attestlog._internal.core.reserved import ERASE_PAYLOAD
from attestlog._internal.log import Log
from attestlog._internal.storage.files.store import FileStore
from attestlog._internal.verifier import verify as one_file
from attestlog._internal.verifying import judge_log
from attestlog.errors import AttestlogError, CorruptError
from attestlog.testing import check_log

ROOM_BYTES = 64 << 10


def verdict(root: Path) -> str:
    """Of both verifiers, which must agree."""
    report = one_file.Report()
    one_file.verify(report, root, None, one_file.parse_trust([]))
    full = judge_log(root, remember=False, workers=1)
    assert report.verdict == full.verdict, (report.facts, full.findings)
    return report.verdict


def texts(count: int, size_bytes: int) -> list[dict[str, object]]:
    """Drafts whose payloads are so long that pages lie within a string: spaces there are still JSON."""
    return [
        draft(number, action_payload={"number": number, "text": "text " * (size_bytes // 5)})
        for number in range(2, 2 + count)
    ]


def commit_over_room(root: Path, some: list[dict[str, object]]) -> tuple[bytes, bytes, int]:
    """The segment as it was durable, as the commit makes it, and how many entries were there before."""
    with create(root) as log:
        log.append(draft(1))
    segment = add_room(root, ROOM_BYTES)
    before = segment.read_bytes()
    other = copied(root, "after")
    with Log.open(other) as log:
        log.append_many(some)
        log._store.close()
    lines = last_segment(other).read_bytes()
    return before, lines + b" " * (len(before) - len(lines)), 2


def orders(before: bytes, after: bytes, lost: bytes = b" ") -> Iterator[bytes]:
    """The file with each subset of the commit's pages lost: what was there before, or `lost` in its place."""
    stop = len(before.rstrip(b" "))
    gone = before[:stop] + lost * (len(before) - stop)
    pages = [slice(at, at + PAGE_BYTES) for at in range(0, len(after), PAGE_BYTES)]
    changed = [page for page in pages if before[page] != after[page]]
    for missing in itertools.product([False, True], repeat=len(changed)):
        data = bytearray(after)
        for page in itertools.compress(changed, missing):
            data[page] = gone[page]
        yield bytes(data)


@pytest.mark.parametrize(
    "count, size_bytes, lost", [(1, 9_000, b" "), (2, 6_000, b" "), (5, 2_000, b" "), (9, 100, b"\0")]
)
def test_every_order_of_the_pages_of_one_commit(
    tmp_path: Path, count: int, size_bytes: int, lost: bytes
) -> None:
    """It is there whole or not at all; nobody takes it for tampering meanwhile; nothing else is lost."""
    before, after, size = commit_over_room(tmp_path / "log", texts(count, size_bytes))
    states = list(orders(before, after, lost))
    assert len(states) >= 8
    for data in states:
        root = copied(tmp_path / "log", "state")
        last_segment(root).write_bytes(data)
        is_whole, is_absent = data == after, data == before
        assert verdict(root) == ("VERIFIED" if is_whole or is_absent else "INCOMPLETE")
        tally("orders of the pages of a commit over room")
        with Log.open(unremembered(root)) as log:
            assert bool(log.recovered) == (not is_whole and not is_absent)
            receipt = log.append(draft(99))
            assert receipt.sequence_number == size + (count if is_whole else 0)
        check_log(root, [receipt])
        assert verdict(root) == "VERIFIED"
        shutil.rmtree(root)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_any_bytes_of_one_commit_over_room(tmp_path: Path, seed: int) -> None:
    """Harsher than pages: any piece of the commit may be as it was before."""
    random = Random(seed)
    before, after, _ = commit_over_room(tmp_path / "log", texts(4, 1_000))
    start, stop = len(before.rstrip(b" ")), len(after.rstrip(b" "))
    for _ in range(20):
        data = bytearray(after)
        for _ in range(random.choice([1, 1, 2, 5])):
            at = random.randrange(start, stop)
            end = min(stop, at + random.choice([1, 40, 512, 3_000]))
            data[at:end] = before[at:end]
        root = copied(tmp_path / "log", "state")
        last_segment(root).write_bytes(data)
        assert verdict(root) == ("VERIFIED" if data == after else "INCOMPLETE")
        with Log.open(unremembered(root)) as log:
            assert len(log.recovered) == (data != after)
            assert log.head().size == (6 if data == after else 2)
        shutil.rmtree(root)


def test_a_last_batch_that_nobody_signed_is_set_aside(tmp_path: Path) -> None:
    """Its signature is checked beside the flush: who died between left lines that no key signed."""
    made = LogMaker(tmp_path / "log")
    made.append(*drafts(range(1, 4)))
    made.lay_out()
    acknowledged = contents(made.root)
    forged = LogMaker(tmp_path / "forged")
    for batch in ([4], [4, 5, 6]):
        forged.lines, forged.head, forged.rules = list(made.lines), made.head, made.rules
        forged.log, forged.genesis, forged.now_us, forged.ids = made.log, made.genesis, made.now_us, 50
        forged.key.sign = lambda message: made.key.sign(message + b"!")
        forged.append(*drafts(batch))
        forged.root = made.root
        forged.write_entries(b" " * 100)
        assert verdict(made.root) == "INCOMPLETE"
        (found,) = judge_log(made.root, remember=False, workers=1).findings
        assert (found.code, found.sequence_number, found.found) == ("log.unsettled", 4, "entry.signature")
        store = FileStore(made.root, any_filesystem=True)
        with store.exclusive() as head:
            assert head.size == 4
        store.close()
        assert len(store.recovered) == 1
        assert "does not verify" in store.recovered[0]
        there = contents(made.root)
        assert {name: there[name] for name in acknowledged} == acknowledged
        check_log(made.root)


@pytest.mark.parametrize("evidence", ["tree", "checkpoint"])
def test_what_was_acknowledged_is_never_unsettled(tmp_path: Path, evidence: str) -> None:
    made = LogMaker(tmp_path / "log")
    made.append(*drafts(range(1, 4)))
    made.append(draft(4))
    made.reseal(4, links=False)
    members = made.entry(4)
    made.lines[4] = made.lines[4].replace(members["hsm_signature"][-8:].encode(), b"00000000")
    made.lay_out(size=5 if evidence == "checkpoint" else 4, tree_size=5 if evidence == "tree" else 4)
    assert verdict(made.root) == "TAMPERED"
    before = contents(made.root)
    try:
        store = FileStore(made.root, any_filesystem=True)
    except CorruptError:
        pass
    else:
        assert store.recovered == []
        store.close()
    assert contents(made.root)["entries/000000000000.jsonl"] == before["entries/000000000000.jsonl"]


def test_what_stands_before_the_last_batch_is_not_unsettled(tmp_path: Path) -> None:
    made = LogMaker(tmp_path / "log")
    made.append(draft(1))
    made.append(draft(2))
    made.lines[1] = made.lines[1].replace(b"agent-1", b"agent-2")
    made.lay_out(size=1, tree_size=1)
    assert verdict(made.root) == "TAMPERED"
    with pytest.raises(AttestlogError):
        FileStore(made.root, any_filesystem=True)


def test_what_a_key_signed_is_what_it_is_however_late(tmp_path: Path) -> None:
    """Wrong, and signed by a key in force: no crash did that."""
    made = LogMaker(tmp_path / "log")
    made.append(draft(1))
    made.append(draft(2))
    made.reseal(2, links=False, k_state=0 if made.entry(2)["k_state"] else 1)
    made.lay_out(size=1, tree_size=1)
    report = judge_log(made.root, remember=False, workers=1)
    assert (report.verdict, report.findings[0].code) == ("TAMPERED", "entry.derived")


def test_nothing_of_an_unsettled_batch_counts(tmp_path: Path) -> None:
    """Else who cannot sign could say there that a payload was erased, and have it counted."""
    made = LogMaker(tmp_path / "log")
    made.append(draft(1))
    payload = format_erasure(Erasure.of(decode_line(made.lines[1]), "gone", None))
    made.append(draft(2, event_type="CHANGE", action_type=ERASE_PAYLOAD, action_payload=payload))
    made.lines[1] = erase_line(made.lines[1])
    made.lines[2] = made.lines[2].replace(made.entry(2)["hsm_signature"][-8:].encode(), b"00000000")
    made.lay_out(size=2, tree_size=2)
    report = judge_log(made.root, remember=False, workers=1)
    assert {found.code for found in report.findings} == {"log.unsettled", "entry.payload_missing"}
    assert verdict(made.root) == "TAMPERED"
