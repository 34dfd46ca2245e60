"""The full and the one-file verifier agree on damaged and forged logs: verdict, code and entry of findings.

Some of what `make agree` does at length, always on the same logs, so that no new one turns up. Logs on which
they once did not agree are tests by name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.fuzz.two_verifiers import run
from tests.support.both import Content, Fifo, Folder, Link, Place, compare, judge_by_one_file, quick
from tests.support.histories import ALL_KEYS, History, Members, rebuild
from tests.support.logs import admission, draft, drafts, rotation

from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.erasure import Erasure, format_erasure
from attestlog._internal.core.hashes import EMPTY_ROOT

SEED = 14
LOGS = 150


def test_damaged_and_forged_logs() -> None:
    assert run(SEED, logs=LOGS) == (LOGS, [], [])


@pytest.mark.slow
def test_many_damaged_and_forged_logs() -> None:
    assert run(SEED + 1, logs=20 * LOGS) == (20 * LOGS, [], [])


# --- on these they did not agree ---

Files = dict[str, Content]
Case = Callable[[], Files]
CASES: dict[str, tuple[Case, str, set[tuple[str, int | None]]]] = {}
"""Name → the log, and what both must say: verdict, and findings among others."""

FIRST, SECOND = "entries/000000000000.jsonl", "entries/000000000004.jsonl"


def case(verdict: str, *found: tuple[str, int | None]) -> Callable[[Case], Case]:
    def add(made: Case) -> Case:
        CASES[made.__name__] = made, verdict, set(found)
        return made

    return add


def log() -> History:
    """Segments of four entries, empty but for the genesis entry."""
    return History(Random(0), steps=0, segment_entries=4)


def entries(made: History) -> list[Members]:
    return [json.loads(line) for line in made.lines]


@case("INCOMPLETE", ("log.torn_tail", 2), ("log.torn_batch", 1))
def a_torn_batch_that_would_have_brought_a_key_in() -> Files:
    """What is torn brings no key in, and takes none out."""
    made = log()
    made.append(draft(1), rotation(made.origin, made.key, ALL_KEYS[1], 2))
    whole = made.files()
    files: Files = dict(log().files())
    files[FIRST] = bytes(whole[FIRST][:-40])
    return files


@case("TRUNCATED", ("log.torn_tail", 2), ("log.cut_batch", 1))
def a_batch_of_which_some_was_acknowledged() -> Files:
    """Bytes that are no entry, within a batch: the batch is cut, not torn, if its first entry was durable."""
    made = log()
    made.append(*drafts(range(1, 3)))
    files: Files = dict(made.files(made.lines[:2]))
    files[FIRST] = bytes(made.files()[FIRST][:-40])
    return files


@case("TAMPERED", ("checkpoint.root", None))
def a_checkpoint_of_no_entries() -> Files:
    """Every log has an entry from birth: its key never signs less."""
    made = log()
    made.append(draft(1))
    return {**made.files(), "checkpoint": made.checkpoint(0, EMPTY_ROOT)}


@case("TAMPERED", ("segment.length", 4), ("segment.length", 8))
def an_empty_segment_where_entries_are_due() -> Files:
    made = log()
    made.append(*drafts(range(1, 3)))
    return {**made.files(), SECOND: b"", "entries/000000000008.jsonl": b""}


@case("TAMPERED", ("segment.missing", 4), ("entry.unjudged", None))
def a_segment_is_missing_before_an_empty_one() -> Files:
    """Keys may have come in by what is missing."""
    made = log()
    made.append(*drafts(range(1, 4)))
    return {**made.files(), "entries/000000000008.jsonl": b""}


@case("TAMPERED", ("entry.sequence", 0), ("entry.rules", 0))
def another_entry_that_says_it_is_the_first() -> Files:
    """Entry 0 has no pointer, wherever it stands."""
    made = log()
    made.append(draft(1), batched=False)
    made.append(draft(2), batched=False)
    changed = entries(made)
    changed[2]["sequence_number"] = 0
    return dict(made.files(rebuild(made, changed)))


@case("TAMPERED", ("entry.entry_hash", 0), ("entry.chain", 1))
def a_first_entry_that_states_another_hash() -> Files:
    """Pointers go by the hash that it states, as links do."""
    made = log()
    made.append(draft(1))
    stated = made.entry(0)["entry_hash"].encode()
    lines = [made.lines[0].replace(b'"entry_hash":"' + stated, b'"entry_hash":"' + b"0" * 64), made.lines[1]]
    return dict(made.files(lines))


@case("MALFORMED", ("log.no_genesis", None))
def a_first_entry_that_does_not_say_what_made_the_log() -> Files:
    made = log()
    made.append(draft(1))
    changed = entries(made)
    del changed[0]["action_payload"]["software"]["version"]
    return dict(made.files(rebuild(made, changed)))


@case("UNKNOWN", ("segment.absent", 4))
def a_batch_that_began_in_a_segment_that_is_elsewhere() -> Files:
    """Where the entry before was not read, nothing is said of the place in a batch."""
    made = log()
    made.append(*drafts(range(1, 7)), batched=False)
    made.append(*drafts(range(7, 10)))
    return {**made.files(), SECOND: Link("/nowhere/at/all")}


@case("TAMPERED", ("checkpoint.malformed", None))
def a_checkpoint_with_a_bad_line_after_a_bad_signature() -> Files:
    """A note is read to its end before any line is verified."""
    made = log()
    files = made.files()
    text, _, line = files["checkpoint"].rpartition(b"\n\n")
    return {**files, "checkpoint": text.replace(b"\n1\n", b"\n2\n") + b"\n\n" + line + b"no line\n"}


@case("TAMPERED", ("checkpoint.malformed", None), ("log.unreadable", None))
def an_empty_checkpoint_beside_a_tree_that_cannot_be_read() -> Files:
    """That one file cannot be read excuses no other."""
    return {**log().files(), "checkpoint": b"", "tree/0": Folder()}


def unsettled(other: str) -> Files:
    """Nobody acknowledged the last batch, whose last line is respelled; its end is the segment `other`."""
    made = log()
    before = made.files()
    made.append(draft(1), batched=False)
    made.append(*drafts(range(2, 7)))
    lines = [*made.lines[:-1], b" " + made.lines[-1]]
    first, last = (b"".join(line + b"\n" for line in part) for part in (lines[:4], lines[4:]))
    kept = {name: data for name, data in before.items() if not name.startswith("entries/")}
    return {**kept, FIRST: first, other: last}


@case("TAMPERED", ("segment.missing", 4), ("log.unsettled", 4))
def an_unsettled_batch_behind_a_missing_segment() -> Files:
    return unsettled("entries/000000000008.jsonl")


@case("TAMPERED", ("entry.canonical", 6))
def a_bad_line_before_an_empty_segment() -> Files:
    """A segment behind it says that all before was durable."""
    return {**unsettled(SECOND), "entries/000000000008.jsonl": b""}


@case("TAMPERED", ("entry.sequence", 1), ("erasure.malformed", 3))
def two_entries_of_one_number_without_their_payloads() -> Files:
    made = log()
    made.append(draft(1), batched=False)
    made.append(draft(2), batched=False)
    said = format_erasure(Erasure.of(decode_line(made.lines[1]), "asked for", None))
    made.append(draft(0, event_type="CHANGE", action_type="attestlog.erase_payload", action_payload=said))
    changed = entries(made)
    changed[1]["action_payload"] = changed[2]["action_payload"] = None
    changed[2]["sequence_number"] = 1
    return dict(made.files(rebuild(made, changed)))


@case("TAMPERED", ("entry.canonical", 1))
def an_entry_in_another_spelling_without_its_payload() -> Files:
    """It is one fault: what it would hash to is not judged."""
    made = log()
    made.append(draft(1))
    changed = entries(made)
    changed[1]["action_payload"] = None
    (first, second) = rebuild(made, changed)
    return dict(made.files([first, b" " + second]))


@case("TAMPERED", ("entry.canonical", 1))
def a_rotation_in_another_spelling() -> Files:
    """It is what its hashes and signature say, and holds: the entries after it are not to blame."""
    made = log()
    made.append(rotation(made.origin, made.key, ALL_KEYS[1], 1))
    made.key = ALL_KEYS[1]
    made.append(draft(2))
    made.lines[1] = b" " + made.lines[1]
    return dict(made.files())


@case("TAMPERED", ("entry.timestamp", 2))
def a_time_that_goes_back_once() -> Files:
    made = log()
    for number in range(1, 5):
        made.append(draft(number))
    changed = entries(made)
    changed[2]["timestamp"] = changed[2]["timestamp"].replace("2025", "2024")
    return dict(made.files(rebuild(made, changed)))


@case("TAMPERED", ("entry.canonical", 0))
def a_later_format_in_another_spelling() -> Files:
    """A digit that somebody changed is not a newer format."""
    made = log()
    line = made.lines[0].replace(b'"format":1', b'"format":2').replace(b'"severity":', b'"severity": ')
    return dict(made.files([line]))


@case("TAMPERED", ("entry.malformed", 1))
def an_entry_with_a_member_twice_of_which_one_is_malformed() -> Files:
    """The last value counts, and the other must be of its type as well."""
    made = log()
    made.append(draft(1))
    return dict(made.files([made.lines[0], b'{"severity":11,' + made.lines[1][1:]]))


@case("TAMPERED", ("entry.malformed", 1))
def an_entry_with_a_member_of_a_member_twice_of_which_one_is_malformed() -> Files:
    made = log()
    made.append(draft(1))
    line = made.lines[1].replace(b'"environment":{', b'"environment":{"twice":1,"twice":"1",')
    return dict(made.files([made.lines[0], line]))


@case("TAMPERED", ("entry.canonical", 1))
def an_entry_with_a_member_twice_and_well() -> Files:
    made = log()
    made.append(draft(1))
    return dict(made.files([made.lines[0], b'{"severity":1,"pillars_scores":{},' + made.lines[1][1:]]))


@case("TAMPERED", ("segment.malformed", 0))
def a_first_segment_that_is_not_compressed_as_it_should_be() -> Files:
    """It is there, and nothing but damage: what could not be read would be unknown."""
    files: Files = dict(log().files())
    del files[FIRST]
    return {**files, f"{FIRST}.zst": b"no frame"}


@case("TAMPERED", ("segment.stray", None))
def a_file_that_is_no_segment_behind_the_last() -> Files:
    """Which is the last one, and may have room, nevertheless."""
    made = log()
    files: Files = dict(made.files())
    return {**files, FIRST: made.files()[FIRST] + b" " * 70, "entries/000000000005.jsonl": b""}


@case("TAMPERED", ("entry.change", 1))
def a_key_comes_in_of_a_kind_that_nobody_knows() -> Files:
    """One of ML-DSA is known by its bytes where it cannot be verified; another one is malformed."""
    made = log()
    made.append(admission(made, ALL_KEYS[1]))
    changed = entries(made)
    payload = changed[1]["action_payload"]
    payload["public_key"] = payload["public_key"].replace("MCowBQYDK2Vw", "MCowBQYDK20w")
    return dict(made.files(rebuild(made, changed)))


@case("TAMPERED", ("segment.missing", 4), ("entry.rules", 8), ("entry.unjudged", 8))
def a_pointer_that_is_none_after_a_segment_that_is_missing() -> Files:
    """Holds may have come in by what is missing, but no entry that is spelled so."""
    made = log()
    made.append(*drafts(range(1, 9)), batched=False)
    changed = entries(made)
    changed[8]["environment"]["attestlog_holds"] = "5:" + "0" * 65
    files: Files = dict(made.files(rebuild(made, changed)))
    del files[SECOND]
    return files


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with quick():
        yield Place(tmp_path / "log")


@pytest.mark.parametrize("name", CASES)
def test_a_log_on_which_they_did_not_agree(place: Place, name: str) -> None:
    made, verdict, found = CASES[name]
    place.put(made())
    trust = ["0" * 64] if ("entry.unjudged", None) in found else []
    assert compare(place.root, trust) is None
    said = judge_by_one_file(place.root, trust)
    assert (said.verdict, found - said.found) == (verdict, set())


# --- every file of a log ---


@pytest.mark.parametrize(
    "other", ["missing", "cut", "empty", "garbage", "fifo", "folder", "link", "loop", "older", "another"]
)
def test_every_file_is_something_else(place: Place, other: str) -> None:
    """Neither hangs, raises or says another verdict; without evidence of an entry, nothing is verified."""
    made, stranger = History(Random(59)), History(Random(60)).files()
    whole = made.files()
    for name, data in whole.items():
        files: dict[str, Any] = dict(whole)
        match other:
            case "missing":
                del files[name]
            case "older" | "another":
                files[name] = (made.older if other == "older" else stranger).get(name, b"")
            case _:
                files[name] = {
                    "cut": data[: len(data) // 2], "empty": b"", "garbage": bytes(len(data)), "fifo": Fifo(),
                    "folder": Folder(), "link": Link("/nowhere/at/all"), "loop": Link(Path(name).name),
                }[other]  # fmt: skip
        place.put(files)
        assert compare(place.root) is None, name
        # A payload that an older copy brings back is no loss: it is told that its erasure is unfinished.
        has_all = isinstance(files.get(name), bytes) and files[name].count(b"\n") == data.count(b"\n")
        if name.startswith("entries/") and not (has_all and other == "older"):
            assert judge_by_one_file(place.root).verdict not in {"VERIFIED", "INCOMPLETE"}, name
