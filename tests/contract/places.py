"""Every place a signer's key can be in, for the tests that all of them must pass.

AWS is played by an emulator, OpenBao is the real server; Google and Azure are fakes of ours, which shows only
that our side and the vendor's client fit together. Before each stands a proxy that plays outages.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.support.fakes import FakeAzure, FakeGcp, MadeUpCredential, RewiredTransport, gcp_client
from tests.support.proxy import Proxy
from tests.support.services import AWS_ENVIRONMENT, Servers
from tests.support.tokens import PIN, SoftToken, softhsm, unload

from attestlog._internal.core.signature import ECDSA_P256, ED25519, ML_DSA_44, ML_DSA_65
from attestlog._internal.signers import Signer, open_signer
from attestlog._internal.signers.aws import open_aws_signer
from attestlog._internal.signers.azure import open_azure_signer
from attestlog._internal.signers.file import save_key
from attestlog._internal.signers.gcp import open_gcp_signer
from attestlog._internal.signers.openbao import open_openbao_signer
from attestlog._internal.signers.pkcs11 import make_pkcs11_key
from attestlog._internal.signers.private_keys import make_key

SECRETS = (AWS_ENVIRONMENT["AWS_SECRET_ACCESS_KEY"], MadeUpCredential.TOKEN)


@dataclass
class Place:
    """Two keys of one algorithm in one place."""

    algorithm: str
    uris: tuple[str, str]
    opener: Callable[[str], Signer]
    proxy: Proxy | None = None
    secrets: tuple[str, ...] = SECRETS
    opened: list[Signer] = field(default_factory=list)

    def open(self, index: int = 0) -> Signer:
        """The signer of one of the keys, closed after the test if not before."""
        signer = self.opener(self.uris[index])
        self.opened.append(signer)
        return signer

    def close(self) -> None:
        """Whatever a failing test leaves open."""
        for signer in self.opened:
            signer.close()


NAMES = (
    "file-p256", "file-ed25519", "pkcs11-p256", "pkcs11-ed25519", "awskms-p256", "awskms-ed25519",
    "openbao-p256", "openbao-ed25519", "gcpkms_fake-p256", "gcpkms_fake-ed25519", "gcpkms_fake-ml_dsa_44",
    "gcpkms_fake-ml_dsa_65", "azurekms_fake-p256",
)  # fmt: skip
REMOTE = tuple(name for name in NAMES if not name.startswith(("file", "pkcs11")))
FORKED = tuple(name for name in NAMES if not name.startswith("pkcs11"))
"""PKCS#11 does not outlive a fork: the child opens its own, which tests/hsm shows."""
_ALGORITHMS = {"p256": ECDSA_P256, "ed25519": ED25519, "ml_dsa_44": ML_DSA_44, "ml_dsa_65": ML_DSA_65}


@contextmanager
def place(name: str, servers: Servers, folder: Path, environment: pytest.MonkeyPatch) -> Iterator[Place]:
    """The place of that name, with new keys."""
    scheme, _, short = name.partition("-")
    with ExitStack() as undo:
        found = _MAKERS[scheme](_ALGORITHMS[short], _Around(servers, folder, environment, undo))
        undo.callback(found.close)
        yield found


@dataclass
class _Around:
    servers: Servers
    folder: Path
    environment: pytest.MonkeyPatch
    undo: ExitStack

    def proxy(self, port: int) -> Proxy:
        return self.undo.enter_context(Proxy(port))


def _file(algorithm: str, around: _Around) -> Place:
    uris = [save_key(make_key(algorithm), around.folder / f"{number}.pem", None).uri for number in (0, 1)]
    return Place(algorithm, (uris[0], uris[1]), open_signer)


def _pkcs11(algorithm: str, around: _Around) -> Place:
    token = SoftToken(around.folder / "softhsm", softhsm())
    token.initialise()
    for name, value in (token.environment | {"ATTESTLOG_PIN": PIN}).items():
        around.environment.setenv(name, value)
    around.undo.callback(unload)
    for label in ("a", "b"):
        make_pkcs11_key(token.uri(label), algorithm).close()
    return Place(algorithm, (token.uri("a"), token.uri("b")), open_signer, secrets=(*SECRETS, PIN))


def _aws(algorithm: str, around: _Around) -> Place:
    server = around.servers.ministack
    proxy = around.proxy(server.port)
    for name, value in (AWS_ENVIRONMENT | {"AWS_ENDPOINT_URL_KMS": proxy.url}).items():
        around.environment.setenv(name, value)
    spec = {ECDSA_P256: "ECC_NIST_P256", ED25519: "ECC_NIST_EDWARDS25519"}[algorithm]
    uris = [f"awskms:{server.make_key(spec)}" for _ in range(2)]
    return Place(algorithm, (uris[0], uris[1]), open_aws_signer, proxy)


def _openbao(algorithm: str, around: _Around) -> Place:
    server = around.servers.openbao
    proxy = around.proxy(server.port)
    around.environment.setenv("BAO_ADDR", proxy.url)
    around.environment.setenv("BAO_TOKEN", server.token)
    kind = {ECDSA_P256: "ecdsa-p256", ED25519: "ed25519"}[algorithm]
    uris = [f"openbao:{server.make_key(name, kind)}" for name in (uuid4().hex, uuid4().hex)]
    return Place(algorithm, (uris[0], uris[1]), open_openbao_signer, proxy, (*SECRETS, server.token))


def _gcp(algorithm: str, around: _Around) -> Place:
    fake = FakeGcp()
    around.undo.callback(fake.close)
    proxy = around.proxy(fake.port)
    first, other, name = {
        ECDSA_P256: (1, 3, "EC_SIGN_P256_SHA256"), ED25519: (2, 4, "EC_SIGN_ED25519"),
        ML_DSA_44: (5, 6, "PQ_SIGN_ML_DSA_44"), ML_DSA_65: (7, 8, "PQ_SIGN_ML_DSA_65"),
    }[algorithm]  # fmt: skip
    for version in (first, other):
        fake.add_key(version, name)

    opener = partial(open_gcp_signer, connect=lambda endpoint: gcp_client(proxy.port))
    return Place(algorithm, (f"gcpkms:{fake.KEY}/{first}", f"gcpkms:{fake.KEY}/{other}"), opener, proxy)


def _azure(algorithm: str, around: _Around) -> Place:
    fake = FakeAzure()
    around.undo.callback(fake.close)
    proxy = around.proxy(fake.port)
    fake.add_key("a2")

    def options() -> dict[str, Any]:
        return {"credential": MadeUpCredential(), "transport": RewiredTransport(proxy.port)}

    uris = (f"azurekms:{fake.VAULT}/keys/k/a1", f"azurekms:{fake.VAULT}/keys/k/a2")
    return Place(algorithm, uris, partial(open_azure_signer, options=options), proxy)


_MAKERS = {
    "file": _file,
    "pkcs11": _pkcs11,
    "awskms": _aws,
    "openbao": _openbao,
    "gcpkms_fake": _gcp,
    "azurekms_fake": _azure,
}
