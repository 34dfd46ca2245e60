"""Tiles: coordinates, paths and bytes in one spelling, and no hash seen that does not lead to the root."""

import itertools
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support import rfc6962

from attestlog._internal.core import merkle, tiles
from attestlog._internal.core.hashes import EMPTY_ROOT, leaf_hash
from attestlog._internal.core.merkle import Grown, Span
from attestlog._internal.core.tiles import (
    INDEX_MAX,
    LEVEL_MAX,
    TILES_KEPT_MAX,
    Bundle,
    Tile,
    TrustedTiles,
    decode_bundle,
    decode_tile,
    encode_bundle,
    encode_tile,
    format_path,
    parse_path,
    plan_tiles,
    tile_width,
    verify_bundle,
)
from attestlog.errors import HashMismatchError, MalformedTileError

SIZE = 70_000
DATA = [sha256(number.to_bytes(4, "big")).digest() for number in range(SIZE)]
LEAVES = [leaf_hash(data) for data in DATA]
places = st.one_of(
    st.builds(Tile, st.integers(0, LEVEL_MAX), st.integers(0, INDEX_MAX), st.integers(1, 256)),
    st.builds(Bundle, st.integers(0, INDEX_MAX), st.integers(1, 256)),
)


def stored() -> dict[int, list[bytes]]:
    grown: list[Grown] = []
    Span().extended(LEAVES, grown)
    levels = {0: LEAVES}
    for level, index, node in grown:
        row = levels.setdefault(level, [])
        assert index == len(row)
        row.append(node)
    return levels


STORED = stored()


def fetch(tile: Tile) -> bytes:
    start = tile.index * 256
    return encode_tile(STORED[tile.level][start : start + tile.width])


def root(size: int) -> bytes:
    return Span().extended(LEAVES[:size]).root()


# --- paths ---


@pytest.mark.parametrize(
    "place, path",
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 5), "tile/0/005"),
        (Tile(63, 999, 1), "tile/63/999.p/1"),
        (Tile(1, 1000), "tile/1/x001/000"),
        (Tile(0, 1_234_067), "tile/0/x001/x234/067"),
        (Tile(0, 1_234_067, 8), "tile/0/x001/x234/067.p/8"),
        (Tile(0, 273, 112), "tile/0/273.p/112"),
        (Bundle(0), "tile/entries/000"),
        (Bundle(12_345, 255), "tile/entries/x012/345.p/255"),
        (Tile(0, INDEX_MAX), "tile/0/x036/x028/x797/x018/x963/967"),
    ],
)
def test_paths_of_the_specification(place: Tile | Bundle, path: str) -> None:
    assert format_path(place) == path
    assert parse_path(path) == place


@given(places)
def test_paths_round_trip(place: Tile | Bundle) -> None:
    assert parse_path(format_path(place)) == place


@pytest.mark.parametrize(
    "path",
    [
        "", "tile", "tile/", "tile/0", "tile/0/", "/tile/0/000", "tile/0/000/", "tile//000",
        "tile/00/000", "tile/-1/000", "tile/64/000", "tile/+1/000", "tile/١/000", "tile/data/000",
        "tile/0/0", "tile/0/00", "tile/0/0000", "tile/0/x000/000", "tile/0/x000/x001/000", "tile/0/001/000",
        "tile/0/x001", "tile/0/x01/000", "tile/0/X001/000", "tile/0/００１",
        "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/000.p/", "tile/0/000.p",
        "tile/0/000.p/1/2", "tile/0/000\n", "tile/0/000.p/1\n", "tile/0/../000", "checkpoint",
        "tile/0/x036/x028/x797/x018/x963/968", "tile/0/" + "x999/" * 500 + "999",
    ],
)  # fmt: skip
def test_other_paths_are_refused(path: str) -> None:
    with pytest.raises(MalformedTileError):
        parse_path(path)


@given(st.text(alphabet="tile/entries0123x.p\n", max_size=40))
def test_what_parses_is_in_its_one_spelling(path: str) -> None:
    try:
        place = parse_path(path)
    except MalformedTileError:
        return
    assert format_path(place) == path


# --- content ---


@pytest.mark.parametrize("width", [1, 2, 255, 256])
def test_tiles_and_bundles_round_trip(width: int) -> None:
    tile, bundle = encode_tile(LEAVES[:width]), encode_bundle(DATA[:width])
    assert (len(tile), len(bundle)) == (32 * width, 34 * width)
    assert decode_tile(tile, width) == LEAVES[:width]
    assert decode_bundle(bundle, width) == DATA[:width]


def test_a_full_tile_and_a_full_bundle_have_their_named_sizes() -> None:
    assert len(encode_tile(LEAVES[:256])) == tiles.TILE_SIZE_BYTES == 8192
    assert len(encode_bundle(DATA[:256])) == tiles.BUNDLE_SIZE_BYTES == 8704


@pytest.mark.parametrize("width", [1, 17, 256])
def test_a_byte_more_or_less_is_refused(width: int) -> None:
    for decode, data in (
        (decode_tile, encode_tile(LEAVES[:width])), (decode_bundle, encode_bundle(DATA[:width])),
    ):  # fmt: skip
        for other in (data[:-1], data + b"\0", b"", data * 2):
            with pytest.raises(MalformedTileError):
                decode(other, width)


@pytest.mark.parametrize("width", [-1, 0, 257])
def test_a_width_no_tile_has_is_refused(width: int) -> None:
    for decode, each in ((decode_tile, 32), (decode_bundle, 34)):
        with pytest.raises(MalformedTileError):
            decode(bytes(max(0, width) * each), width)


