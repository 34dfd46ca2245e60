"""Vectors of tiles: paths, and small published trees with every file of theirs."""

from __future__ import annotations

from hashlib import sha256

from tests.support import rfc6962
from tests.vectors.makers.cases import Case, case, flipped

FORM = "malformed.tile"
HASH = "verification.hash"

PATHS: dict[str, Case] = {
    "tile/0/000": {"level": 0, "index": 0, "width": 256},
    "tile/0/005.p/1": {"level": 0, "index": 5, "width": 1},
    "tile/1/x001/000": {"level": 1, "index": 1000, "width": 256},
    "tile/0/x001/x234/067.p/8": {"level": 0, "index": 1_234_067, "width": 8},
    "tile/63/999.p/255": {"level": 63, "index": 999, "width": 255},
    "tile/entries/000": {"index": 0, "width": 256},
    "tile/entries/x012/345.p/17": {"index": 12_345, "width": 17},
}
WRONG_PATHS = (
    "", "tile/0", "tile/0/0", "tile/0/0000", "tile/00/000", "tile/64/000", "tile/-1/000", "tile/data/000",
    "tile/0/x000/001", "tile/0/001/000", "tile/0/X001/000", "tile/0/000.p/0", "tile/0/000.p/01",
    "tile/0/000.p/256", "tile/0/000.p", "/tile/0/000", "tile/0/000/", "tile/0/000\n", "tile/0/００1",
)  # fmt: skip


def tiles() -> list[Case]:
    cases = [case(f"path {path}", path=path, **facts) for path, facts in PATHS.items()]
    cases += [case(f"no path: {path!r}", FORM, path=path) for path in WRONG_PATHS]
    return cases + trees()


def trees() -> list[Case]:
    three, many = tree(3), tree(258)
    leaf_tile, bundle = "tile/0/000.p/3", "tile/entries/000.p/3"

    def spoiled(name: str, error: str, path: str, content: str, facts: Case = three) -> Case:
        return case(name, error, **{**facts, "files": {**facts["files"], path: content}})

    tile, entries = three["files"][leaf_tile], three["files"][bundle]
    return [
        case("a tree of 3", **three),
        case("a tree of 258", **many),
        case("another root", HASH, **{**three, "root": flipped(three["root"])}),
        spoiled("a bit of a tile changed", HASH, leaf_tile, flipped(tile)),
        spoiled("two hashes of a tile swapped", HASH, leaf_tile, tile[64:128] + tile[:64] + tile[128:]),
        spoiled("a tile too short", FORM, leaf_tile, tile[:-2]),
        spoiled("a tile too long", FORM, leaf_tile, tile + "00"),
        spoiled(
            "a bit of a full tile changed", HASH, "tile/0/000", flipped(many["files"]["tile/0/000"]), many
        ),
        spoiled("an entry changed", HASH, bundle, flipped(entries)),
        spoiled("two entries swapped", HASH, bundle, entries[68:136] + entries[:68] + entries[136:]),
        spoiled("a bundle too short", FORM, bundle, entries[:-2]),
        spoiled("a bundle too long", FORM, bundle, entries + "00"),
        spoiled("an entry of 33 bytes", FORM, bundle, "0021" + entries[4:]),
    ]


def tree(size: int) -> Case:
    """A tree of up to 65,535 leaves: what it discloses, and all of its files."""
    data = [sha256(number.to_bytes(4, "big")).digest() for number in range(size)]
    files = {}
    for index in range(0, size, 256):
        run = data[index : index + 256]
        name = f"{index // 256:03d}" + (f".p/{len(run)}" if len(run) < 256 else "")
        files[f"tile/0/{name}"] = b"".join(rfc6962.mth([leaf]) for leaf in run).hex()
        files[f"tile/entries/{name}"] = b"".join(b"\x00\x20" + leaf for leaf in run).hex()
    if size >= 256:
        above = [rfc6962.mth(data[start : start + 256]) for start in range(0, size - 255, 256)]
        files[f"tile/1/000.p/{len(above)}"] = b"".join(above).hex()
    return {"size": size, "root": rfc6962.mth(data).hex(), "files": files}
