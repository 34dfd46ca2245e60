"""The embedded directory: what each file is called and what it is. No file is written here.

log.toml                       format, origin, settings; a convenience, never secrets
entries/000000000000.jsonl     one canonical entry a line; 65,536 entries a segment
entries/torn-…                 bytes set aside by recovery, never read again
tree/0, tree/1 …               32-byte hashes of complete subtrees of 256^level leaves; derived
checkpoint                     the latest signed checkpoint
rules.jsonl                    the entries that changed keys or policy; derived
erasing                        an erasure under way, while there is one
index.db                       query index; derived
lock                           flock: one committer at a time
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from attestlog._internal.core.genesis import Settings
from attestlog.errors import MalformedConfigError

FORMAT_VERSION: Final = 1
CONFIG_FILE: Final = "log.toml"
ENTRIES_DIR: Final = "entries"
TREE_DIR: Final = "tree"
CHECKPOINT_FILE: Final = "checkpoint"
RULES_FILE: Final = "rules.jsonl"
ERASING_FILE: Final = "erasing"
INDEX_FILE: Final = "index.db"
LOCK_FILE: Final = "lock"
TORN_PREFIX: Final = "torn-"

_SEGMENT: Final = re.compile(r"([0-9]{12})\.jsonl")


class Signers(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where this machine finds the keys (signer URIs). Local convenience, no part of the evidence."""

    entry: str
    checkpoint: str
    checkpoint_pq: str | None = None
    """Of the checkpoint key of ML-DSA-44, where the genesis names one."""
    next_entry: str | None = None
    """Within a rotation: the signer that is in force once its entry is durable."""


class ReplicaAt(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A replica that this machine sends the log to. Local convenience: entries record the URLs."""

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


def format_config(config: LogConfig) -> str:
    """log.toml. Strings are JSON strings, which TOML basic strings include."""
    sections = {"settings": config.settings, "signers": config.signers}
    lines = [f"format_version = {config.format_version}", f"origin = {_toml(config.origin)}"]
    for name, section in sections.items():
        lines += ["", f"[{name}]"]
        members = msgspec.structs.asdict(section).items()
        lines += [f"{key} = {_toml(value)}" for key, value in members if value is not None]
    for replica in config.replicas:
        lines += ["", "[[replicas]]"]
        lines += [f"{key} = {_toml(value)}" for key, value in msgspec.to_builtins(replica).items()]
    return "\n".join(lines) + "\n"


def parse_config(text: str) -> LogConfig:
    """Raises MalformedConfigError."""
    try:
        config = msgspec.convert(tomllib.loads(text), LogConfig)
    except (ValueError, msgspec.ValidationError, RecursionError) as error:
        raise MalformedConfigError(f"{CONFIG_FILE}: {error}") from None
    if config.format_version != FORMAT_VERSION:
        raise MalformedConfigError(
            f"{CONFIG_FILE}: format_version is {config.format_version}, this software knows {FORMAT_VERSION}"
        )
    return config


def segment_name(first: int) -> str:
    """File name of the segment whose first entry has this sequence number."""
    return f"{first:012d}.jsonl"


def list_segments(root: Path) -> list[tuple[int, Path]]:
    """(first sequence number, path) of each segment file present, in order.

    Raises FileNotFoundError or PermissionError as the operating system does.
    """
    found = []
    for path in (root / ENTRIES_DIR).iterdir():
        match = _SEGMENT.fullmatch(path.name)
        if match:
            found.append((int(match[1]), path))
    return sorted(found)


def tree_path(root: Path, level: int) -> Path:
    """The flat file of stored hashes at this tile level."""
    return root / TREE_DIR / str(level)


def is_log(path: Path) -> bool:
    """Whether the directory looks like a log."""
    return (path / CONFIG_FILE).is_file() or (path / ENTRIES_DIR).is_dir()


def _toml(value: object) -> str:
    if isinstance(value, str):
        # TOML forbids DEL in basic strings and JSON does not escape it.
        return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else str(value)
