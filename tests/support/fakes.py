"""Fakes of Google Cloud KMS and Azure Key Vault on loopback, for the services' own clients to talk to.

They answer as the services are documented to: what is shown with them is that our side and the vendor's
client fit together, not that the service agrees.
"""

import json
import re
import threading
import time
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import google_crc32c
from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import RequestsTransport
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA65PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.auth.credentials import AnonymousCredentials
from google.cloud import kms_v1
from google.cloud.kms_v1.services.key_management_service.transports import KeyManagementServiceRestTransport

Answer = tuple[int, Any, dict[str, str]]
"""Status, what JSON is made of (or bytes, sent as they are), headers."""


class Fake:
    """An HTTP server in threads of this process. `instead`, where it is set, answers instead of `answer`."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.instead: Callable[[str, str, Any], Answer] | None = None
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                pass

            def handle_any(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = fake.parse(content) if content else None
                fake.requests.append((self.command, self.path, dict(self.headers), body))
                status, answer, headers = (fake.instead or fake.answer)(self.command, self.path, body)
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = handle_any  # noqa: N815 - the server's own names

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def parse(self, content: bytes) -> Any:
        return json.loads(content)

    def answer(self, method: str, path: str, body: Any) -> Answer:
        raise NotImplementedError

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class FakeGcp(Fake):
    """Keys by the number of their version: `keys[N]` is (algorithm's name, private key)."""

    KEY = "projects/p/locations/global/keyRings/r/cryptoKeys/k/cryptoKeyVersions"

    def __init__(self) -> None:
        self.keys: dict[int, tuple[str, Any]] = {}
        super().__init__()
        self.add_key(1, "EC_SIGN_P256_SHA256")
        self.add_key(2, "EC_SIGN_ED25519")

    def add_key(self, version: int, algorithm: str, key: Any = None) -> None:
        makers = {
            "EC_SIGN_P256_SHA256": lambda: generate_private_key(SECP256R1()),
            "EC_SIGN_ED25519": Ed25519PrivateKey.generate,
            "PQ_SIGN_ML_DSA_44": MLDSA44PrivateKey.generate,
            "PQ_SIGN_ML_DSA_65": MLDSA65PrivateKey.generate,
        }
        self.keys[version] = (algorithm, key or makers[algorithm]())

    def answer(self, method: str, path: str, body: Any) -> Answer:
        match = re.match(rf"/v1/({self.KEY}/(\d+))(/publicKey|:asymmetricSign)", path)
        if not match or int(match[2]) not in self.keys:
            return 404, {"error": {"code": 404, "message": "no key", "status": "NOT_FOUND"}}, {}
        algorithm, key = self.keys[int(match[2])]
        if match[3] == "/publicKey":
            return self._public_key(match[1], algorithm, key, path)
        data = b64decode(body["digest"]["sha256"] if "digest" in body else body["data"])
        kind = "digest" if "digest" in body else "data"
        whole = int(body[f"{kind}Crc32c"]) == google_crc32c.value(data)
        signature = key.sign(data, ECDSA(Prehashed(SHA256()))) if kind == "digest" else key.sign(data)
        return 200, {
            "name": match[1], "signature": b64encode(signature).decode(),
            "signatureCrc32c": str(google_crc32c.value(signature)),
            f"verified{kind.capitalize()}Crc32c": whole, "protectionLevel": "HSM",
        }, {}  # fmt: skip

    def _public_key(self, name: str, algorithm: str, key: Any, path: str) -> Answer:
        public = key.public_key()
        described = {"name": name, "algorithm": algorithm, "protectionLevel": "HSM"}
        if algorithm.startswith("PQ_"):
            if "publicKeyFormat" not in path:
                error = {
                    "code": 400,
                    "message": "public_key_format is required",
                    "status": "INVALID_ARGUMENT",
                }
                return 400, {"error": error}, {}
            raw = public.public_bytes_raw()
            checked = {"data": b64encode(raw).decode(), "crc32cChecksum": str(google_crc32c.value(raw))}
            return 200, described | {"publicKeyFormat": "NIST_PQC", "publicKey": checked}, {}
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return 200, described | {"pem": pem.decode(), "pemCrc32c": str(google_crc32c.value(pem))}, {}


def gcp_client(port: int) -> kms_v1.KeyManagementServiceClient:
    """Google's own client, speaking to a fake in the clear."""
    transport = KeyManagementServiceRestTransport(
        host=f"127.0.0.1:{port}",
        url_scheme="http",
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
    )
    return kms_v1.KeyManagementServiceClient(transport=transport)


class FakeAzure(Fake):
    """One key, in versions: `keys[version]` is its private key."""

    VAULT = "https://made-up.vault.azure.net"

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {}
        self.curve = "P-256"
        super().__init__()
        self.add_key("a1")

    def add_key(self, version: str) -> None:
        self.keys[version] = generate_private_key(SECP256R1())

    def answer(self, method: str, path: str, body: Any) -> Answer:
        if "Authorization" not in self.requests[-1][2]:
            challenge = 'Bearer authorization="https://login.microsoftonline.com/t", resource="https://vault.azure.net"'
            return 401, {}, {"WWW-Authenticate": challenge}
        match = re.match(r"/keys/k(?:/([a-z0-9]+))?(/sign)?", path)
        version = (match[1] or list(self.keys)[-1]) if match else ""
        if match is None or version not in self.keys:
            return 404, {"error": {"code": "KeyNotFound", "message": "no key"}}, {}
        key, name = self.keys[version], f"{self.VAULT}/keys/k/{version}"
        if not match[2]:
            at = key.public_key().public_numbers()
            material = {"kid": name, "kty": "EC-HSM", "crv": self.curve, "key_ops": ["sign", "verify"]}
            material |= {"x": base64url(at.x.to_bytes(32, "big")), "y": base64url(at.y.to_bytes(32, "big"))}
            return 200, {"key": material, "attributes": {"enabled": True}}, {}
        digest = urlsafe_b64decode(body["value"] + "==")
        r, s = decode_dss_signature(key.sign(digest, ECDSA(Prehashed(SHA256()))))
        return 200, {"kid": name, "value": base64url(r.to_bytes(32, "big") + s.to_bytes(32, "big"))}, {}


def base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


class RewiredTransport(RequestsTransport):  # type: ignore[misc]
    """Azure's own transport; it insists on https, so the address is changed while a request is sent."""

    def __init__(self, port: int, **options: Any) -> None:
        super().__init__(**options)
        self._url = f"http://127.0.0.1:{port}"

    def send(self, request: Any, **options: Any) -> Any:
        url = request.url
        request.url = url.replace(FakeAzure.VAULT, self._url)
        try:
            return super().send(request, **options)
        finally:
            request.url = url


class MadeUpCredential:
    """A bearer token that nobody issued."""

    TOKEN = "made-up-azure-token"

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return AccessToken(self.TOKEN, int(time.time()) + 3_600)
