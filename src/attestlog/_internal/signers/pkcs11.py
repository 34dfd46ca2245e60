"""A private key in a PKCS#11 device: an HSM, a smart card, a TPM, SoftHSM. The key never leaves it.

The device is reached through its vendor's library, in this process. What a call may do to others (crash,
hang, log out) is kept in bounds by `pkcs11_module`. A signature that a device returns is believed by nobody
here: who stores it verifies it first.
"""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pkcs11 import Attribute, PinIncorrect

from attestlog._internal import disk
from attestlog._internal.core.signature import ECDSA_P256, PublicKey, load_public_key
from attestlog._internal.signers import pkcs11_keys as keys
from attestlog._internal.signers.contract import Passphrase
from attestlog._internal.signers.pkcs11_module import Library, Module, OpenToken, module_at, module_path
from attestlog._internal.signers.pkcs11_uri import KeyUri, format_key_uri, parse_key_uri
from attestlog._internal.signers.secret import read_pin
from attestlog.errors import MalformedConfigError, MalformedSignatureError, SignerError, WrongKeyError

KEY_ID_SIZE_BYTES: Final = 8
"""CKA_ID of a new key: random, so that it names this key and no later one of the same label."""
DESCRIBED: Final = tuple(
    "SENSITIVE EXTRACTABLE ALWAYS_SENSITIVE NEVER_EXTRACTABLE LOCAL PRIVATE SIGN DECRYPT UNWRAP DERIVE "
    "ALWAYS_AUTHENTICATE".split()
)
"""Attributes that say how well the key is kept, and what else it may do."""
PUBLIC_KEY_FILE_SIZE_MAX_BYTES: Final = 64 << 10
"""No PEM of a public key is near this; keeps a wrong path from being read whole."""


class Pkcs11Signer:
    """A key in a token; see `Signer`. Any thread may use it; calls of one module are made one by one."""

    def __init__(self, uri: KeyUri, module: Module, token: OpenToken) -> None:
        # Not its real path: a link stays when the library behind it is updated.
        self._uri = replace(uri, module_path=module_path(uri.module_path))
        self._module, self._token = module, token
        self._pid = os.getpid()
        self._mutex = threading.Lock()
        self._is_closed = False
        self._key: Any = None
        self._way: keys.Way
        self._wants_pin = False
        self._generation = -1
        self._public_key: PublicKey | None = None
        self._public_key = self._module.call(self._read_public_key, uri.timeout_s)

    def __repr__(self) -> str:
        return f"Pkcs11Signer({self.uri!r})"

    @property
    def public_key(self) -> PublicKey:
        """The key's public half."""
        assert self._public_key is not None
        return self._public_key

    @property
    def uri(self) -> str:
        """The `pkcs11:` URI, with the module's path and without a PIN."""
        return format_key_uri(self._uri)

    def sign(self, message: bytes) -> bytes:
        """DER for ECDSA (over SHA-256 of the message), 64 bytes for Ed25519, not yet verified.

        Raises SignerError: `retryable` when the device is gone or has not answered in time, which it may
        again. A loss of session is mended here.
        """
        self._check_usable()
        return self._module.call(lambda library: self._sign(library, message), self._uri.timeout_s)

    def describe(self) -> dict[str, Any]:
        """What the token says of the key, by attribute (`sensitive`, `extractable` …); None: it does not."""
        self._check_usable()
        return self._module.call(self._describe, self._uri.timeout_s)

    def close(self) -> None:
        """Let go of the token; the last signer to do so logs out."""
        if os.getpid() != self._pid:
            return
        with self._mutex:
            is_closed, self._is_closed = self._is_closed, True
        if is_closed:
            return
        self._key = None
        self._module.release([self._token], self._uri.timeout_s)

    def _check_usable(self) -> None:
        if self._is_closed:
            raise SignerError(f"signer {self.uri} is closed")
        if os.getpid() != self._pid:
            # The child has a copy of the parent's session: using it would break both.
            raise SignerError(
                f"signer {self.uri} was opened by process {self._pid}, and a forked child opens its own"
            )

    # --- on the module's thread ---

    def _sign(self, library: Library, message: bytes) -> bytes:
        key, way = self._held_key(library), self._way
        try:
            signature: bytes = key.sign(
                sha256(message).digest() if way.is_given_hash else message,
                mechanism=way.mechanism,
                # Not by way of a name: a traceback can show the values of names.
                pin=self._module.usable_pin(self._token).reveal() if self._wants_pin else None,
            )
        except PinIncorrect:
            raise self._module.refuse_pin(self._token) from None
        if len(signature) != 64:
            raise SignerError(f"the device returned a signature of {len(signature)} bytes, want 64")
        if self.public_key.algorithm != ECDSA_P256:
            return signature
        return encode_dss_signature(
            int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        )

    def _held_key(self, library: Library) -> Any:
        if self._key is None or self._generation != self._module.generation:
            self._read_public_key(library)
        return self._key

    def _read_public_key(self, library: Library) -> PublicKey:
        """Find the key, anew after a loss; its public half must be what it was."""
        session = self._module.session(library, self._token)
        key = keys.find_key(session, self._uri)
        public = _agreed(keys.find_public_key(session, key), self._uri.public_key)
        if self._public_key is not None and self._public_key.spki != public.spki:
            raise WrongKeyError(
                f"the token now holds key {public.key_id[:16]} in place of {self.public_key.key_id[:16]}",
                expected=self.public_key.key_id, found=public.key_id,
            )  # fmt: skip
        offered = self._module.find(library, self._token).slot.get_mechanisms()
        ways = keys.SCHEMES[public.algorithm].ways
        usable = [way for way in ways if way.mechanism in offered]
        if not usable:
            names = " or ".join(way.mechanism.name for way in ways)
            raise SignerError(f"{self._token.name} does not offer {names}, want it for {public.algorithm}")
        self._way = usable[0]
        self._key, self._generation = key, self._module.generation
        self._wants_pin = bool(keys.read(key, Attribute.ALWAYS_AUTHENTICATE))
        return public

    def _describe(self, library: Library) -> dict[str, Any]:
        key = self._held_key(library)
        return {name.lower(): keys.read(key, Attribute[name]) for name in DESCRIBED}


