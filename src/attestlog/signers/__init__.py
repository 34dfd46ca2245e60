"""Keys that sign: the Signer contract and `open_signer(uri)`.

A signer holds one private key, somewhere. Nothing here decides what to sign.
Schemes: `file:` so far; an application registers its own with
`register_scheme`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from attestlog.core.signature import PublicKey
from attestlog.errors import MalformedConfigError

Passphrase = Callable[[str], bytes | None]
"""Asked for a key file's passphrase, by path; None: there is none to be had."""


class Signer(Protocol):
    """The holder of one private key. Used by one thread at a time; `close` may be called twice."""

    @property
    def public_key(self) -> PublicKey:
        """The key's public half, which also names the algorithm and the key id."""

    @property
    def uri(self) -> str:
        """How to open this signer again. Never holds a secret."""

    def sign(self, message: bytes) -> bytes:
        """The signature in the algorithm's standard bytes. Raises SignerError."""

    def close(self) -> None:
        """Let go of the key."""


Opener = Callable[[str, Passphrase | None], Signer]
_schemes: Final[dict[str, Opener]] = {}


def register_scheme(scheme: str, opener: Opener) -> None:
    """Make `open_signer("<scheme>:…")` call `opener(uri, passphrase)`."""
    _schemes[scheme] = opener


def open_signer(uri: str, *, passphrase: Passphrase | None = None) -> Signer:
    """The signer a URI names. Raises MalformedConfigError for an unknown scheme, SignerError otherwise."""
    scheme, colon, _ = uri.partition(":")
    if not colon or (scheme not in _schemes and scheme != "file"):
        known = ", ".join(sorted({"file", *_schemes}))
        raise MalformedConfigError(f"signer {uri!r} has no known scheme, want one of {known}", member="signer")
    if scheme in _schemes:
        return _schemes[scheme](uri, passphrase)
    from attestlog.signers.file import open_file_signer

    return open_file_signer(uri, passphrase)
