"""A disk that remembers: what was asked of it, in order, and every state a power cut could leave.

The model is harsher than any file system here: a file's bytes are durable once the file was
synced, a name once its directory was, and of everything else any part may be there or not.
Writes are recorded while they are made; states are laid out afterwards, in another place.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

PAGE_BYTES = 4_096
SECTOR_BYTES = 512


@dataclass(eq=False)
class Node:
    """A file or directory, whatever it is called."""

    is_directory: bool
    number: int


@dataclass(frozen=True)
class Write:
    node: Node
    offset: int
    data: bytes


@dataclass(frozen=True)
class Truncate:
    node: Node
    size_bytes: int


@dataclass(frozen=True)
class Name:
    """In `directory`, `name` now means `node`, or nothing."""

    directory: Node
    name: str
    node: Node | None
    whole: int
    """Names changed by one call (a rename) appear together or not at all."""


@dataclass(frozen=True)
class Sync:
    node: Node


@dataclass(frozen=True)
class Mark:
    """The program was told something: what it says is true from here on."""

    what: Any


Step = Write | Truncate | Name | Sync | Mark
Keep = Callable[[Write | Truncate | Name], list[Write | Truncate | Name]]
"""What becomes of a step that was not synced: itself, nothing, or part of it."""


@dataclass
class Disk:
    """Records what happens below `root`."""

    root: Path
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.top = Node(is_directory=True, number=0)
        self._nodes: dict[tuple[int, int], Node] = {self._identity(self.root): self.top}
        self._renames = 0

    def adopt(self) -> "Disk":
        """Take what stands below `root` for durable: the past of what is recorded from here on."""
        todo = [self.root]
        while todo:
            directory = todo.pop()
            for path in sorted(directory.iterdir()):
                self._made(path)
                node = self._node(path)
                assert node is not None
                if node.is_directory:
                    todo.append(path)
                else:
                    self.steps += [Write(node, 0, path.read_bytes()), Sync(node)]
            node = self._node(directory)
            assert node is not None
            self.steps.append(Sync(node))
        return self

    def mark(self, what: Any) -> None:
        self.steps.append(Mark(what))

    @staticmethod
    def _identity(path: Path) -> tuple[int, int]:
        status = path.stat()
        return status.st_dev, status.st_ino

    def _node(self, path: Path) -> Node | None:
        return self._nodes.get(self._identity(path)) if path.is_relative_to(self.root) else None

    def _of(self, descriptor: int) -> tuple[Node | None, Path]:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        return self._node(path), path

    def _made(self, path: Path) -> None:
        self._renames += 1
        node = Node(path.is_dir(), len(self._nodes))
        self._nodes[self._identity(path)] = node
        parent = self._node(path.parent)
        assert parent is not None
        self.steps.append(Name(parent, path.name, node, self._renames))

    @contextmanager
    def recording(self) -> Iterator["Disk"]:
        real = {
            name: getattr(os, name)
            for name in (
                *("write", "pwrite", "fsync", "fdatasync", "ftruncate"),
                *("rename", "replace", "mkdir", "open", "unlink"),
            )
        }

        def write(descriptor: int, data: Any) -> int:
            node, path = self._of(descriptor)
            offset = path.stat().st_size if node else 0  # only ever appends, or fills a new file
            count = int(real["write"](descriptor, data))
            if node:
                self.steps.append(Write(node, offset, bytes(data)[:count]))
            return count

        def pwrite(descriptor: int, data: Any, offset: int) -> int:
            count = int(real["pwrite"](descriptor, data, offset))
            node, _ = self._of(descriptor)
            if node:
                self.steps.append(Write(node, offset, bytes(data)[:count]))
            return count

        def sync(descriptor: int) -> None:
            node, _ = self._of(descriptor)
            if node:
                self.steps.append(Sync(node))

        def ftruncate(descriptor: int, size_bytes: int) -> None:
            real["ftruncate"](descriptor, size_bytes)
            node, _ = self._of(descriptor)
            if node:
                self.steps.append(Truncate(node, size_bytes))

        def rename(source: Any, target: Any) -> None:
            real["rename"](source, target)
            source, target = Path(source), Path(target)
            node, before, after = self._node(target), self._node(source.parent), self._node(target.parent)
            if node and before and after:
                self._renames += 1
                self.steps.append(Name(before, source.name, None, self._renames))
                self.steps.append(Name(after, target.name, node, self._renames))

        def unlink(path: Any, **options: Any) -> None:
            real["unlink"](path, **options)
            parent = self._node(Path(path).parent)
            if parent:
                self._renames += 1
                self.steps.append(Name(parent, Path(path).name, None, self._renames))

        def mkdir(path: Any, *arguments: Any, **options: Any) -> None:
            real["mkdir"](path, *arguments, **options)
            if Path(path).is_relative_to(self.root):
                self._made(Path(path))

        def opened(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
            place = Path(os.fsdecode(path))
            new = flags & os.O_CREAT and place.is_relative_to(self.root) and not place.exists()
            descriptor = int(real["open"](path, flags, *arguments, **options))
            if new:
                self._made(place)
            elif flags & os.O_TRUNC and (node := self._node(place)):
                self.steps.append(Truncate(node, 0))
            return descriptor

        with pytest.MonkeyPatch.context() as patch:
            for name, call in {
                "write": write, "pwrite": pwrite, "fsync": sync, "fdatasync": sync, "ftruncate": ftruncate,
                "rename": rename, "replace": rename, "mkdir": mkdir, "open": opened, "unlink": unlink,
            }.items():  # fmt: skip
                patch.setattr(os, name, call)
            yield self

    def lay_out(self, count: int, target: Path, keep: Keep) -> None:
        """Below `target`, what the first `count` steps may have left: what was synced, and what is kept."""
        steps = self.steps[:count]
        last_sync = {step.node: at for at, step in enumerate(steps) if isinstance(step, Sync)}
        bytes_of: dict[Node, bytearray] = {}
        names: dict[Node, dict[str, Node]] = {}
        # One half of a rename is durable when either directory is synced: they are one here.
        kept_renames: dict[int, bool] = {
            step.whole: True
            for at, step in enumerate(steps)
            if isinstance(step, Name) and at < last_sync.get(step.directory, -1)
        }
        for at, step in enumerate(steps):
            if isinstance(step, Sync | Mark):
                continue
            owner = step.directory if isinstance(step, Name) else step.node
            durable = at < last_sync.get(owner, -1)
            if isinstance(step, Name):
                if step.whole not in kept_renames:
                    kept_renames[step.whole] = bool(keep(step))
                if kept_renames[step.whole]:
                    _apply_name(names.setdefault(owner, {}), step)
            else:
                for part in [step] if durable else keep(step):
                    _apply_bytes(bytes_of.setdefault(owner, bytearray()), part)
        _write_out(self.top, target, names, bytes_of)


def _apply_name(names: dict[str, Node], step: Name) -> None:
    if step.node is None:
        names.pop(step.name, None)
    else:
        names[step.name] = step.node


def _apply_bytes(content: bytearray, step: Write | Truncate | Name) -> None:
    if isinstance(step, Truncate):
        del content[step.size_bytes :]
        content.extend(bytes(step.size_bytes - len(content)))
    elif isinstance(step, Write):
        content.extend(bytes(max(0, step.offset - len(content))))
        content[step.offset : step.offset + len(step.data)] = step.data


def _write_out(
    top: Node, target: Path, names: dict[Node, dict[str, Node]], bytes_of: dict[Node, bytearray]
) -> None:
    todo = [(top, target)]
    while todo:
        directory, place = todo.pop()
        place.mkdir()
        for name, node in names.get(directory, {}).items():
            if node.is_directory:
                todo.append((node, place / name))
            else:
                (place / name).write_bytes(bytes_of.get(node, bytearray()))


# --- what may become of what was not synced ---


def everything(step: Write | Truncate | Name) -> list[Write | Truncate | Name]:
    """The process was killed, the kernel lives."""
    return [step]


def nothing(step: Write | Truncate | Name) -> list[Write | Truncate | Name]:
    """Not a byte more than was synced, and not a name."""
    return []


def names_only(step: Write | Truncate | Name) -> list[Write | Truncate | Name]:
    """Every name, no byte."""
    return [step] if isinstance(step, Name) else []


def zeros(step: Write | Truncate | Name) -> list[Write | Truncate | Name]:
    """Files have grown, and hold zeros."""
    return [Write(step.node, step.offset, bytes(len(step.data)))] if isinstance(step, Write) else [step]


def first_half(step: Write | Truncate | Name) -> list[Write | Truncate | Name]:
    """Of every write, the first half."""
    return (
        [Write(step.node, step.offset, step.data[: len(step.data) // 2])]
        if isinstance(step, Write)
        else [step]
    )


def all_but_a_byte(step: Write | Truncate | Name) -> list[Write | Truncate | Name]:
    """Of every write, all but its last byte."""
    return [Write(step.node, step.offset, step.data[:-1])] if isinstance(step, Write) else [step]


def whole_sectors(step: Write | Truncate | Name) -> list[Write | Truncate | Name]:
    """Of every write, the sectors it filled; the file has grown to its end."""
    if not isinstance(step, Write):
        return [step]
    whole = max(0, (step.offset + len(step.data)) // SECTOR_BYTES * SECTOR_BYTES - step.offset)
    return [Write(step.node, step.offset, step.data[:whole] + bytes(len(step.data) - whole))]


def later_pages(step: Write | Truncate | Name) -> list[Write | Truncate | Name]:
    """Of every write, all but its first page: pages reach the disk in any order."""
    if not isinstance(step, Write):
        return [step]
    skipped = min(len(step.data), PAGE_BYTES - step.offset % PAGE_BYTES)
    return [Write(step.node, step.offset, bytes(skipped) + step.data[skipped:])]


def chance(seed: int) -> Keep:
    """Any subset."""
    random = Random(seed)

    def keep(step: Write | Truncate | Name) -> list[Write | Truncate | Name]:
        return random.choice(
            [everything, everything, nothing, zeros, first_half, all_but_a_byte, whole_sectors, later_pages]
        )(step)

    return keep


SEEDS = int(os.environ.get("ATTESTLOG_FAULT_SEEDS", "1"))
"""Random subsets tried at each step; a longer campaign sets more."""

KEEPS: dict[str, Callable[[int], Keep]] = {
    "killed": lambda at: everything,
    "nothing": lambda at: nothing,
    "names": lambda at: names_only,
    "zeros": lambda at: zeros,
    "halves": lambda at: first_half,
    "a byte less": lambda at: all_but_a_byte,
    "sectors": lambda at: whole_sectors,
    "pages": lambda at: later_pages,
    **{f"chance-{seed}": lambda at, seed=seed: chance(seed * 10_000 + at) for seed in range(SEEDS)},  # type: ignore[misc]
}
