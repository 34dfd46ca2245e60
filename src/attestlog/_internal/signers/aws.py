"""Keys of AWS KMS: `awskms:` and a key id, alias or ARN.

The message itself is sent (RAW), and the service hashes it: the same on the service and its emulators, for
every algorithm. What is signed here is far below the 4,096 bytes that the service takes. Credentials, region
and endpoint are the SDK's affair: environment, profile or instance role.
"""

from __future__ import annotations

import re
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as UnreachedError

from attestlog._internal.core.signature import PublicKey, load_public_key
from attestlog._internal.net import may_pass
from attestlog._internal.signers.contract import Passphrase
from attestlog._internal.signers.remote import (
    CONNECT_TIMEOUT_S,
    READ_TIMEOUT_S,
    RemoteSigner,
    closed_on_error,
)
from attestlog.errors import MalformedConfigError, MalformedSignatureError, SignerError

SCHEME: Final = "awskms:"

_ALGORITHMS: Final = {
    "ECDSA-P256-SHA256": "ECDSA_SHA_256",
    "Ed25519": "ED25519_SHA_512",
    "ML-DSA-44": "ML_DSA_SHAKE_256",
    "ML-DSA-65": "ML_DSA_SHAKE_256",
}
_KEY: Final = re.compile(r"(?:arn:aws[a-z-]*:kms:([a-z0-9-]+):\d{12}:)?[A-Za-z0-9/_-]{1,256}")
_ERROR_CODE: Final = re.compile(r"[A-Za-z.]{1,80}")
_PASSING: Final = frozenset(
    "Throttling ThrottlingException TooManyRequestsException RequestLimitExceeded LimitExceededException "
    "DependencyTimeoutException KeyUnavailableException KMSInternalException".split()
)
"""Error codes that waiting may end, beside those of such an HTTP status."""


def open_aws_signer(uri: str, passphrase: Passphrase | None = None) -> RemoteSigner:
    """The signer of `awskms:KEY`. Raises MalformedConfigError or SignerError."""
    del passphrase  # the SDK finds credentials itself
    key = uri.removeprefix(SCHEME)
    match = _KEY.fullmatch(key)
    if not match:
        raise MalformedConfigError(
            f"signer '{SCHEME}…' names no key, want a key id, an alias or an ARN", member="signer"
        )
    return RemoteSigner(lambda: _AwsKey(key, match[1]), _failure)


class _AwsKey:
    """See `Service`."""

    def __init__(self, key: str, region: str | None) -> None:
        config = Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"total_max_attempts": 1},  # RemoteSigner tries again
        )
        # A session of its own: the default one is shared by the whole process, threads and all.
        self._client = boto3.session.Session().client("kms", region_name=region, config=config)
        with closed_on_error(self._client):
            answer = self._client.get_public_key(KeyId=key)
            self.public_key = _public_key(answer)
        # An alias can be turned to another key at any time; the ARN of a key cannot.
        self._arn = str(answer["KeyId"])
        self.uri = SCHEME + self._arn
        self._algorithm = _ALGORITHMS[self.public_key.algorithm]

    def sign(self, message: bytes) -> bytes:
        answer = self._client.sign(
            KeyId=self._arn, Message=message, MessageType="RAW", SigningAlgorithm=self._algorithm
        )
        if answer.get("KeyId") != self._arn or not isinstance(answer.get("Signature"), bytes):
            raise SignerError("AWS KMS answered with no signature of the key that was asked")
        return bytes(answer["Signature"])

    def close(self) -> None:
        self._client.close()


def _public_key(answer: dict[str, Any]) -> PublicKey:
    if answer.get("KeyUsage") != "SIGN_VERIFY":
        raise SignerError(f"the key is for {answer.get('KeyUsage')}, want SIGN_VERIFY")
    try:
        key = load_public_key(answer["PublicKey"])
    except (KeyError, MalformedSignatureError):
        raise SignerError(
            f"the key is of kind {answer.get('KeySpec')}, want one of {', '.join(_ALGORITHMS)}"
        ) from None
    if _ALGORITHMS.get(key.algorithm) not in answer.get("SigningAlgorithms", ()):
        raise SignerError(f"the key does not sign with {key.algorithm}")
    return key


def _failure(error: Exception) -> SignerError:
    """Names the kind of failure alone: the service's texts can repeat what was sent to it."""
    if isinstance(error, ClientError):
        found = str(error.response.get("Error", {}).get("Code"))
        code = found if _ERROR_CODE.fullmatch(found) else "an error without a code"
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        passing = code in _PASSING or (isinstance(status, int) and may_pass(status))
        return SignerError(f"AWS KMS refused: {code} (HTTP {status})", retryable=passing, reason=code)
    unreached = isinstance(error, HTTPClientError | UnreachedError)
    return SignerError(
        f"AWS KMS {'was not reached' if unreached else 'cannot be asked'}: {type(error).__name__}",
        retryable=unreached, reason=type(error).__name__,
    )  # fmt: skip
