"""What the schema calls `hsm_key`: whose public key it is, and how it signs for attestlog."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from attestlog._internal.core.signature import PublicKey, load_public_key, public_key
from attestlog._internal.signers import Signer
from attestlog._internal.signers.private_keys import is_known, sign_with
from attestlog.errors import MalformedConfigError, MalformedSignatureError, SignerError

SCHEME: Final = "object:"
"""Of the URI of a key that only its process can find. No signer opens it again."""


class ObjectSigner:
    """Any object with `sign(bytes)`, as a signer. The object is the caller's: `close` leaves it open."""

    def __init__(self, key: Any) -> None:
        """Raises MalformedConfigError unless the object also gives a public key that attestlog knows."""
        try:
            self._public_key = load_public_key_of(key)
        except MalformedSignatureError as error:
            raise MalformedConfigError(
                f"hsm_key is a {type(key).__name__} without a usable public_key: {error}", member="hsm_key"
            ) from None
        self._key = key

    def __repr__(self) -> str:
        return f"ObjectSigner({self.uri!r}, key_id={self._public_key.key_id[:16]}…)"

    @property
    def public_key(self) -> PublicKey:
        """The key's public half."""
        return self._public_key

    @property
    def uri(self) -> str:
        """`object:` and the name of its class."""
        return f"{SCHEME}{type(self._key).__name__}"

    def sign(self, message: bytes) -> bytes:
        """What the object's `sign` returns. The log verifies it before anything is stored."""
        if is_known(self._key):  # a private key of `cryptography`, some of which take more than a message
            return sign_with(self._key, message)
        return cast("bytes", self._key.sign(message))

    def close(self) -> None:
        """Do nothing: who made the object ends it."""


def signer_of(hsm_key: object) -> Signer | str:
    """The signer to give to attestlog: a signer or a URI as it is, any other object wrapped.

    Raises MalformedConfigError for an object that cannot sign, or gives no public key; SignerError where
    asking it for one fails.
    """
    if isinstance(hsm_key, str):
        return hsm_key
    if not callable(getattr(hsm_key, "sign", None)):
        raise MalformedConfigError(
            f"hsm_key is a {type(hsm_key).__name__}, want a signer, a signer URI or an object with sign()",
            member="hsm_key",
        )
    given = (getattr(hsm_key, name, None) for name in ("public_key", "uri"))
    is_signer = all(map(isinstance, given, (PublicKey, str))) and callable(getattr(hsm_key, "close", None))
    return cast("Signer", hsm_key) if is_signer else ObjectSigner(hsm_key)


def load_public_key_of(key: object) -> PublicKey:
    """The public key that this is, or that its attribute or method `public_key` gives.

    Either is an attestlog `PublicKey`, a public key of `cryptography`, or SPKI as PEM or DER.
    Raises MalformedSignatureError for anything else, SignerError where the method fails.
    """
    inner = getattr(key, "public_key", None)
    if callable(inner):
        inner = _called(inner)
    return _load(key if inner is None else inner)


def _called(method: Callable[[], object]) -> object:
    try:
        return method()
    except Exception as error:
        raise SignerError(f"public_key() failed: {type(error).__name__}: {error}") from error


def _load(key: object) -> PublicKey:
    if isinstance(key, PublicKey):
        return key
    if isinstance(key, str | bytes):
        return load_public_key(key.encode("utf-8", "replace") if isinstance(key, str) else key)
    return public_key(key)
