"""What the operator says of a log: where its keys are, and the replicas that it is sent to.

It stands in the configuration directory (see `places`), in `logs/<name>.toml`, and never in the log's
own: that is evidence, and may come from anybody. So a received log opens no key, loads no library and
sends nothing. A configuration names a log by origin and genesis hash, and is found by that hash. Where two
fit (two copies of one log), their paths tell which is meant. Of a log in a process's memory, it is kept
as long as the process lives.

Never secrets: key files, tokens and PINs are only named. Specification: docs/configuration.md.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec
from msgspec import Struct

from attestlog._internal import disk, places
from attestlog._internal.core.entry import Hex64, entry_hash
from attestlog._internal.core.genesis import parse_genesis
from attestlog._internal.core.toml import format_toml, parse_toml
from attestlog._internal.storage.contract import LogSource
from attestlog.errors import BusyError, CorruptError, MalformedConfigError, NoConfigError, NoHomeError

FORMAT_VERSION: Final = 1

CONFIG_SIZE_MAX_BYTES: Final = 1 << 20
"""A configuration has a few hundred bytes, and some for each replica. More is not read."""

LOCK_WAIT_S: Final = 5.0
"""Whoever changes a configuration holds the lock for the writing of one file."""

_FOLDER: Final = "logs"
_TAG_CHARACTERS: Final = 16
"""Of the genesis hash, in a file's name: so a configuration is found without reading the others."""


ELSEWHERE: Final = "elsewhere"
"""In the place of the checkpoint signer's URI: this machine appends, and another signs the checkpoints."""


