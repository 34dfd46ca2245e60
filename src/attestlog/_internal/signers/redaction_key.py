"""The redaction key: 32 random bytes in a file beside the log's other keys, made when first needed.

It never enters the log. Whoever holds it can show which values were redacted
(`core.redaction`), or test guesses; without it the redactions stay what they
are, and new ones are made under a new key. One file an origin, hex, 0600.
"""

from __future__ import annotations

import contextlib
import os
import re
from hashlib import sha256
from pathlib import Path

from attestlog._internal.core.redaction import KEY_SIZE_BYTES
from attestlog._internal.places import keys_dir
from attestlog._internal.signers.file import read_private, write_private
from attestlog.errors import KeyFileError


def redaction_key_path(origin: str) -> Path:
    """Where the redaction key of the log of this origin is kept."""
    slug = re.sub(r"[^A-Za-z0-9.-]+", "_", origin)[:80]
    return keys_dir() / f"{slug}-{sha256(origin.encode()).hexdigest()[:8]}-redaction.key"


def read_redaction_key(path: Path) -> bytes:
    """The key in this file. Raises KeyFileError."""
    text = read_private(path)
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_SIZE_BYTES or text != key.hex().encode() + b"\n":
        raise KeyFileError(
            f"key file {path} holds no redaction key of {KEY_SIZE_BYTES} bytes in hex", path=str(path)
        )
    return key


def redaction_key(origin: str) -> bytes:
    """The key of the log of this origin, made if there is none yet. Raises KeyFileError."""
    path = redaction_key_path(origin)
    if not path.exists():
        made = path.with_name(f".{path.name}.{os.urandom(8).hex()}.new")
        write_private(made, os.urandom(KEY_SIZE_BYTES).hex().encode() + b"\n")
        try:
            # Whole from the first moment, and never over another: who loses the race uses the winner's.
            with contextlib.suppress(FileExistsError):
                os.link(made, path)
        except OSError as error:
            raise KeyFileError(f"key file {path} cannot be made: {error.strerror}", path=str(path)) from None
        finally:
            made.unlink()
    return read_redaction_key(path)
