"""Keys of OpenBao's (or Vault's) transit engine: `openbao:MOUNT/KEY`, `openbao:MOUNT/KEY?version=N`.

A key's version is pinned at opening: rotating it in the service must not change who signs. Where the
service is and who asks stands in the environment, as for its own client: BAO_ADDR, BAO_TOKEN, BAO_CACERT and
BAO_NAMESPACE, or the same beginning with VAULT_. The token is read for each request, so one that an agent
renews in BAO_TOKEN_FILE is taken up.
"""

from __future__ import annotations

import json
import os
import re
from base64 import b64decode, b64encode
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from attestlog._internal.core.signature import ECDSA_P256, ED25519, PublicKey, load_public_key, public_key
from attestlog._internal.net import Client, Limits, NoAnswerError, may_pass, parse_url, read_token, trusting
from attestlog._internal.signers.contract import Passphrase
from attestlog._internal.signers.remote import (
    CONNECT_TIMEOUT_S,
    READ_TIMEOUT_S,
    TIMEOUT_S,
    RemoteSigner,
    closed_on_error,
)
from attestlog.errors import MalformedConfigError, MalformedSignatureError, SignerError

SCHEME: Final = "openbao:"
ANSWER_SIZE_MAX_BYTES: Final = 1 << 20
"""A key's description with thousands of versions; whoever answers with more is not the service."""

_KEY: Final = re.compile(r"([A-Za-z0-9._/-]+)/([A-Za-z0-9._-]+)(?:\?version=([1-9][0-9]{0,8}))?")
_KINDS: Final = {"ecdsa-p256": ECDSA_P256, "ed25519": ED25519}


def open_openbao_signer(uri: str, passphrase: Passphrase | None = None) -> RemoteSigner:
    """The signer of `openbao:MOUNT/KEY`. Raises MalformedConfigError or SignerError."""
    del passphrase  # the token stands in the environment
    match = _KEY.fullmatch(uri.removeprefix(SCHEME))
    if not match or {"", ".", ".."} & set(f"{match[1]}/{match[2]}".split("/")):
        raise MalformedConfigError(
            f"signer '{SCHEME}…' names no key, want {SCHEME}MOUNT/KEY or {SCHEME}MOUNT/KEY?version=N",
            member="signer",
        )
    mount, name, version = match[1], match[2], match[3]
    pinned = int(version) if version else None
    return RemoteSigner(lambda: _TransitKey(mount, name, pinned), _failure)


class _TransitKey:
    """See `Service`."""

    def __init__(self, mount: str, name: str, version: int | None) -> None:
        self._client = _client()
        with closed_on_error(self._client):
            described = _ask(self._client, "GET", f"{mount}/keys/{name}")
            self._version = version if version is not None else described.get("latest_version")
            self.public_key = _public_key(described, self._version)
        self._path = f"{mount}/sign/{name}"
        self.uri = f"{SCHEME}{mount}/{name}?version={self._version}"

    def sign(self, message: bytes) -> bytes:
        # For ECDSA the service hashes the message, with SHA-256 unless told otherwise.
        asked = {
            "input": b64encode(message).decode(),
            "key_version": self._version,
            "hash_algorithm": "sha2-256",
            "prehashed": False,
            "marshaling_algorithm": "asn1",
        }
        signature = _ask(self._client, "POST", self._path, asked).get("signature")
        prefix = f"vault:v{self._version}:"
        if not isinstance(signature, str) or not signature.startswith(prefix):
            raise SignerError(f"OpenBao answered with no signature of version {self._version} of the key")
        try:
            return b64decode(signature.removeprefix(prefix), validate=True)
        except ValueError:
            raise SignerError("OpenBao answered with a signature that is not base64") from None

    def close(self) -> None:
        self._client.close()


def _public_key(described: dict[str, Any], version: object) -> PublicKey:
    kind, versions = described.get("type"), described.get("keys")
    if kind not in _KINDS:
        raise SignerError(f"the key is of kind {kind}, want one of {', '.join(_KINDS)}")
    if not isinstance(versions, dict) or not isinstance(versions.get(str(version)), dict):
        raise SignerError(f"the key has no version {version}")
    text = str(versions[str(version)].get("public_key"))
    try:
        if _KINDS[kind] == ED25519:
            return public_key(Ed25519PublicKey.from_public_bytes(b64decode(text, validate=True)))
        return load_public_key(text.encode())
    except (ValueError, MalformedSignatureError):
        raise SignerError("OpenBao answered with a public key that is none") from None


def _client() -> Client:
    url = parse_url(_setting("ADDR") or "https://127.0.0.1:8200", what="BAO_ADDR", member="signer")
    authority = _setting("CACERT")
    return Client(
        url,
        Limits(CONNECT_TIMEOUT_S, READ_TIMEOUT_S, TIMEOUT_S),
        headers={"x-vault-request": "true"},
        tls=trusting(authority, what="BAO_CACERT", member="signer") if authority else None,
    )


def _ask(client: Client, method: str, path: str, asked: dict[str, Any] | None = None) -> dict[str, Any]:
    """The `data` member of the answer. Raises SignerError, which repeats nothing of what was answered."""
    headers, content = {"content-type": "application/json"}, None
    if token := _token():
        headers["x-vault-token"] = token
    if namespace := _setting("NAMESPACE"):
        headers["x-vault-namespace"] = namespace
    if asked is not None:
        content = json.dumps(asked).encode()
    status, answer = client.ask(method, f"v1/{path}", ANSWER_SIZE_MAX_BYTES, content=content, headers=headers)
    if status != 200:
        raise SignerError(f"OpenBao refused: HTTP {status}", retryable=may_pass(status), status=status)
    try:
        data = json.loads(answer)["data"]
    except (ValueError, KeyError, TypeError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise SignerError("OpenBao answered with no data")
    return data


def _failure(error: Exception) -> SignerError:
    if isinstance(error, NoAnswerError):
        return SignerError(f"OpenBao {error}", retryable=error.retryable)
    return SignerError(f"OpenBao cannot be asked: {type(error).__name__}")


def _setting(name: str) -> str | None:
    return os.environ.get(f"BAO_{name}") or os.environ.get(f"VAULT_{name}") or None


def _token() -> str | None:
    path = _setting("TOKEN_FILE")
    if path is None:
        return _setting("TOKEN")
    try:
        return read_token(path)
    except MalformedConfigError as error:  # an agent that renews it may write it again
        raise SignerError(error.message, path=path) from None
