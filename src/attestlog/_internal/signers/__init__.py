"""Keys that sign. A signer holds one private key, somewhere; nothing here decides what to sign."""

from attestlog._internal.signers.contract import Passphrase, Signer
from attestlog._internal.signers.opening import open_signer, register_scheme

__all__ = ["Passphrase", "Signer", "open_signer", "register_scheme"]
