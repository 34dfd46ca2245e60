"""`replica.toml`: a replica's own name and where its key is. Never secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from attestlog._internal import disk
from attestlog._internal.core.toml import format_toml, parse_toml
from attestlog.errors import MalformedConfigError, NotFoundError

SETTINGS_FILE: Final = "replica.toml"
SETTINGS_SIZE_MAX_BYTES: Final = 64 << 10
"""A name and a URI. What is longer is cut, and then is not TOML."""


class ReplicaSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the file says. `key`: a signer URI."""

    name: str
    key: str


def read_settings(directory: Path) -> ReplicaSettings:
    """Raises NotFoundError where there is no replica yet, MalformedConfigError or another StorageError."""
    path = directory / SETTINGS_FILE
    try:
        text = disk.read_plain(path, SETTINGS_SIZE_MAX_BYTES).decode()
        return parse_toml(text, ReplicaSettings, SETTINGS_FILE)
    except FileNotFoundError:
        raise NotFoundError(
            f"{directory} is not a replica: it has no {SETTINGS_FILE}", path=str(path)
        ) from None
    except OSError as error:
        raise disk.read_error(error, path) from None
    except UnicodeDecodeError as error:
        raise MalformedConfigError(f"{SETTINGS_FILE}: {error}") from None


def write_settings(directory: Path, settings: ReplicaSettings) -> None:
    """Durably. Raises StorageError."""
    text = format_toml(msgspec.structs.asdict(settings))
    try:
        disk.make_directories(directory)
        disk.replace_file(directory / SETTINGS_FILE, text.encode())
    except OSError as error:
        raise disk.storage_error(error, directory, "writing") from None