def open_pkcs11_signer(uri: str, passphrase: Passphrase | None = None) -> Pkcs11Signer:
    """The signer of a `pkcs11:` URI. The PIN comes from a file, the environment or `passphrase`.

    Raises MalformedConfigError or SignerError.
    """
    parsed = parse_key_uri(uri)
    if parsed.object is None and parsed.id is None:
        raise MalformedConfigError("signer 'pkcs11:…' names no key: object or id", member="signer")
    module, token = attach(parsed, passphrase)
    try:
        return Pkcs11Signer(parsed, module, token)
    except BaseException:
        module.release([token], parsed.timeout_s)
        raise


def make_pkcs11_key(uri: str, algorithm: str, passphrase: Passphrase | None = None) -> Pkcs11Signer:
    """A new key in a token, locked down, and its signer; the URI gives its label (`object`).

    Raises MalformedConfigError, MalformedSignatureError for an algorithm not known here, or SignerError:
    also if the token has a key of this name.
    """
    parsed = parse_key_uri(uri)
    if parsed.object is None:
        raise MalformedConfigError(
            "signer 'pkcs11:…' gives no label for the new key: object", member="signer"
        )
    if algorithm not in keys.SCHEMES:
        raise MalformedSignatureError(f"algorithm is {algorithm!r}, want {' or '.join(keys.SCHEMES)}")
    key_id = parsed.id or os.urandom(KEY_ID_SIZE_BYTES)
    module, token = attach(parsed, passphrase)
    try:

        def make(library: Library) -> None:
            module.session(library, token)  # logs in, which holds for all sessions
            writable = module.open_session(library, token, writable=True)
            try:
                keys.make_key(writable, algorithm, parsed, key_id)
            finally:
                writable.close()

        module.call(make, parsed.timeout_s)
        return Pkcs11Signer(replace(parsed, id=key_id), module, token)
    except BaseException:
        module.release([token], parsed.timeout_s)
        raise


def attach(uri: KeyUri, passphrase: Passphrase | None) -> tuple[Module, OpenToken]:
    """The module and the token a URI names, its PIN at hand. To be given back by `module.release`."""
    module = module_at(module_path(uri.module_path))
    attached: list[OpenToken] = []
    try:
        module.call(lambda library: attached.append(module.attach(library, uri)), uri.timeout_s)
        (token,) = attached
        if token.needs_pin and token.pin is None:
            token.pin = read_pin(token.label, uri.pin_source, passphrase)
    except BaseException:
        module.release(attached, uri.timeout_s)
        raise
    return module, token


def _agreed(held: PublicKey | None, path: str | None) -> PublicKey:
    """The token's public key and the file's are the same, and there is one of them."""
    given = None if path is None else _load_file(path)
    if held is None and given is None:
        raise SignerError(
            "the token keeps no public key beside the private one, and public-key names no file"
        )
    if held is not None and given is not None and held.spki != given.spki:
        raise WrongKeyError(
            f"the token holds key {held.key_id[:16]}, its public-key file {given.key_id[:16]}",
            expected=given.key_id, found=held.key_id,
        )  # fmt: skip
    agreed = held or given
    assert agreed is not None
    return agreed


def _load_file(path: str) -> PublicKey:
    try:
        return load_public_key(disk.read_plain(path, PUBLIC_KEY_FILE_SIZE_MAX_BYTES))
    except OSError as error:
        raise SignerError(f"public key {path} cannot be read: {error.strerror}", path=path) from None
    except MalformedSignatureError as error:
        raise SignerError(f"public key {path}: {error}", path=path) from None
