"""Keys of Google Cloud KMS: `gcpkms:projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/N`.

The version is part of the name: the service has no other way to name a key that signs, and neither has this.
Checksums are checked in both directions, as the service asks of its clients. It speaks HTTP with JSON: gRPC's
threads do not survive a fork. Credentials are the SDK's affair (application default credentials).
`?endpoint=HOST` names another endpoint, for instance a regional one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import Any, Final

import google_crc32c
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.api_core.exceptions import BadRequest, GoogleAPICallError
from google.auth.exceptions import TransportError
from google.cloud import kms_v1
from requests.exceptions import RequestException

from attestlog._internal.core.signature import ECDSA_P256, PublicKey, load_public_key
from attestlog._internal.net import may_pass
from attestlog._internal.signers.contract import Passphrase
from attestlog._internal.signers.remote import READ_TIMEOUT_S, RemoteSigner, closed_on_error
from attestlog.errors import MalformedConfigError, MalformedSignatureError, SignerError

SCHEME: Final = "gcpkms:"

_VERSION: Final = kms_v1.CryptoKeyVersion.CryptoKeyVersionAlgorithm
_ALGORITHMS: Final = {
    "ECDSA-P256-SHA256": _VERSION.EC_SIGN_P256_SHA256,
    "Ed25519": _VERSION.EC_SIGN_ED25519,
    "ML-DSA-44": _VERSION.PQ_SIGN_ML_DSA_44,
    "ML-DSA-65": _VERSION.PQ_SIGN_ML_DSA_65,
}
_FORMAT: Final = kms_v1.PublicKey.PublicKeyFormat
_PART: Final = r"[A-Za-z0-9:._-]{1,100}"
_KEY: Final = re.compile(
    rf"(projects/{_PART}/locations/{_PART}/keyRings/{_PART}/cryptoKeys/{_PART}/cryptoKeyVersions/[1-9][0-9]*)"
    r"(?:\?endpoint=([A-Za-z0-9.:-]+))?"
)

Connect = Callable[[str | None], kms_v1.KeyManagementServiceClient]
"""Makes the service's client, for an endpoint or the usual one."""


def _connect(endpoint: str | None) -> kms_v1.KeyManagementServiceClient:
    options = {"api_endpoint": endpoint} if endpoint else {}
    return kms_v1.KeyManagementServiceClient(transport="rest", client_options=options)


def open_gcp_signer(
    uri: str,
    passphrase: Passphrase | None = None,
    *,
    connect: Connect = _connect,
) -> RemoteSigner:
    """The signer of `gcpkms:projects/…/cryptoKeyVersions/N`. Raises MalformedConfigError or SignerError."""
    del passphrase  # the SDK finds credentials itself
    match = _KEY.fullmatch(uri.removeprefix(SCHEME))
    if not match:
        raise MalformedConfigError(
            f"signer '{SCHEME}…' names no version of a key, want {SCHEME}projects/P/locations/L/keyRings/R/"
            "cryptoKeys/K/cryptoKeyVersions/N",
            member="signer",
        )
    name, endpoint = match[1], match[2]
    return RemoteSigner(lambda: _GcpKey(uri, name, connect(endpoint)), _failure)


class _GcpKey:
    """See `Service`."""

    def __init__(self, uri: str, name: str, client: kms_v1.KeyManagementServiceClient) -> None:
        self.uri = uri
        self._name, self._client = name, client
        with closed_on_error(self):
            self.public_key = _public_key(client, name)

    def sign(self, message: bytes) -> bytes:
        request: dict[str, Any] = {"name": self._name}
        if self.public_key.algorithm == ECDSA_P256:
            digest = sha256(message).digest()
            request |= {"digest": {"sha256": digest}, "digest_crc32c": google_crc32c.value(digest)}
        else:
            request |= {"data": message, "data_crc32c": google_crc32c.value(message)}
        answer = self._client.asymmetric_sign(request=request, retry=None, timeout=READ_TIMEOUT_S)
        if answer.name != self._name:
            raise SignerError("the answer of Google Cloud KMS has no signature of the key that was asked")
        arrived = answer.verified_digest_crc32c or answer.verified_data_crc32c
        if not arrived or google_crc32c.value(answer.signature) != answer.signature_crc32c:
            raise SignerError("bytes to or from Google Cloud KMS were damaged on their way", retryable=True)
        return bytes(answer.signature)

    def close(self) -> None:
        self._client.transport.close()  # type: ignore[no-untyped-call]


def _public_key(client: kms_v1.KeyManagementServiceClient, name: str) -> PublicKey:
    ask = partial(client.get_public_key, retry=None, timeout=READ_TIMEOUT_S)
    try:
        answer = ask(request={"name": name})
        data, checksum = answer.pem.encode(), answer.pem_crc32c
    except BadRequest:  # what the service says to asking for a post-quantum key in PEM
        answer = ask(request={"name": name, "public_key_format": _FORMAT.NIST_PQC})
        data, checksum = answer.public_key.data, answer.public_key.crc32c_checksum
    if answer.name != name or google_crc32c.value(data) != checksum:
        raise SignerError("the answer of Google Cloud KMS has no public key of the key that was asked")
    try:
        key = load_public_key(_spki(answer.algorithm, data))
    except MalformedSignatureError:
        key = None
    if key is None or _ALGORITHMS.get(key.algorithm) != answer.algorithm:
        raise SignerError(
            f"the key is for {_VERSION(answer.algorithm).name}, want one of {', '.join(_ALGORITHMS)}"
        )
    return key


def _spki(algorithm: int, data: bytes) -> bytes:
    """What `load_public_key` takes: a post-quantum key comes bare. Raises MalformedSignatureError."""
    if algorithm not in {_VERSION.PQ_SIGN_ML_DSA_44, _VERSION.PQ_SIGN_ML_DSA_65}:
        return data
    try:
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey, MLDSA65PublicKey
    except ImportError:  # cryptography before it had FIPS 204
        raise MalformedSignatureError("the installed cryptography has no ML-DSA") from None
    kind = MLDSA44PublicKey if algorithm == _VERSION.PQ_SIGN_ML_DSA_44 else MLDSA65PublicKey
    return kind.from_public_bytes(data).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _failure(error: Exception) -> SignerError:
    """Names the kind of failure alone: the service's texts can repeat what was sent to it."""
    kind = type(error).__name__
    code = getattr(error, "code", None)
    if isinstance(error, GoogleAPICallError) and isinstance(code, int):
        message = f"refused by Google Cloud KMS: {kind} (HTTP {code})"
        return SignerError(message, retryable=may_pass(code), status=code)
    unreached = isinstance(error, RequestException | TransportError)
    what = "no connection to" if unreached else "cannot ask"
    return SignerError(f"{what} Google Cloud KMS: {kind}", retryable=unreached)