class Signers(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where this machine finds the keys (signer URIs)."""

    entry: str | list[str]
    """Of several, the one that holds a key in force signs. Around a rotation both are named."""
    checkpoint: str
    """Or ELSEWHERE."""
    checkpoint_pq: str | None = None
    """Of the checkpoint key of ML-DSA-44, where the genesis names one."""

    @property
    def entries(self) -> list[str]:
        """`entry`, as a list."""
        return [self.entry] if isinstance(self.entry, str) else self.entry


class ReplicaAt(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A replica that this machine sends the log to. Entries record the URLs."""

    url: str
    vkey: str
    """Its cosignatures' key."""
    token_file: str
    """Where this machine keeps its bearer token."""
    ca_file: str = ""
    """The authority of its certificate, where it is not one that everybody trusts."""


EXPECTED: Final = "expected"
"""It must be remembered what was signed last: without that the log does not open."""

EPHEMERAL: Final = "ephemeral"
"""Nothing is remembered on this machine, which does not last: a fence says what was signed last."""


class LogConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a configuration says."""

    format_version: int = FORMAT_VERSION
    origin: str
    genesis: Hex64
    """`entry_hash` of the genesis entry: two logs may have one origin."""
    path: str = ""
    """Where the log was: tells two copies apart, and is for people. A log may be moved."""
    state: Literal["", "expected", "ephemeral"] = ""
    """Whether it is remembered here what was signed last. Empty: a log of which nothing is, is adopted."""
    fence: list[str] = []
    """URLs of a replica, a witness or the published log: what each has, the log must have to be opened."""
    fence_optional: bool = False
    """Whether the log opens although one of them cannot be asked."""
    signers: Signers
    replicas: list[ReplicaAt] = []


class Identity(NamedTuple):
    """Which log it is."""

    origin: str
    genesis: str


def identity(log: LogSource) -> Identity:
    """By what entry 0 is, not by what it says of itself. Raises CorruptError, MalformedEntryError."""
    entry = log.entry(0)
    found = entry_hash(entry)
    if found != entry.entry_hash:
        what = "entry 0 is damaged: entry_hash is not its hash"
        raise CorruptError(what, path=log.where, sequence_number=0)
    return Identity(parse_genesis(entry).origin, found)


def read_config(log: LogSource) -> LogConfig:
    """Raises NoConfigError where there is none, NoHomeError, MalformedConfigError or a StorageError."""
    which = identity(log)
    if log.is_transient:
        kept = _of_this_process.get(which.genesis)
        found = None if kept is None else (kept, "")
    else:
        found = _find(which, log.absolute())
    if found is None:
        raise NoConfigError(
            f"no configuration of this user says who signs the log at {log.where}, {which.origin}",
            path=log.where, genesis=which.genesis,
        )  # fmt: skip
    return found[0]


def find_config(log: LogSource) -> LogConfig | None:
    """`read_config`; None where there is none, be it that there is no place for one."""
    try:
        return read_config(log)
    except (NoConfigError, NoHomeError):
        return None


def change_config(log: LogSource, change: Callable[[LogConfig], LogConfig]) -> None:
    """Replace it by what `change` makes of it as it stands now, atomically and durably.

    All who change a configuration wait for each other, so that nothing gets lost. Raises as `read_config`,
    BusyError.
    """
    with _exclusive(log):
        save_config(log, change(read_config(log)))


def replace_config(log: LogSource, make: Callable[[LogConfig | None], LogConfig]) -> LogConfig:
    """As `change_config`, of a log that may have no configuration yet; what was made."""
    with _exclusive(log):
        made = make(find_config(log))
        save_config(log, made)
    return made


def save_config(log: LogSource | Path | str, config: LogConfig) -> None:
    """Write it, for a log or for one that is about to be made at a path. Raises NoHomeError, StorageError."""
    if isinstance(log, LogSource) and log.is_transient:
        _of_this_process[config.genesis] = config
        return
    where = log.absolute() if isinstance(log, LogSource) else str(Path(log).absolute())
    found = _find(Identity(config.origin, config.genesis), where)
    path = Path(found[1]) if found is not None else _new_path(config, where)
    try:
        disk.make_directories(path.parent, 0o700)
        # A crash in here leaves the old configuration, or the new one.
        disk.replace_file(path, format_config(config).encode(), 0o600)
    except OSError as error:
        raise disk.storage_error(error, path, "writing") from None


def forget_config(config: LogConfig, where: Path | str) -> None:
    """Of a log that was not made after all."""
    with contextlib.suppress(OSError, NoHomeError, MalformedConfigError):
        found = _find(Identity(config.origin, config.genesis), str(Path(where).absolute()))
        if found is not None:
            Path(found[1]).unlink()


def configs() -> Iterator[LogConfig]:
    """Every configuration of this user that can be read. Raises NoHomeError."""
    for path in _files():
        with contextlib.suppress(MalformedConfigError):
            yield parse_config(_read(path), path.name)


def with_signers(
    config: LogConfig,
    *,
    entry: str | list[str] | None = None,
    checkpoint: str | None = None,
    checkpoint_pq: str | None = None,
) -> LogConfig:
    """With other signers: `change_config(log, partial(with_signers, entry=uri))`. None: as it is."""
    given = {"entry": entry, "checkpoint": checkpoint, "checkpoint_pq": checkpoint_pq}
    changes = {name: value for name, value in given.items() if value is not None}
    return msgspec.structs.replace(config, signers=msgspec.structs.replace(config.signers, **changes))


def format_config(config: LogConfig) -> str:
    """The file's text."""
    return format_toml({
        "format_version": config.format_version,
        "origin": config.origin,
        "genesis": config.genesis,
        "path": config.path or None,
        "state": config.state or None,
        "fence": config.fence or None,
        "fence_optional": config.fence_optional or None,
        "signers": msgspec.to_builtins(config.signers),
        "replicas": msgspec.to_builtins(config.replicas) or None,
    })  # fmt: skip


def parse_config(text: str, name: str) -> LogConfig:
    """`name`: what messages call the file. Raises MalformedConfigError."""
    config = parse_toml(text, LogConfig, name)
    if config.format_version != FORMAT_VERSION:
        raise MalformedConfigError(
            f"{name}: format_version is {config.format_version}, this software knows {FORMAT_VERSION}",
            file=name,
        )
    if not config.signers.entries:
        raise MalformedConfigError(f"{name}: signers.entry names no signer", file=name)
    if config.state == EPHEMERAL and not config.fence:
        raise MalformedConfigError(
            f"{name}: state is {EPHEMERAL!r} and fence names nobody: nothing would show an older copy",
            file=name, member="fence",
        )  # fmt: skip
    return config


def _find(which: Identity, where: str) -> tuple[LogConfig, str] | None:
    """The configuration of this log, and its file."""
    files, found = _files(), []
    tag = f"-{which.genesis[:_TAG_CHARACTERS]}"
    named = [path for path in files if path.stem.endswith(tag)]
    for path in named or files:
        try:
            text = _read(path)
        except MalformedConfigError:
            if named:
                raise
            continue  # of another log, as far as its name tells
        if which.genesis in text:
            found.append((parse_config(text, path.name), str(path)))
    found = [item for item in found if item[0].genesis == which.genesis]
    # Of two copies of one log, each has its own.
    best = min(found, key=lambda item: item[0].path != where, default=None)
    if best is not None and best[0].origin != which.origin:
        raise MalformedConfigError(
            f"{best[1]} is of {best[0].origin!r}, the log at {where} is {which.origin!r}",
            file=Path(best[1]).name, expected=which.origin, found=best[0].origin,
        )  # fmt: skip
    return best


def _files() -> list[Path]:
    folder = places.config_dir() / _FOLDER
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".toml")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise disk.read_error(error, folder) from None


