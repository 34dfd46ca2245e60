"""Published folders as tests look at them."""

from pathlib import Path

from attestlog._internal.core.checkpoint import open_checkpoint
from attestlog._internal.core.hashes import leaf_hash
from attestlog._internal.core.note import VerifierKey
from attestlog._internal.core.tiles import (
    Bundle,
    TrustedTiles,
    decode_bundle,
    format_path,
    plan_tiles,
    verify_bundle,
)
from attestlog._internal.storage.files.layout import CHECKPOINT_FILE


def published_files(folder: Path) -> dict[str, bytes]:
    """Every file with a published name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(".")
    }


def check_published(folder: Path, key: VerifierKey) -> list[bytes] | None:
    """The entry_hashes that the checkpoint covers, each tile and bundle checked; None without a checkpoint.

    Fails if anything the checkpoint needs is missing or not right.
    """
    path = folder / CHECKPOINT_FILE
    if not path.exists():
        return None
    checkpoint = open_checkpoint(path.read_bytes(), [key])
    trusted = TrustedTiles(
        checkpoint.size, checkpoint.root, lambda tile: (folder / format_path(tile)).read_bytes()
    )
    found: list[bytes] = []
    for tile in plan_tiles(0, checkpoint.size):
        leaves = trusted.tile(tile.level, tile.index)
        if tile.level == 0:
            data = (folder / format_path(Bundle(tile.index, tile.width))).read_bytes()
            entry_hashes = decode_bundle(data, tile.width)
            verify_bundle(entry_hashes, leaves, tile.index * 256)
            assert [leaf_hash(entry_hash) for entry_hash in entry_hashes] == leaves
            found += entry_hashes
    assert len(found) == checkpoint.size
    return found
