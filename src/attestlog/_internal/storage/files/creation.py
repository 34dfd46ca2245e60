"""Making a new log directory: all of it or nothing.

Everything is written into a sibling directory, made durable and renamed. A
crash before the rename leaves a hidden `.…new` directory, which is no log.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from attestlog._internal.storage.files import disk, layout
from attestlog.errors import ExistsError


def create_directory(
    root: Path, config: layout.LogConfig, genesis_line: bytes, genesis_leaf: bytes, checkpoint: bytes | None
) -> None:
    """A log of one entry at `root`, which must not exist or be an empty directory.

    A copy of another's log begins without a `checkpoint`: it is not the copy's to sign.

    Raises ExistsError or another StorageError; then nothing is left behind.
    """
    check_free(root)
    made = temporary = root.with_name(f".{root.name}.{os.getpid()}-{os.urandom(4).hex()}.new")
    try:
        disk.make_directories(root.parent)
        for directory in (temporary, temporary / layout.ENTRIES_DIR, temporary / layout.TREE_DIR):
            directory.mkdir()
        files = {
            layout.LOCK_FILE: b"",
            layout.CONFIG_FILE: layout.format_config(config).encode(),
            f"{layout.ENTRIES_DIR}/{layout.segment_name(0)}": genesis_line + b"\n",
            f"{layout.TREE_DIR}/0": genesis_leaf,
        }
        if checkpoint is not None:
            files[layout.CHECKPOINT_FILE] = checkpoint
        for name, data in files.items():
            disk.replace_file(temporary / name, data)
        disk.fsync_directory(temporary)
        temporary.rename(root)
        made = root
        disk.fsync_directory(root.parent)
    except OSError as error:
        shutil.rmtree(made, ignore_errors=True)
        raise disk.storage_error(error, root, "creating") from None


def check_free(root: Path) -> None:
    """Raises ExistsError if there is something at `root` already, even a link to an empty directory."""
    try:
        taken = root.is_symlink() or (root.exists() and (not root.is_dir() or any(root.iterdir())))
    except OSError as error:
        raise disk.read_error(error, root, "looking at") from None
    if taken:
        raise ExistsError(f"{root} exists already", path=str(root))
