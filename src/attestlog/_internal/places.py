"""Where this user's files are: configuration, keys, state, cache. Nothing is made or read here.

A log's directory is evidence, and holds nothing of its reader's or writer's own. That stands in four
directories, each the first of these that is set:

| | for it alone | by systemd | for all | else |
|---|---|---|---|---|
| configuration | $ATTESTLOG_CONFIG | $CONFIGURATION_DIRECTORY | $ATTESTLOG_HOME/config | $XDG_CONFIG_HOME/attestlog, ~/.config/attestlog |
| keys | | | $ATTESTLOG_HOME/keys | $XDG_DATA_HOME/attestlog/keys, ~/.local/share/attestlog/keys |
| state | $ATTESTLOG_STATE | $STATE_DIRECTORY | $ATTESTLOG_HOME/state | $XDG_STATE_HOME/attestlog, ~/.local/state/attestlog |
| cache | $ATTESTLOG_CACHE | $CACHE_DIRECTORY | $ATTESTLOG_HOME/cache | $XDG_CACHE_HOME/attestlog, ~/.cache/attestlog |

Specification: docs/operations.md, "Where everything lives".
"""  # noqa: E501 - a table

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from attestlog.errors import NoHomeError

HOME_VARIABLE: Final = "ATTESTLOG_HOME"


class _Kind(NamedTuple):
    """One of the directories: what may name it, best first."""

    own: tuple[str, ...]
    """Variables that name it alone: ours, then systemd's, which may name several."""
    in_home: str
    xdg: str
    default: str
    below: str = "attestlog"


_CONFIG: Final = _Kind(
    ("ATTESTLOG_CONFIG", "CONFIGURATION_DIRECTORY"), "config", "XDG_CONFIG_HOME", ".config"
)
_KEYS: Final = _Kind((), "keys", "XDG_DATA_HOME", ".local/share", "attestlog/keys")
_STATE: Final = _Kind(("ATTESTLOG_STATE", "STATE_DIRECTORY"), "state", "XDG_STATE_HOME", ".local/state")
_CACHE: Final = _Kind(("ATTESTLOG_CACHE", "CACHE_DIRECTORY"), "cache", "XDG_CACHE_HOME", ".cache")


def config_dir() -> Path:
    """Where the operator's configuration is. Raises NoHomeError."""
    return _place(_CONFIG)


def keys_dir() -> Path:
    """Where keys are kept that the user did not place. Raises NoHomeError."""
    return _place(_KEYS)


def state_dir() -> Path:
    """Where it is kept what was signed last, and what verifiers remember. Raises NoHomeError."""
    return _place(_STATE)


def cache_dir() -> Path:
    """Where things are kept that can be made again. Raises NoHomeError."""
    return _place(_CACHE)


def replicas_dir(genesis_hash: str) -> Path:
    """Where it is kept how far each replica of a log is. Raises NoHomeError."""
    return state_dir() / "replicas" / genesis_hash


def exports_dir() -> Path:
    """Where it is kept which exports were made of each log, and how far sinks are. Raises NoHomeError."""
    return state_dir() / "exports"


def index_dir(genesis_hash: str) -> Path:
    """Where the query indexes of a log's copies are: they hold words of its payloads. Raises NoHomeError."""
    return cache_dir() / "index" / genesis_hash


def rules_dir() -> Path:
    """Where the rules that were read of logs are kept. Raises NoHomeError."""
    return cache_dir() / "rules"


@contextmanager
def all_below(home: Path) -> Iterator[None]:
    """All of them are below `home` while this lasts, for this process and those that it starts."""
    names = [HOME_VARIABLE, *(name for kind in (_CONFIG, _STATE, _CACHE) for name in kind.own)]
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    os.environ[HOME_VARIABLE] = str(home)
    try:
        yield
    finally:
        del os.environ[HOME_VARIABLE]
        os.environ.update(before)


def _place(kind: _Kind) -> Path:
    for name in kind.own:
        if value := os.environ.get(name):
            # systemd joins several by colons; the first is the one that the unit names first.
            return Path(value.split(":")[0] if name.endswith("_DIRECTORY") else value).absolute()
    if home := os.environ.get(HOME_VARIABLE):
        return Path(home).absolute() / kind.in_home
    if base := os.environ.get(kind.xdg):
        return Path(base).absolute() / kind.below
    try:
        return Path.home() / kind.default / kind.below
    except RuntimeError:
        raise NoHomeError(
            f"this user has no home directory, and {HOME_VARIABLE} names no other", variable=HOME_VARIABLE
        ) from None
