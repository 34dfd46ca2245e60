"""What the log asks of the holder of a key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attestlog.core.signature import PublicKey

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