@pytest.mark.parametrize("length", [0, 31, 33, 0x2000, 65_535])
def test_an_entry_of_another_length_is_refused(length: int) -> None:
    bundle = bytearray(encode_bundle(DATA[:3]))
    bundle[34:36] = length.to_bytes(2, "big")
    with pytest.raises(MalformedTileError):
        decode_bundle(bytes(bundle), 3)


def test_a_bundle_is_of_the_leaves_it_is_held_against() -> None:
    verify_bundle(DATA[256:512], LEAVES[256:512], 256)
    swapped = [*DATA[256:300], DATA[301], DATA[300], *DATA[302:512]]
    with pytest.raises(HashMismatchError) as caught:
        verify_bundle(swapped, LEAVES[256:512], 256)
    assert caught.value.sequence_number == 300


# --- which tiles there are ---


def all_tiles(size: int) -> set[Tile]:
    """By the text of the specification, without arithmetic on shifts."""
    found = set()
    for level in range(9):
        hashes = size // 256**level
        found |= {Tile(level, index) for index in range(hashes // 256)}
        if hashes % 256:
            found.add(Tile(level, hashes // 256, hashes % 256))
    return found


SIZES = [0, 1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 65_792, SIZE]


@pytest.mark.parametrize("old, size", list(itertools.combinations(SIZES, 2)))
def test_new_tiles_are_those_there_were_not(old: int, size: int) -> None:
    planned = list(plan_tiles(old, size))
    assert set(planned) == all_tiles(size) - all_tiles(old)
    assert len(planned) == len(set(planned))
    assert [tile.level for tile in planned] == sorted((tile.level for tile in planned), reverse=True)
    assert all(tile.width == tile_width(tile.level, tile.index, size) for tile in planned)


def test_an_increment_plans_no_more_than_what_is_new() -> None:
    assert len(list(plan_tiles(10_000_000, 10_000_256))) <= 6
    assert len(list(plan_tiles(10_000_000, 10_000_001))) == 1


# --- trusted tiles ---


@pytest.mark.parametrize("size", SIZES[1:])
def test_every_tile_of_a_tree_is_trusted(size: int) -> None:
    trusted = TrustedTiles(size, root(size), fetch)
    for tile in plan_tiles(0, size):
        start = tile.index * 256
        assert trusted.tile(tile.level, tile.index) == STORED[tile.level][start : start + tile.width]


def test_the_empty_tree_has_no_tile() -> None:
    assert TrustedTiles(0, EMPTY_ROOT, fetch).edge() == {}
    with pytest.raises(HashMismatchError):
        TrustedTiles(0, root(1), fetch).edge()
    with pytest.raises(IndexError):
        TrustedTiles(0, EMPTY_ROOT, fetch).tile(0, 0)


@pytest.mark.parametrize("size", [1, 300, 65_537, SIZE])
def test_a_changed_bit_in_any_tile_is_seen_before_the_tile_is(size: int) -> None:
    wanted = list(plan_tiles(0, size))
    for changed in wanted if len(wanted) < 10 else [*wanted[:4], *wanted[150:160], wanted[-1]]:

        def spoiled(tile: Tile, changed: Tile = changed) -> bytes:
            data = bytearray(fetch(tile))
            if tile == changed:
                data[len(data) // 2] ^= 1
            return bytes(data)

        trusted = TrustedTiles(size, root(size), spoiled)
        with pytest.raises(HashMismatchError):
            trusted.tile(changed.level, changed.index)


def test_a_tile_of_another_length_is_refused() -> None:
    with pytest.raises(MalformedTileError):
        TrustedTiles(300, root(300), lambda tile: fetch(tile)[:-1]).edge()


def test_another_root_is_refused() -> None:
    with pytest.raises(HashMismatchError) as caught:
        TrustedTiles(SIZE, root(SIZE - 1), fetch).edge()
    assert caught.value.expected == root(SIZE - 1).hex()
    assert caught.value.found == root(SIZE).hex()


def test_proofs_from_trusted_tiles() -> None:
    trusted = TrustedTiles(SIZE, root(SIZE), fetch)
    for index in (0, 255, 256, 65_535, 65_536, SIZE - 1):
        path = merkle.prove_inclusion(index, SIZE, trusted.hashes)
        merkle.verify_inclusion(LEAVES[index], index, SIZE, path, root(SIZE))
    for old in (1, 255, 256, 1000, 65_536, SIZE - 1, SIZE):
        proof = merkle.prove_consistency(old, SIZE, trusted.hashes)
        merkle.verify_consistency(old, SIZE, proof, root(old), root(SIZE))
        assert merkle.prove_root(old, trusted.hashes) == root(old)


def test_roots_are_those_of_the_rfc() -> None:
    assert TrustedTiles(1000, rfc6962.mth(DATA[:1000]), fetch).tile(0, 1) == LEAVES[256:512]


def test_reading_in_order_fetches_each_tile_once_and_keeps_few() -> None:
    asked: list[Tile] = []

    def counted(tile: Tile) -> bytes:
        asked.append(tile)
        return fetch(tile)

    trusted = TrustedTiles(SIZE, root(SIZE), counted)
    for tile in plan_tiles(0, SIZE):
        trusted.tile(tile.level, tile.index)
        assert len(trusted._kept) <= TILES_KEPT_MAX
    assert len(trusted._kept) == TILES_KEPT_MAX
    # The one tile of level 1 that most others hang on is never dropped.
    assert len(asked) == len(set(asked))
