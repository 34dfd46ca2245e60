"""Making keys: in a file, or in a device, where the new one signs once before anybody relies on it."""

from __future__ import annotations

import re
from typing import Final

from attestlog._internal.cli.opening import ask_passphrase, ask_secret
from attestlog._internal.cli.verbs import UsageError
from attestlog._internal.core.signature import public_key
from attestlog._internal.signers import Signer, making
from attestlog._internal.signers import file as key_files
from attestlog._internal.signers.asking import sign_message
from attestlog._internal.signers.private_keys import make_key

TEST_MESSAGE: Final = b"attestlog/test/v1\n"
"""Signed to see that a device can; nothing that is signed otherwise begins so."""

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*:")


def make_in_file(where: str | None, algorithm: str, protect: bool) -> Signer:
    """A new key file at a path or `file:` URI, else where keys are kept."""
    if where is not None and _SCHEME.match(where) and not where.startswith(key_files.SCHEME):
        raise UsageError(f"{where.partition(':')[0]}:… is no file: --signer makes keys in devices")
    key = make_key(algorithm)
    public = public_key(key.public_key())
    path = key_files.keys_dir() / f"{public.algorithm.lower()}-{public.key_id[:16]}.pem"
    path = key_files.file_uri_path(where) if where else path
    return key_files.save_key(key, path, key_files.ask_passphrase(path, _new_passphrase if protect else None))


def make_in_device(uri: str, algorithm: str) -> Signer:
    """A new key in a device. Raises SignerError also if it cannot sign."""
    made = making.make_in_device(uri, algorithm, ask_passphrase)
    sign_once(made)
    return made


def sign_once(signer: Signer) -> None:
    """A signature, verified. Raises SignerError."""
    sign_message(signer, signer.public_key, TEST_MESSAGE)


def _new_passphrase(path: str) -> bytes:
    first = ask_secret(f"new passphrase for {path}: ")
    if not first:
        raise UsageError("no passphrase was given: there is no terminal to ask on, or it was empty")
    if ask_secret("the same again: ") != first:
        raise UsageError("the two passphrases differ")
    return first
