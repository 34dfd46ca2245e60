"""What only this machine knows of a log: where it finds its keys, and the replicas that it sends it to.

It is drawn apart from the log's bytes: no source or store knows it, and none
of it is evidence. Today it stands in a file of the log's directory, log.toml;
of a log that is no directory, it is kept as long as the process lives. Only
this module knows that. Origin and settings stand in the file for people, and
for `verify`, which compares them: the log's are those of its genesis entry.

Never secrets: key files, tokens and PINs are only named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from attestlog._internal import disk
from attestlog._internal.core.genesis import Genesis, Settings
from attestlog._internal.core.toml import format_toml, parse_toml
from attestlog._internal.storage.contract import LogSource, Store
from attestlog._internal.storage.files import layout
from attestlog._internal.storage.files.reader import FileSource
from attestlog._internal.storage.resolve import LogName, is_url
from attestlog.errors import MalformedConfigError, NotFoundError

CONFIG_FILE: Final = layout.CONFIG_FILE

FORMAT_VERSION: Final = 1

CONFIG_SIZE_MAX_BYTES: Final = 1 << 20
"""log.toml has a few hundred bytes, and some for each replica. More is not read."""


class Signers(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where this machine finds the keys (signer URIs)."""

    entry: str
    checkpoint: str
    checkpoint_pq: str | None = None
    """Of the checkpoint key of ML-DSA-44, where the genesis names one."""
    next_entry: str | None = None
    """Within a rotation: the signer that is in force once its entry is durable."""


class ReplicaAt(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A replica that this machine sends the log to. Entries record the URLs."""

    url: str
    vkey: str
    """Its cosignatures' key."""
    token_file: str
    """Where this machine keeps its bearer token."""
    ca_file: str = ""
    """The authority of its certificate, where it is not one that everybody trusts."""


class LogConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What log.toml says."""

    format_version: int = FORMAT_VERSION
    origin: str
    settings: Settings
    signers: Signers
    replicas: list[ReplicaAt] = []

    @classmethod
    def of(cls, genesis: Genesis, signers: Signers, replicas: Sequence[ReplicaAt] = ()) -> LogConfig:
        """That of a log, for this machine."""
        return cls(origin=genesis.origin, settings=genesis.settings, signers=signers, replicas=list(replicas))


def read_config(log: LogSource) -> LogConfig:
    """Raises MalformedConfigError, NotFoundError where there is none, or another StorageError."""
    data = read_config_text(log)
    if data is None:
        raise NotFoundError(f"{log.where} has no {CONFIG_FILE}", path=log.where)
    try:
        return parse_config(data.decode())
    except UnicodeDecodeError as error:
        raise MalformedConfigError(
            f"{CONFIG_FILE}: byte {error.start} is not UTF-8", file=CONFIG_FILE
        ) from None


def read_config_text(log: LogSource) -> bytes | None:
    """The file as it stands; None where there is none. Raises StorageError."""
    if not isinstance(log, FileSource):
        return _of_this_process.get(log.where)
    path = log.root / CONFIG_FILE
    try:
        with disk.open_plain(path) as file:
            return file.read(CONFIG_SIZE_MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise disk.read_error(error, path) from None


def keeps_config(log: LogSource) -> bool:
    """Whether log.toml stands with the log itself, so that one without it lacks something."""
    return isinstance(log, FileSource)


def change_config(store: Store, change: Callable[[LogConfig], LogConfig]) -> None:
    """Replace it by what `change` makes of it as it stands now, atomically and durably.

    Only inside `store.exclusive()`: whatever else changes it waits for that, so that nothing gets lost.
    Raises as `read_config`.
    """
    replace_config(store, change(read_config(store.source)))


def replace_config(store: Store, config: LogConfig) -> None:
    """`change_config` where there is nothing to keep of what stands there."""
    log, text = store.source, format_config(config).encode()
    if not isinstance(log, FileSource):
        _of_this_process[log.where] = text
        return
    path = log.root / CONFIG_FILE
    try:
        disk.replace_file(path, text)
    except OSError as error:
        raise disk.storage_error(error, path, "writing") from None


def with_signers(config: LogConfig, **changes: str | None) -> LogConfig:
    """With other signers: `change_config(store, partial(with_signers, entry=uri))`."""
    return msgspec.structs.replace(config, signers=msgspec.structs.replace(config.signers, **changes))


def set_config_aside(store: Store) -> tuple[str, str] | None:
    """Rename the file to one that nothing reads, inside `store.exclusive()`; its path and its new name."""
    log = store.source
    path = log.root / CONFIG_FILE if isinstance(log, FileSource) else None
    if path is None or not path.exists():
        return None
    kept = disk.free_name(path.with_name(f"{path.name}.old"))
    try:
        path.rename(kept)
    except OSError as error:
        raise disk.storage_error(error, path, "renaming") from None
    return str(path), kept.name


def new_config(name: LogName, config: LogConfig) -> dict[str, bytes]:
    """For a log that is about to be made: the files that must appear with it."""
    text = format_config(config).encode()
    if is_url(name):
        _of_this_process[str(name)] = text
        return {}
    return {CONFIG_FILE: text}


def format_config(config: LogConfig) -> str:
    """log.toml."""
    return format_toml({
        "format_version": config.format_version,
        "origin": config.origin,
        "settings": msgspec.structs.asdict(config.settings),
        "signers": msgspec.to_builtins(config.signers),
        "replicas": msgspec.to_builtins(config.replicas) or None,
    })  # fmt: skip


def parse_config(text: str) -> LogConfig:
    """Raises MalformedConfigError."""
    config = parse_toml(text, LogConfig, CONFIG_FILE)
    if config.format_version != FORMAT_VERSION:
        raise MalformedConfigError(
            f"{CONFIG_FILE}: format_version is {config.format_version}, this software knows {FORMAT_VERSION}",
            file=CONFIG_FILE,
        )
    return config


_of_this_process: Final[dict[str, bytes]] = {}
"""By where the log is, for those that are no directory."""
