"""What the log asks of the holder of a key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attestlog._internal.core.signature import PublicKey

Passphrase = Callable[[str], bytes | None]
"""Asked for the secret that opens a key, by a key file's path or a device's name; None: there is none."""


class Signer(Protocol):
    """The holder of one private key. Used by one thread at a time; `close` may be called twice.

    A signer whose key is in a device answers within a timeout of its own. `describe()`, where it has one,
    tells by name how the key is kept; `attestlog doctor` shows it.
    """

    @property
    def public_key(self) -> PublicKey:
        """The key's public half, which also names the algorithm and the key id."""

    @property
    def uri(self) -> str:
        """How to open this signer again. Never holds a secret."""

    def sign(self, message: bytes) -> bytes:
        """The signature in the algorithm's standard bytes: DER for ECDSA, over SHA-256 of the message.

        Raises SignerError, `retryable` if waiting may help. Who asked verifies what is returned.
        """

    def close(self) -> None:
        """Let go of the key."""
