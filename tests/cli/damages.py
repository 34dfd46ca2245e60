"""Ways to damage a log in its directory."""

import shutil
from pathlib import Path

from tests.cli.running import segment


def edit(log: Path) -> None:
    """One byte of a payload."""
    segment(log).write_bytes(segment(log).read_bytes().replace(b'"number":1', b'"number":7'))


def swap(log: Path) -> None:
    lines = segment(log).read_bytes().splitlines(keepends=True)
    segment(log).write_bytes(b"".join([lines[0], lines[2], lines[1], lines[3]]))


def remove_the_checkpoint(log: Path) -> None:
    (log / "checkpoint").unlink()


def cut_entries_only(log: Path) -> None:
    lines = segment(log).read_bytes().splitlines(keepends=True)
    segment(log).write_bytes(b"".join(lines[:-1]))


def tear(log: Path) -> None:
    with segment(log).open("ab") as file:
        file.write(b'{"action_hash":"ab')


def empty(log: Path) -> None:
    segment(log).write_bytes(b"")


def nothing(_: Path) -> None:
    """Leave it."""


def gone(log: Path) -> None:
    shutil.rmtree(log)


def no_log(log: Path) -> None:
    shutil.rmtree(log)
    log.mkdir()
    (log / "notes.txt").write_text("hello")


def lose_the_tree(log: Path) -> None:
    shutil.rmtree(log / "tree")
    (log / "tree").mkdir()


def spoil_the_tree(log: Path) -> None:
    path = log / "tree" / "0"
    path.write_bytes(b"\x00" * 32 + path.read_bytes()[32:])