def _read(path: Path) -> str:
    """Its text, if nobody but this user or root can have written it. Raises MalformedConfigError."""
    try:
        with disk.open_plain(path) as file:
            status = os.fstat(file.fileno())
            if status.st_uid not in {os.geteuid(), 0}:
                raise MalformedConfigError(f"{path} belongs to another user", file=path.name)
            if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                mode = stat.S_IMODE(status.st_mode)
                raise MalformedConfigError(f"{path} has mode {mode:04o}: others can write it", file=path.name)
            data = file.read(CONFIG_SIZE_MAX_BYTES + 1)
        if len(data) > CONFIG_SIZE_MAX_BYTES:
            raise MalformedConfigError(f"{path} has more than {CONFIG_SIZE_MAX_BYTES} bytes", file=path.name)
        return data.decode()
    except OSError as error:
        what = "is not a regular file" if error.errno == errno.EINVAL else f"cannot be read: {error.strerror}"
        raise MalformedConfigError(f"{path} {what}", file=path.name) from None
    except UnicodeDecodeError as error:
        raise MalformedConfigError(f"{path.name}: byte {error.start} is not UTF-8", file=path.name) from None


def _new_path(config: LogConfig, where: str) -> Path:
    slug = re.sub(r"[^A-Za-z0-9.-]+", "_", Path(where).name)[:80]
    name = f"{slug}-{config.genesis[:_TAG_CHARACTERS]}.toml"
    return disk.free_name(places.config_dir() / _FOLDER / name)


@contextmanager
def _exclusive(log: LogSource) -> Iterator[None]:
    if log.is_transient:
        yield
        return
    folder = places.config_dir() / _FOLDER
    try:
        disk.make_directories(folder, 0o700)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise disk.storage_error(error, folder, "writing") from None
    try:
        if not disk.lock(descriptor, timeout_s=LOCK_WAIT_S):
            raise BusyError(f"{folder} has been locked for {LOCK_WAIT_S:g} s", path=str(folder))
        yield
    finally:
        os.close(descriptor)


def new_config(which: Identity, path: str, signers: Signers, old: LogConfig | None = None) -> LogConfig:
    """That of a log, for this machine. `old`: whose other members stay."""
    if old is None:
        return LogConfig(origin=which.origin, genesis=which.genesis, path=path, signers=signers)
    return msgspec.structs.replace(old, path=path, signers=signers)


def expect_state(config: LogConfig) -> LogConfig:
    """The log does not open any more without what is remembered of it, unless that is kept nowhere."""
    return config if config.state else msgspec.structs.replace(config, state=EXPECTED)


_of_this_process: Final[dict[str, LogConfig]] = {}
"""By genesis hash, for logs in memory."""
