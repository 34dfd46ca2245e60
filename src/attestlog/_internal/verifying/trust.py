"""Whom the caller trusts: keys and hashes, and whether they vouch for a log.

Any one that vouches suffices. An entry key vouches when it is in the genesis
entry and signed it; a checkpoint key when it is in the genesis entry and
signed the checkpoint; a hash when it is the genesis entry's. A log for which
none vouches is FORKED: sound perhaps, and not the one that was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from attestlog._internal.core.checkpoint import Checkpoint, parse_checkpoint
from attestlog._internal.core.note import VerifierKey, format_vkey, parse_note, parse_vkey
from attestlog._internal.core.signature import PublicKey, load_public_key
from attestlog._internal.judging.source import Source, read_small_file, read_source, reason
from attestlog.errors import MalformedConfigError, MalformedError, NotFoundError, StorageError

_HASH: Final = re.compile(r"[0-9a-f]{64}")


def parse_trust(items: Iterable[str | Path]) -> list[str]:
    """Each item as an id: a vkey, or 64 hex digits (of an entry key or a genesis entry).

    An item is one of these, PEM text, or the path of a file that holds a public key in PEM.
    Raises MalformedConfigError for what is none of these, StorageError if a file cannot be read.
    """
    return [_id(item) for item in load_trust(items)]


def load_trust(items: Iterable[str | Path]) -> list[VerifierKey | PublicKey | str]:
    """Each item as the key it is; a string is 64 hex digits. As `parse_trust`, for whoever needs the keys."""
    return [_load(item) for item in items]


def load_held(held: Source | None) -> Checkpoint | None:
    """A checkpoint that the caller kept: what it says, whoever signed it; None if there is none.

    Raises MalformedNoteError, MalformedCheckpointError, or StorageError if its file cannot be read.
    """
    return None if held is None else parse_checkpoint(parse_note(read_source(held)).text)


def _id(item: VerifierKey | PublicKey | str) -> str:
    if isinstance(item, VerifierKey):
        return format_vkey(item)
    return item.key_id if isinstance(item, PublicKey) else item


def _load(item: str | Path) -> VerifierKey | PublicKey | str:
    text = str(item).strip()
    if _HASH.fullmatch(text):
        return text
    if text.startswith("-----BEGIN"):
        return _public_key(text.encode(), "the PEM text")
    try:
        return parse_vkey(text)
    except MalformedError:
        pass
    try:
        data = read_small_file(Path(item))
    except (FileNotFoundError, ValueError):
        raise NotFoundError(
            f"{text!r} is no key id, genesis hash or verifier key, and there is no such file", path=text
        ) from None
    except OSError as error:
        raise StorageError(f"{text} cannot be read: {reason(error)}", path=text) from None
    return _public_key(data, text)


def _public_key(data: bytes, where: str) -> PublicKey:
    try:
        return load_public_key(data)
    except MalformedError as error:
        raise MalformedConfigError(f"{where}: {error}") from None
