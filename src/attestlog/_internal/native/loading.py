"""Whether the native core is used: it is installed, of these formats, passed its test, and nobody said no.

It is looked for once, when it is first asked for. `ATTESTLOG_PURE=1` in the environment leaves it out, and so
does `leave_out`, for the rest of the process: a verification that found it to disagree with the reference
calls it, and `attestlog verify --reference`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import Any, Final, NamedTuple, Protocol

from attestlog._internal.native.selftest import complaint

MODULE: Final = "attestlog_native"
PURE: Final = "ATTESTLOG_PURE"
"""Set to 1, the environment says to do without."""

FORMAT: Final = 1
"""Of the formats that this version verifies: a core of another number knows others."""


class Judge(Protocol):
    """Judges lines by the rules it was made with. Any number of threads may ask it at once."""

    def scan(self, data: bytes, start: int, stop: int) -> dict[str, Any] | None:
        """What whole lines come to, if they are right as far as can be told there; None: ask Python."""

    def learn(self, key: bytes, proofs: int | None) -> None:
        """Answer a question about what is demanded: these proofs, a bit each; None: ask Python each time."""


class Core(Protocol):
    """What is used of the module."""

    def Judge(  # noqa: N802, PLR0917 - a class; its arguments as they are there
        self,
        keys: list[tuple[str, str]],
        weights: list[float],
        safety_floor: float,
        floor_per_pillar: bool,
        pointers: tuple[str, str | None],
        has_rules: bool,
        names_actors: bool,
    ) -> Judge:
        """See there."""

    def edge(self, data: bytes, start: int) -> int | None:
        """Where the first whole line from there on begins that begins a batch; -1: too far to be one."""

    def candidates(self, data: bytes, wanted: Sequence[bytes]) -> list[tuple[int, int]]:
        """Lines, begin and end, that may be the entries of these ids or snapshots."""


class Loaded(NamedTuple):
    """What became of looking for it."""

    core: Core | None
    what: str
    """In words: its version, or why it is not used."""
    is_there: bool = True
    """Whether it is installed, used or not."""


_left_out: list[str] = []
"""Why it is not used any more, once somebody said so."""


def core() -> Core | None:
    """The core, if it is used now."""
    return loaded().core


def loaded() -> Loaded:
    """The same, and why."""
    if os.environ.get(PURE) == "1":
        return Loaded(None, f"left out: {PURE}=1")
    if _left_out:
        return Loaded(None, f"left out: {_left_out[0]}")
    return _load()


def leave_out(why: str) -> None:
    """Do without it from now on, in this process."""
    _left_out.append(why)


@cache
def _load() -> Loaded:
    try:
        module = importlib.import_module(MODULE)
    except ImportError as error:
        is_absent = isinstance(error, ModuleNotFoundError) and error.name == MODULE
        return Loaded(None, "not installed" if is_absent else f"cannot be loaded: {error}", not is_absent)
    return _examine(module)


def _examine(module: ModuleType) -> Loaded:
    found: Any = module
    version = getattr(found, "__version__", "of no version")
    known = getattr(found, "FORMAT", None)
    if known != FORMAT:
        return Loaded(None, f"{MODULE} {version} is of format {known}, this version has {FORMAT}: left out")
    try:
        wrong = complaint(found)
    except Exception as error:  # noqa: BLE001 - whatever it does wrong, it is not used
        wrong = f"{type(error).__name__}: {error}"
    if wrong:
        return Loaded(None, f"{MODULE} {version} failed its test, and is left out: {wrong}")
    return Loaded(found, f"{MODULE} {version}")
