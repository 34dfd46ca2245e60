"""The Merkle tree: RFC 6962 section 2.1 over SHA-256, iterative throughout.

A subtree is perfect when it covers 2^height leaves starting at a multiple of
2^height. Any run of leaves [start, stop) splits into perfect subtrees in one
way only; `Span` keeps just their hashes. A span from 0 is the tree's right
edge: all that is needed to go on growing, and to know the root.

It knows nothing of entries, files or signatures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from attestlog._internal.core.hashes import EMPTY_ROOT, HASH_SIZE_BYTES, node_hash
from attestlog.errors import ConsistencyError, InclusionError, MalformedProofError, MalformedSignatureError

TILE_HEIGHT: Final = 8
"""A tile holds 2^8 hashes (C2SP tlog-tiles); stored levels are this many tree levels apart."""

TILE_WIDTH: Final = 1 << TILE_HEIGHT

Grown = tuple[int, int, bytes]
"""A newly complete stored hash: tile level, index at that level, hash."""

Hashes = Callable[[int, int, int], Sequence[bytes]]
"""Reads stored hashes: tile level, start, stop. It is never asked for a run that crosses tiles."""


class Span:
    """The perfect subtrees covering leaves [start, stop), left to right. Nothing changes it."""

    __slots__ = ("_nodes", "start", "stop")

    def __init__(self, start: int = 0, stop: int | None = None, hashes: Iterable[bytes] = ()) -> None:
        """`hashes`: one for each subtree of `subtrees(start, stop)`, in that order."""
        self.start = start
        self.stop = start if stop is None else stop
        heights = [height for height, _ in subtrees(self.start, self.stop)]
        self._nodes: list[tuple[int, bytes]] = list(zip(heights, hashes, strict=True))

    def __repr__(self) -> str:
        return f"Span({self.start}, {self.stop})"

    @property
    def size(self) -> int:
        """How many leaves it covers."""
        return self.stop - self.start

    def hashes(self) -> list[bytes]:
        """The subtree hashes, leftmost first."""
        return [node for _, node in self._nodes]

    def root(self) -> bytes:
        """The tree's root, for a span from 0. From elsewhere, subtrees need not join as RFC 6962 asks."""
        if not self._nodes:
            return EMPTY_ROOT
        nodes = reversed(self._nodes)
        _, root = next(nodes)
        for _, left in nodes:
            root = node_hash(left, root)
        return root

    def extended(self, leaves: Iterable[bytes], grown: list[Grown] | None = None) -> Span:
        """A new span with these leaf hashes after its own.

        `grown`, where given, receives (L, i, hash) for each subtree i of 256^L
        leaves, L > 0, completed on the way: the stored tree's new hashes.
        """
        span = self._copy()
        run = list(leaves)
        if len(run) == 1:
            span._push(0, run[0], grown)
            return span
        # Whole tiles are hashed row by row: twice the pace of one leaf after the other.
        lead = -span.stop % TILE_WIDTH
        for leaf in run[:lead]:
            span._push(0, leaf, grown)
        for start in range(lead, len(run) - TILE_WIDTH + 1, TILE_WIDTH):
            node = _perfect_root(run[start : start + TILE_WIDTH])
            if grown is not None:
                grown.append((1, span.stop >> TILE_HEIGHT, node))
            span._push(TILE_HEIGHT, node, grown)
        for leaf in run[span.stop - self.stop :]:
            span._push(0, leaf, grown)
        return span

    def joined(self, right: Span, grown: list[Grown] | None = None) -> Span:
        """A new span covering this one and the adjacent one to its right."""
        assert right.start == self.stop, "spans must touch"
        span = self._copy()
        for height, node in right._nodes:
            span._push(height, node, grown)
        return span

    def _copy(self) -> Span:
        span = Span.__new__(Span)
        span.start, span.stop, span._nodes = self.start, self.stop, self._nodes.copy()
        return span

    def _push(self, height: int, node: bytes, grown: list[Grown] | None) -> None:
        nodes = self._nodes
        index = self.stop >> height
        # A right child merges with the equal subtree to its left, when the span has that one.
        while index & 1 and nodes and nodes[-1][0] == height:
            node = node_hash(nodes.pop()[1], node)
            index >>= 1
            height += 1
            if grown is not None and height % TILE_HEIGHT == 0:
                grown.append((height // TILE_HEIGHT, index, node))
        nodes.append((height, node))
        self.stop = (index + 1) << height


def _perfect_root(row: list[bytes]) -> bytes:
    """The root over 2^height leaf hashes."""
    while len(row) > 1:
        row = list(map(node_hash, row[::2], row[1::2]))
    return row[0]


def subtrees(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """The perfect subtrees covering [start, stop), left to right, as (height, index at that height)."""
    while start < stop:
        room = (stop - start).bit_length() - 1
        height = room if start == 0 else min(room, (start & -start).bit_length() - 1)
        yield height, start >> height
        start += 1 << height


def stored_ranges(size: int) -> list[tuple[int, int, int]]:
    """Which stored hashes give the right edge at `size`: (tile level, start, stop) for each subtree."""
    ranges = []
    for height, index in subtrees(0, size):
        level, rest = divmod(height, TILE_HEIGHT)
        ranges.append((level, index << rest, (index + 1) << rest))
    return ranges


def edge_at(size: int, hashes: Hashes) -> Span:
    """The right edge of the tree at `size`, from stored hashes."""
    return edge_from_stored(size, [hashes(*run) for run in stored_ranges(size)])


def edge_from_stored(size: int, runs: Sequence[Sequence[bytes]]) -> Span:
    """The right edge at `size`, from the hashes of `stored_ranges(size)`."""
    return Span(0, size, [Span(0).extended(run).root() for run in runs])


def inclusion_paths(leaf_hashes: Sequence[bytes]) -> tuple[bytes, list[bytes]]:
    """The root over one or more leaf hashes, and every leaf's inclusion path as one byte string."""
    rows = [list(leaf_hashes)]
    while len(rows[-1]) > 1:
        row = rows[-1]
        above = [node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)]
        # An odd last node has no sibling yet: it rises unchanged (RFC 6962 never duplicates it).
        rows.append(above + row[len(row) & ~1 :])
    # Top down: what a node's path shares with its parent's is joined once, not once for every leaf below.
    paths = [b""]
    for row in reversed(rows[:-1]):
        paths = [
            row[index ^ 1] + paths[index >> 1] if index ^ 1 < len(row) else paths[index >> 1]
            for index in range(len(row))
        ]
    return rows[-1][0], paths


def path_size(index: int, size: int) -> int:
    """How many hashes the inclusion path of leaf `index` has in a tree of `size` leaves."""
    inner = (index ^ (size - 1)).bit_length()
    return inner + (index >> inner).bit_count()


def root_from_path(leaf: bytes, index: int, size: int, path: bytes) -> bytes:
    """The root that an inclusion path leads to (RFC 9162 section 2.1.3.2).

    `leaf` is the leaf hash, `path` whole 32-byte hashes, the leaf's sibling first.
    Raises InclusionError unless index < size and the path has the exact length.
    """
    if not 0 <= index < size:
        raise InclusionError(f"index {index} is not in a tree of {size}", index=index, size=size)
    want = path_size(index, size) * HASH_SIZE_BYTES
    if len(path) != want:
        raise InclusionError(f"path has {len(path)} bytes, want {want}", expected=want, found=len(path))
    node, last = leaf, size - 1
    for offset in range(0, want, HASH_SIZE_BYTES):
        sibling = path[offset : offset + HASH_SIZE_BYTES]
        while not index & 1 and index == last:
            # A right-border node without a sibling at this height rises as it is.
            index >>= 1
            last >>= 1
        node = node_hash(sibling, node) if index & 1 else node_hash(node, sibling)
        index >>= 1
        last >>= 1
    return node


def verify_inclusion(leaf: bytes, index: int, size: int, path: bytes, root: bytes) -> None:
    """Raises InclusionError unless the leaf hash at `index` is in the tree of `size` with this root."""
    if len(leaf) != HASH_SIZE_BYTES:
        raise MalformedSignatureError(f"leaf hash has {len(leaf)} bytes, want {HASH_SIZE_BYTES}")
    found = root_from_path(leaf, index, size, path)
    if found != root:
        raise InclusionError("the path leads to another root", expected=root.hex(), found=found.hex())


# --- proofs made from stored hashes ---

_Run = tuple[int, int]
"""Leaves [start, stop) whose root is a node of a tree."""


def prove_inclusion(index: int, size: int, hashes: Hashes) -> bytes:
    """The inclusion path of leaf `index` in the tree of `size` (RFC 6962 section 2.1.1), joined.

    Reads each tile once at most. Raises InclusionError unless index < size.
    """
    if not 0 <= index < size:
        raise InclusionError(f"index {index} is not in a tree of {size}", index=index, size=size)
    beside, _ = _descend(index, size)
    return b"".join(_roots(beside, hashes))


def prove_consistency(old: int, size: int, hashes: Hashes) -> bytes:
    """That the tree of `old` leaves is a prefix of the tree of `size` (RFC 6962 section 2.1.2), joined.

    Reads each tile once at most. Raises ConsistencyError unless 0 < old <= size.
    """
    _check_old(old, size)
    beside, (start, stop) = _descend(old - 1, size, old)
    # A run from 0 is the whole old tree, whose root the verifier has.
    return b"".join(_roots([(start, stop), *beside] if start else beside, hashes))


def prove_root(size: int, hashes: Hashes) -> bytes:
    """The root at `size`, from stored hashes. Reads each tile once at most."""
    return _roots([(0, size)], hashes)[0] if size else EMPTY_ROOT


def _descend(index: int, size: int, until: int | None = None) -> tuple[list[_Run], _Run]:
    """On the way from the root to leaf `index`: the runs beside the way, lowest first, and where it ends.

    It ends at the leaf, or earlier at the first run whose last leaf is the one before `until`.
    """
    start, stop = 0, size
    beside = []
    while stop - start > 1 and stop != until:
        middle = start + (1 << ((stop - start - 1).bit_length() - 1))
        if index < middle:
            beside.append((middle, stop))
            stop = middle
        else:
            beside.append((start, middle))
            start = middle
    return beside[::-1], (start, stop)


def _roots(runs: Sequence[_Run], hashes: Hashes) -> list[bytes]:
    """The root over each run of leaves; a tile that several need is read once."""
    wanted: dict[tuple[int, int], _Run] = {}
    for height, index in (subtree for run in runs for subtree in subtrees(*run)):
        level, start, stop = _stored(height, index)
        low, high = wanted.get((level, start >> TILE_HEIGHT), (start, stop))
        wanted[level, start >> TILE_HEIGHT] = min(low, start), max(high, stop)
    tiles = {place: hashes(place[0], low, high) for place, (low, high) in wanted.items()}

    def node(height: int, index: int) -> bytes:
        level, start, stop = _stored(height, index)
        place = level, start >> TILE_HEIGHT
        low = wanted[place][0]
        return _perfect_root(list(tiles[place][start - low : stop - low]))

    return [Span(*run, [node(*subtree) for subtree in subtrees(*run)]).root() for run in runs]


def _stored(height: int, index: int) -> tuple[int, int, int]:
    """The stored hashes under a perfect subtree: tile level, start, stop. They stand in one tile."""
    level, rest = divmod(height, TILE_HEIGHT)
    return level, index << rest, (index + 1) << rest


# --- consistency ---


def consistency_size(old: int, size: int) -> int:
    """How many hashes the consistency proof from `old` leaves to `size` has, where 0 < old <= size."""
    if old == size:
        return 0
    height = (old & -old).bit_length() - 1
    inner = (old - 1 ^ size - 1).bit_length()
    # From the largest subtree that ends the old tree upwards; itself too, unless it is the old tree.
    return inner - height + (old - 1 >> inner).bit_count() + (old != 1 << height)


def verify_consistency(old: int, size: int, proof: bytes, old_root: bytes, root: bytes) -> None:
    """Raises ConsistencyError unless the tree of `old` leaves is a prefix of the tree of `size`.

    `proof` is whole 32-byte hashes (RFC 9162 section 2.1.4.2). An empty old tree is refused: it is a
    prefix of every tree, and no proof says anything of it.
    """
    for name, digest in (("old root", old_root), ("root", root)):
        if len(digest) != HASH_SIZE_BYTES:
            raise MalformedProofError(f"{name} has {len(digest)} bytes, want {HASH_SIZE_BYTES}")
    _check_old(old, size)
    want = consistency_size(old, size) * HASH_SIZE_BYTES
    if len(proof) != want:
        raise ConsistencyError(f"proof has {len(proof)} bytes, want {want}", expected=want, found=len(proof))
    found_old, found = _roots_from_proof(old, size, proof, old_root)
    if found_old != old_root:
        raise ConsistencyError(
            f"the proof leads to another root at size {old}", expected=old_root.hex(), found=found_old.hex()
        )
    if found != root:
        raise ConsistencyError(
            f"the proof leads to another root at size {size}", expected=root.hex(), found=found.hex()
        )


def _roots_from_proof(old: int, size: int, proof: bytes, old_root: bytes) -> tuple[bytes, bytes]:
    """The roots at both sizes that a proof of the right length leads to."""
    if old == size:
        return old_root, old_root
    height = (old & -old).bit_length() - 1
    index, last = old - 1 >> height, size - 1 >> height
    run = [proof[at : at + HASH_SIZE_BYTES] for at in range(0, len(proof), HASH_SIZE_BYTES)]
    old_node = node = run.pop(0) if index else old_root
    for sibling in run:
        while not index & 1 and index == last:
            # A right-border node without a sibling at this height rises as it is.
            index >>= 1
            last >>= 1
        if index & 1:
            old_node, node = node_hash(sibling, old_node), node_hash(sibling, node)
        else:
            node = node_hash(node, sibling)
        index >>= 1
        last >>= 1
    return old_node, node


def _check_old(old: int, size: int) -> None:
    if not 0 < old <= size:
        raise ConsistencyError(f"size {old} is not from 1 to {size}", old=old, size=size)
