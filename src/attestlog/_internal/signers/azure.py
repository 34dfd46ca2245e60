"""Keys of Azure Key Vault and Managed HSM: `azurekms:https://VAULT/keys/NAME`, with or without `/VERSION`.

P-256 only: the service has no other key that entries can be signed with. It signs a digest made here, and
answers with `r || s`. A key's version is pinned at opening. Credentials are the SDK's affair.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError
from azure.identity import DefaultAzureCredential
from azure.keyvault.keys import KeyClient, KeyVaultKey
from azure.keyvault.keys.crypto import CryptographyClient, SignatureAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicNumbers

from attestlog._internal.core.signature import PublicKey, public_key
from attestlog._internal.net import may_pass
from attestlog._internal.signers.contract import Passphrase
from attestlog._internal.signers.ecdsa import der_from_raw
from attestlog._internal.signers.remote import (
    CONNECT_TIMEOUT_S,
    READ_TIMEOUT_S,
    RemoteSigner,
    closed_on_error,
)
from attestlog.errors import MalformedConfigError, SignerError

SCHEME: Final = "azurekms:"

_KEY: Final = re.compile(
    r"(https://[a-z0-9.-]+(?::[0-9]{1,5})?)/keys/([A-Za-z0-9-]{1,127})(?:/([0-9A-Za-z]{1,64}))?"
)
_OPTIONS: Final = {
    "connection_timeout": CONNECT_TIMEOUT_S,
    "read_timeout": READ_TIMEOUT_S,
    "retry_total": 0,  # RemoteSigner tries again
}


def open_azure_signer(
    uri: str, passphrase: Passphrase | None = None, *, options: Callable[[], dict[str, Any]] = dict
) -> RemoteSigner:
    """The signer of `azurekms:https://VAULT/keys/NAME`. Raises MalformedConfigError or SignerError.

    `options` makes the SDK's own for each connection: `credential`, `transport`.
    """
    del passphrase  # the SDK finds credentials itself
    match = _KEY.fullmatch(uri.removeprefix(SCHEME))
    if not match:
        raise MalformedConfigError(
            f"signer '{SCHEME}…' names no key, want {SCHEME}https://VAULT/keys/NAME or …/NAME/VERSION",
            member="signer",
        )
    vault, name, version = match[1], match[2], match[3]
    return RemoteSigner(lambda: _AzureKey(vault, name, version, _OPTIONS | options()), _failure)


class _AzureKey:
    """See `Service`."""

    def __init__(self, vault: str, name: str, version: str | None, options: dict[str, Any]) -> None:
        credential = options.pop("credential", None) or DefaultAzureCredential()
        self._keys = KeyClient(vault, credential, **options)
        with closed_on_error(self._keys):
            key = self._keys.get_key(name, version)
            self.public_key = _public_key(key)
        self._id = str(key.id)
        self.uri = SCHEME + self._id
        self._client = CryptographyClient(key, credential, **options)

    def sign(self, message: bytes) -> bytes:
        answer = self._client.sign(SignatureAlgorithm.es256, sha256(message).digest())
        if answer.key_id != self._id:
            raise SignerError("the answer of Azure Key Vault has no signature of the key that was asked")
        return der_from_raw(answer.signature)

    def close(self) -> None:
        self._client.close()
        self._keys.close()


def _public_key(key: KeyVaultKey) -> PublicKey:
    material: Any = key.key
    if key.key_type not in {"EC", "EC-HSM"} or material.crv != "P-256":
        raise SignerError(f"the key is of kind {key.key_type} {material.crv or ''}, want EC P-256")
    x, y = int.from_bytes(material.x, "big"), int.from_bytes(material.y, "big")
    try:
        return public_key(EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key())
    except ValueError:
        raise SignerError("the answer of Azure Key Vault has a public key that is none") from None


def _failure(error: Exception) -> SignerError:
    """Names the kind of failure alone: the service's texts can repeat what was sent to it."""
    kind = type(error).__name__
    status = error.status_code if isinstance(error, HttpResponseError) else None
    if status is not None:
        message = f"refused by Azure Key Vault: {kind} (HTTP {status})"
        return SignerError(message, retryable=may_pass(status), status=status)
    unreached = isinstance(error, ServiceRequestError | ServiceResponseError)
    what = "no connection to" if unreached else "cannot ask"
    return SignerError(f"{what} Azure Key Vault: {kind}", retryable=unreached)
