"""The signer of a new log: one that is given, one that a URI names, or a key file made on first use."""

from __future__ import annotations

from contextlib import ExitStack

from attestlog._internal.core.signature import public_key
from attestlog._internal.signers import file as key_files
from attestlog._internal.signers.contract import Passphrase, Signer
from attestlog._internal.signers.opening import open_signer, signer_module
from attestlog._internal.signers.private_keys import make_key
from attestlog.errors import MalformedConfigError


def given_or_opened(given: str | Signer, passphrase: Passphrase | None, undo: ExitStack) -> Signer:
    """The signer given, or opened by its URI; what was opened here is closed again by `undo`."""
    if not isinstance(given, str):
        return given
    signer = open_signer(given, passphrase=passphrase)
    undo.callback(signer.close)
    return signer


def given_or_made(given: str | Signer | None, *, origin: str, role: str, algorithm: str) -> str | Signer:
    """`given`, unless it is a key file that is not there yet, or nothing at all: then a new key's signer.

    A new key file is under the passphrase in the environment, if there is one: nobody is asked.
    """
    if given is None:
        key = make_key(algorithm)
        path = key_files.default_key_path(origin, role, public_key(key.public_key()))
        return key_files.save_key(key, path, key_files.ask_passphrase(path, None))
    if isinstance(given, str) and given.startswith(key_files.SCHEME):
        path = key_files.file_uri_path(given)
        if not path.exists():
            key = make_key(algorithm)
            return key_files.save_key(key, path, key_files.ask_passphrase(path, None))
    return given


def make_in_device(uri: str, algorithm: str, passphrase: Passphrase | None) -> Signer:
    """A new key in the device a URI names, and its signer. `passphrase` is asked for a PIN.

    Raises MalformedConfigError for a scheme whose keys are made with other tools, MissingExtraError,
    MalformedSignatureError or SignerError.
    """
    scheme = uri.partition(":")[0]
    if scheme != "pkcs11":
        raise MalformedConfigError(
            f"keys are made in files and pkcs11: devices, not in '{scheme}:…'", member="signer"
        )
    made: Signer = signer_module(scheme).make_pkcs11_key(uri, algorithm, passphrase)
    return made
