"""Batches: each entry's place, its path, the one signature; what is nearly so is not accepted."""

from collections.abc import Callable

import pytest
from tests.support.native import BytesPiece, by_core, by_reference, facts, native_core, rules_of

from attestlog._internal.core.hashes import leaf_hash
from attestlog._internal.core.merkle import inclusion_paths
from attestlog._internal.native.selftest import ALGORITHM, MEMBERS, seal
from attestlog._internal.verifying.accepting import Accepting

SIZES = (1, 2, 3, 5, 8, 13)
BATCHED = b'"%b+BATCH"' % ALGORITHM.encode()


def chained(count: int, first: int = 12) -> list[dict[str, bytes]]:
    """The members of entries that follow each other, without signatures."""
    made: list[dict[str, bytes]] = []
    previous = MEMBERS["prev_entry_hash"]
    for number in range(first, first + count):
        members = {
            **MEMBERS, "sequence_number": b"%d" % number, "prev_entry_hash": previous,
            "entry_id": b'"%08x-5a53-4d30-9c1b-6a1f0c2b7e11"' % number, "signature_algorithm": BATCHED,
        }  # fmt: skip
        previous = stated_hash(seal(members))
        made.append({**members, "entry_hash": previous})
    return made


def stated_hash(line: bytes) -> bytes:
    at = line.find(b'"entry_hash":"') + len(b'"entry_hash":')
    return line[at : at + 66]


def batch(count: int, signature: str = "ab") -> list[tuple[dict[str, bytes], list[str]]]:
    """Members, and the parts of the signature: hex, index, size, path."""
    entries = chained(count)
    _, paths = inclusion_paths(
        [leaf_hash(bytes.fromhex(item["entry_hash"][1:-1].decode())) for item in entries]
    )
    return [
        (members, [signature, str(index), str(count), path.hex()])
        for index, (members, path) in enumerate(zip(entries, paths, strict=True))
    ]


def lines_of(entries: list[tuple[dict[str, bytes], list[str]]]) -> list[bytes]:
    signatures = [f'"{text}:{index}/{size}:{path}"' for _, (text, index, size, path) in entries]
    return [
        seal({**members, "hsm_signature": text.encode()})
        for (members, _), text in zip(entries, signatures, strict=True)
    ]


@pytest.mark.parametrize("size", SIZES)
def test_a_whole_batch_is_accepted(size: int) -> None:
    lines = lines_of(batch(size))
    taken = by_core(native_core(), rules_of(), lines)
    assert taken is not None
    assert facts(taken) == facts(by_reference(rules_of(), lines))


def _set(part: int, value: str) -> Callable[[list[str]], None]:
    def change(parts: list[str]) -> None:
        parts[part] = value

    return change


def _change_path(change: Callable[[str], str]) -> Callable[[list[str]], None]:
    def changed(parts: list[str]) -> None:
        parts[3] = change(parts[3])

    return changed


CHANGES: dict[str, Callable[[list[str]], None]] = {
    "another signature": _set(0, "ac"),
    "odd digits": _set(0, "abc"),
    "no signature": _set(0, ""),
    "another index": _set(1, "0"),
    "an index with a zero before it": _set(1, "03"),
    "another size": _set(2, "6"),
    "a size with a zero before it": _set(2, "05"),
    "no path": _set(3, ""),
    "a longer path": _change_path(lambda path: path + "00" * 32),
    "a shorter path": _change_path(lambda path: path[:-64]),
    "another path": _change_path(lambda path: ("0" if path[0] != "0" else "1") + path[1:]),
    "upper case": _change_path(str.upper),
}


@pytest.mark.parametrize("what", CHANGES)
def test_one_entry_that_is_nearly_of_the_batch(what: str) -> None:
    entries = batch(5)
    CHANGES[what](entries[3][1])
    lines = lines_of(entries)
    # Another path leads to another root, of which only a key could tell that it did not sign it.
    assert by_reference(rules_of(), lines).findings or what == "another path"
    assert by_core(native_core(), rules_of(), lines) is None


def test_a_batch_that_is_not_whole_is_for_python() -> None:
    core, lines = native_core(), lines_of(batch(5))
    for stop in range(1, 5):
        assert by_core(core, rules_of(), lines[:stop]) is None
    assert by_core(core, rules_of(), lines[1:]) is None
    missing = [*lines[:2], *lines[3:]]
    assert by_core(core, rules_of(), missing) is None


def test_an_entry_signed_alone_within_a_batch() -> None:
    entries = batch(3)
    alone = seal({**entries[1][0], "hsm_signature": b'"ab"'})
    lines = lines_of(entries)
    assert by_core(native_core(), rules_of(), [lines[0], alone, lines[2]]) is None


def test_pieces_take_the_batches_that_begin_in_them() -> None:
    """Cut anywhere, each line is in one piece, as the reference cuts them."""
    core, rules = native_core(), rules_of()
    lines = lines_of(batch(3))
    data = b"".join(line + b"\n" for line in lines)
    accepting = Accepting(core)
    for cut in range(1, len(data), 97):
        first = accepting._lines(BytesPiece(data, 0, cut))
        assert first is not None
        assert (first.start, first.stop) == (0, len(data))
        later = BytesPiece(data, cut, len(data))
        later.is_first = False
        assert accepting.scan((rules, later)) is None
