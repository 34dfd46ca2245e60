"""What is particular to each service that holds keys: names that move, versions, refusals, wrong answers.

AWS is an emulator, OpenBao the real server, each killed and started again here; Google and Azure are fakes
of ours. Refusals that no emulator makes are answered by a fake in its place.
"""

import base64
import json
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA65PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.support.fakes import (
    Answer,
    Fake,
    FakeAzure,
    FakeGcp,
    MadeUpCredential,
    RewiredTransport,
    gcp_client,
)
from tests.support.logs import config_file
from tests.support.services import AWS_ENVIRONMENT, Ministack, OpenBao, Servers

from attestlog._internal.cli import main
from attestlog._internal.core.signature import ECDSA_P256
from attestlog._internal.signers import Signer, open_signer
from attestlog._internal.signers.asking import ask
from attestlog._internal.signers.azure import open_azure_signer
from attestlog._internal.signers.gcp import open_gcp_signer
from attestlog._internal.signers.remote import RemoteSigner
from attestlog.errors import AttestlogError, MalformedConfigError, SignerError

Environment = pytest.MonkeyPatch
AnySigner = TypeVar("AnySigner", bound=Signer)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    started = Servers(tmp_path_factory.mktemp("servers"))
    yield started
    started.stop()


@pytest.fixture
def aws(monkeypatch: Environment, servers: Servers) -> Ministack:
    ask_aws(monkeypatch, servers.ministack.url)
    return servers.ministack


@pytest.fixture
def bao(monkeypatch: Environment, servers: Servers) -> OpenBao:
    ask_bao(monkeypatch, servers.openbao.url, servers.openbao.token)
    return servers.openbao


@pytest.fixture
def gcp() -> Iterator[FakeGcp]:
    fake = FakeGcp()
    yield fake
    fake.close()


@pytest.fixture
def azure() -> Iterator[FakeAzure]:
    fake = FakeAzure()
    yield fake
    fake.close()


class Refusing(Fake):
    """Answers nothing that a service would."""

    def answer(self, method: str, path: str, body: Any) -> Answer:
        raise NotImplementedError


@pytest.fixture
def refusing() -> Iterator[Refusing]:
    fake = Refusing()
    yield fake
    fake.close()


def ask_aws(environment: Environment, url: str) -> None:
    for name, value in (AWS_ENVIRONMENT | {"AWS_ENDPOINT_URL_KMS": url}).items():
        environment.setenv(name, value)


def ask_bao(environment: Environment, url: str, token: str) -> None:
    environment.setenv("BAO_ADDR", url)
    environment.setenv("BAO_TOKEN", token)


_open: list[Signer] = []


def opened(uri: str) -> Signer:
    return kept(open_signer(uri))


def kept(signer: AnySigner) -> AnySigner:
    """Closed after the test."""
    _open.append(signer)
    return signer


@pytest.fixture(autouse=True)
def closing() -> Iterator[None]:
    yield
    while _open:
        _open.pop().close()


def gcp_signer(fake: FakeGcp, version: int = 1) -> RemoteSigner:
    uri = f"gcpkms:{fake.KEY}/{version}"
    return kept(open_gcp_signer(uri, connect=lambda endpoint: gcp_client(fake.port)))


def azure_signer(fake: FakeAzure, name: str = "k/a1") -> RemoteSigner:
    def options() -> dict[str, Any]:
        return {"credential": MadeUpCredential(), "transport": RewiredTransport(fake.port)}

    return kept(open_azure_signer(f"azurekms:{fake.VAULT}/keys/{name}", options=options))


def refusal(work: Callable[[], object]) -> SignerError:
    """The SignerError it ends in: with no cause of another's making, and no secret."""
    with pytest.raises(SignerError) as caught:
        work()
    error = caught.value
    assert error.__cause__ is None
    told = f"{error} {error.evidence()}"
    secrets = [AWS_ENVIRONMENT["AWS_SECRET_ACCESS_KEY"], MadeUpCredential.TOKEN, "s.made-up-token"]
    assert not any(secret in told for secret in secrets)
    return error


# --- AWS ---


def test_an_alias_is_resolved_once_and_may_be_turned_to_another_key_afterwards(aws: Ministack) -> None:
    first, second = aws.make_key(), aws.make_key()
    aws.client().create_alias(AliasName="alias/log", TargetKeyId=first)
    signer = opened("awskms:alias/log")
    assert signer.uri == f"awskms:{first}"
    aws.client().update_alias(AliasName="alias/log", TargetKeyId=second)
    signer.public_key.verify(ask(signer, b"message"), b"message")
    assert opened(signer.uri).public_key == signer.public_key
    aws.client().delete_alias(AliasName="alias/log")


def test_a_key_of_another_kind_or_none_is_refused(aws: Ministack) -> None:
    for spec in ("ECC_NIST_P384", "RSA_2048"):
        uri = f"awskms:{aws.make_key(spec)}"
        error = refusal(partial(opened, uri))
        assert "want one of" in error.message
        assert not error.retryable
    error = refusal(lambda: opened("awskms:alias/nobody"))
    assert (error.reason, error.retryable) == ("NotFoundException", False)


def test_a_disabled_key_does_not_sign_until_it_is_enabled(aws: Ministack) -> None:
    key = aws.make_key()
    signer = opened(f"awskms:{key}")
    aws.client().disable_key(KeyId=key)
    error = refusal(lambda: signer.sign(b"message"))
    assert (error.reason, error.retryable) == ("DisabledException", False)
    aws.client().enable_key(KeyId=key)
    signer.public_key.verify(ask(signer, b"message"), b"message")


def test_the_emulator_stopped_and_started_again_signs_with_the_same_key(
    tmp_path: Path, monkeypatch: Environment
) -> None:
    server = Ministack(tmp_path)
    try:
        server.start()
        ask_aws(monkeypatch, server.url)
        signer = opened(f"awskms:{server.make_key()}")
        server.stop()
        assert refusal(lambda: signer.sign(b"message")).retryable
        server.start()
        signer.public_key.verify(ask(signer, b"message"), b"message")
        server.stop(kill=True)  # it forgets its keys: that is not an outage
        server.start()
        signer.public_key.verify(ask(signer, b"message"), b"message")
    finally:
        server.stop(kill=True)


@pytest.mark.parametrize(
    "status, code, retryable",
    [
        (400, "AccessDeniedException", False),
        (400, "ThrottlingException", True),
        (400, "ExpiredTokenException", False),
        (400, "KMSInvalidStateException", False),
        (400, "DependencyTimeoutException", True),
        (500, "KMSInternalException", True),
        (503, "Surprise", True),
        (400, f"Text with {AWS_ENVIRONMENT['AWS_SECRET_ACCESS_KEY']}", False),
    ],
)
def test_what_aws_refuses_is_named_and_only_what_may_pass_is_asked_again(
    refusing: Refusing, monkeypatch: Environment, status: int, code: str, retryable: bool
) -> None:
    ask_aws(monkeypatch, refusing.url)
    refusing.instead = lambda method, path, body: (
        status,
        {"__type": code, "message": f"the secret is {AWS_ENVIRONMENT['AWS_SECRET_ACCESS_KEY']}"},
        {},
    )
    error = refusal(lambda: opened("awskms:alias/log"))
    assert error.retryable is retryable


def test_a_throttled_signature_is_asked_for_once_more(aws: Ministack, monkeypatch: Environment) -> None:
    """A fake in front of the emulator: it throttles the first request, or all of them."""
    signer = opened(f"awskms:{aws.make_key()}")
    good = signer.sign(b"message")
    arn = signer.uri.removeprefix("awskms:")
    answers: list[Answer] = []
    fake = Refusing()
    try:
        ask_aws(monkeypatch, fake.url)
        spki = base64.b64encode(signer.public_key.spki).decode()
        described = {
            "KeyId": arn, "PublicKey": spki, "KeyUsage": "SIGN_VERIFY", "KeySpec": "ECC_NIST_P256",
            "SigningAlgorithms": ["ECDSA_SHA_256"],
        }  # fmt: skip
        fake.instead = lambda method, path, body: answers.pop(0)
        throttled: Answer = (400, {"__type": "ThrottlingException"}, {})
        signed: Answer = (200, {"KeyId": arn, "Signature": base64.b64encode(good).decode()}, {})
        answers += [(200, described, {}), throttled, signed]
        behind = opened(f"awskms:{arn}")
        assert behind.sign(b"message") == good
        answers += [throttled, throttled, signed]
        assert refusal(lambda: behind.sign(b"message")).retryable
        assert len(answers) == 1
        answers[:] = [(200, {"KeyId": arn.replace("key/", "key/x"), "Signature": "AAAA"}, {})]
        assert not refusal(lambda: behind.sign(b"message")).retryable
        for wrong in ({}, {"KeyId": arn}, b"not json", {"KeyId": arn, "Signature": 7}):
            answers[:] = [(200, wrong, {})] * 2
            refusal(lambda: behind.sign(b"message"))
    finally:
        fake.close()


@pytest.mark.parametrize(
    "kind, algorithm", [(MLDSA44PrivateKey, "ML-DSA-44"), (MLDSA65PrivateKey, "ML-DSA-65")]
)
def test_a_post_quantum_key_of_aws_is_asked_for_the_message_itself(
    refusing: Refusing, monkeypatch: Environment, kind: Any, algorithm: str
) -> None:
    """No emulator has such keys: this shows what is asked, and what is made of an answer."""
    key, arn = kind.generate(), "arn:aws:kms:eu-central-1:000000000000:key/1"
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    described = {
        "KeyId": arn, "PublicKey": base64.b64encode(spki).decode(), "KeyUsage": "SIGN_VERIFY",
        "KeySpec": algorithm.replace("-", "_"), "SigningAlgorithms": ["ML_DSA_SHAKE_256"],
    }  # fmt: skip

    def answer(method: str, path: str, body: Any) -> Answer:
        if "Message" not in body:
            return 200, described, {}
        assert (body["MessageType"], body["SigningAlgorithm"]) == ("RAW", "ML_DSA_SHAKE_256")
        signature = key.sign(base64.b64decode(body["Message"]))
        return 200, {"KeyId": arn, "Signature": base64.b64encode(signature).decode()}, {}

    ask_aws(monkeypatch, refusing.url)
    refusing.instead = answer
    signer = opened(f"awskms:{arn}")
    assert signer.public_key.algorithm == algorithm
    signer.public_key.verify(ask(signer, b"message"), b"message")


# --- OpenBao ---


def test_a_version_is_pinned_and_rotation_changes_nothing(bao: OpenBao) -> None:
    path = bao.make_key("rotated")
    signer = opened(f"openbao:{path}")
    assert signer.uri == "openbao:transit/rotated?version=1"
    bao.ask("POST", f"{path.replace('/', '/keys/')}/rotate")
    signer.public_key.verify(ask(signer, b"message"), b"message")
    second = opened(f"openbao:{path}")
    assert second.uri == "openbao:transit/rotated?version=2"
    assert second.public_key != signer.public_key
    assert opened(signer.uri).public_key == signer.public_key
    assert not refusal(lambda: opened(f"openbao:{path}?version=3")).retryable


def test_a_version_that_the_service_no_longer_signs_with(bao: OpenBao) -> None:
    path = bao.make_key("retired")
    signer = opened(f"openbao:{path}")
    bao.ask("POST", "transit/keys/retired/rotate")
    bao.ask("POST", "transit/keys/retired/config", {"min_encryption_version": 2})
    error = refusal(lambda: signer.sign(b"message"))
    assert (error.status, error.retryable) == (
        500,
        True,
    )  # as the server has it, not to be told from an outage


def test_a_key_of_a_kind_that_signs_no_entries(bao: OpenBao) -> None:
    for kind in ("rsa-2048", "ecdsa-p384", "aes256-gcm96"):
        path = bao.make_key(kind, kind)
        assert "want one of" in refusal(partial(opened, f"openbao:{path}")).message


def test_a_token_that_is_not_allowed_to_or_none(
    bao: OpenBao, monkeypatch: Environment, tmp_path: Path
) -> None:
    path = bao.make_key("guarded")
    signer = opened(f"openbao:{path}")
    monkeypatch.setenv("BAO_TOKEN", "s.made-up-token")
    error = refusal(lambda: signer.sign(b"message"))
    assert (error.status, error.retryable) == (403, False)
    monkeypatch.delenv("BAO_TOKEN")
    assert refusal(lambda: signer.sign(b"message")).status == 403
    # A token that an agent renews in a file is taken up without opening anew.
    token = tmp_path / "token"
    monkeypatch.setenv("BAO_TOKEN_FILE", str(token))
    assert "cannot be read" in refusal(lambda: signer.sign(b"message")).message
    token.write_text(f"{bao.token}\n")
    signer.public_key.verify(ask(signer, b"message"), b"message")


def test_the_server_killed_sealed_and_unsealed_signs_again(tmp_path: Path, monkeypatch: Environment) -> None:
    server = OpenBao(tmp_path, kept=True)
    try:
        server.start()
        ask_bao(monkeypatch, server.url, server.token)
        signer = opened(f"openbao:{server.make_key('log')}")
        server.stop(kill=True)
        assert refusal(lambda: signer.sign(b"message")).retryable
        server.start(unseal=False)
        error = refusal(lambda: signer.sign(b"message"))
        assert (error.status, error.retryable) == (503, True)
        server.unseal()
        signer.public_key.verify(ask(signer, b"message"), b"message")
        os.kill(server.pid, signal.SIGSTOP)
        assert isinstance(signer, RemoteSigner)
        signer.timeout_s = 0.5
        try:
            assert refusal(lambda: signer.sign(b"message")).retryable
        finally:
            os.kill(server.pid, signal.SIGCONT)
        signer.timeout_s = 10
        signer.public_key.verify(ask(signer, b"message"), b"message")
    finally:
        server.stop(kill=True)


def described(**changes: Any) -> dict[str, Any]:
    pem = SPKI_PEM
    return {"data": {"type": "ecdsa-p256", "latest_version": 1, "keys": {"1": {"public_key": pem}}} | changes}


SPKI_PEM = (
    "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt"
    "\n6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==\n-----END PUBLIC KEY-----\n"
)


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"not json", b"[" * 100_000, [], {"data": None}, {"data": []}, described(keys=None),
        described(keys={}), described(keys={"1": "x"}), described(keys={"1": {"public_key": "x"}}),
        described(type="ed25519"), described(type=None), described(latest_version=None),
        b" " * ((1 << 20) + 1),
    ],
    ids=range(14),
)  # fmt: skip
def test_a_description_of_a_key_that_is_none(
    refusing: Refusing, monkeypatch: Environment, answer: object
) -> None:
    ask_bao(monkeypatch, refusing.url, "s.made-up-token")
    refusing.instead = lambda method, path, body: (200, answer, {})
    assert not refusal(lambda: opened("openbao:transit/log")).retryable


def test_a_description_of_the_largest_size_is_read(refusing: Refusing, monkeypatch: Environment) -> None:
    ask_bao(monkeypatch, refusing.url, "s.made-up-token")
    data = json.dumps(described()).encode()
    refusing.instead = lambda method, path, body: (200, data + b" " * ((1 << 20) - len(data)), {})
    assert opened("openbao:transit/log").public_key.algorithm == ECDSA_P256


@pytest.mark.parametrize("signature", [None, 7, "", "vault:v2:AAAA", "vault:v1:%%%", "AAAA"])
def test_a_signature_that_is_none(refusing: Refusing, monkeypatch: Environment, signature: object) -> None:
    ask_bao(monkeypatch, refusing.url, "s.made-up-token")
    refusing.instead = lambda method, path, body: (
        (200, described() if method == "GET" else {"data": {"signature": signature}}, {})
    )
    signer = opened("openbao:transit/log")
    assert not refusal(lambda: signer.sign(b"message")).retryable


@pytest.mark.parametrize(
    "status, retryable", [(307, False), (404, False), (408, True), (429, True), (502, True)]
)
def test_how_openbao_refuses(
    refusing: Refusing, monkeypatch: Environment, status: int, retryable: bool
) -> None:
    ask_bao(monkeypatch, refusing.url, "s.made-up-token")
    refusing.instead = lambda method, path, body: (status, {}, {"Location": "http://127.0.0.1:1/"})
    error = refusal(lambda: opened("openbao:transit/log"))
    assert (error.status, error.retryable) == (status, retryable)


@pytest.mark.parametrize(
    "name, value",
    [
        ("BAO_ADDR", "http://192.0.2.1:8200"),
        ("BAO_ADDR", "ftp://127.0.0.1"),
        ("BAO_ADDR", "https://user:s.made-up-token@127.0.0.1"),
        ("BAO_ADDR", "127.0.0.1:8200"),
        ("BAO_CACERT", "/nonexistent"),
    ],
)
def test_an_address_that_would_give_the_token_away_or_is_none(
    monkeypatch: Environment, name: str, value: str
) -> None:
    monkeypatch.setenv("BAO_ADDR", "https://127.0.0.1:1")
    monkeypatch.setenv(name, value)
    with pytest.raises(MalformedConfigError, match=name) as caught:
        opened("openbao:transit/log")
    assert "s.made-up-token" not in str(caught.value)


# --- Google Cloud, against a fake ---


def test_google_is_sent_a_digest_or_the_message_with_its_checksum(gcp: FakeGcp) -> None:
    for version, member in ((1, "digest"), (2, "data")):
        signer = gcp_signer(gcp, version)
        signer.public_key.verify(ask(signer, b"message"), b"message")
        sent = gcp.requests[-1][3]
        assert {member, f"{member}Crc32c"} <= sent.keys()


@pytest.mark.parametrize(
    "changes, retryable",
    [
        ({"name": "projects/p/locations/global/keyRings/r/cryptoKeys/other/cryptoKeyVersions/1"}, False),
        ({"signatureCrc32c": "1"}, True),
        ({"verifiedDigestCrc32c": False}, True),
        ({"signature": "%%%"}, True),
        ({"signatureCrc32c": []}, False),
    ],
)
def test_an_answer_of_google_that_is_damaged_or_anothers(
    gcp: FakeGcp, changes: dict[str, Any], retryable: bool
) -> None:
    signer = gcp_signer(gcp)

    def instead(method: str, path: str, body: Any) -> Answer:
        status, answer, headers = gcp.answer(method, path, body)
        return status, answer | changes, headers

    gcp.instead = instead
    assert refusal(lambda: signer.sign(b"message")).retryable is retryable


@pytest.mark.parametrize(
    "status, retryable", [(400, False), (403, False), (404, False), (429, True), (503, True)]
)
def test_how_google_refuses(gcp: FakeGcp, status: int, retryable: bool) -> None:
    signer = gcp_signer(gcp)
    text = f"the token is {MadeUpCredential.TOKEN}"
    gcp.instead = lambda method, path, body: (status, {"error": {"code": status, "message": text}}, {})
    error = refusal(lambda: signer.sign(b"message"))
    assert (error.status, error.retryable) == (status, retryable)


def test_a_google_key_that_signs_no_entries(gcp: FakeGcp) -> None:
    gcp.add_key(5, "EC_SIGN_P384_SHA384", generate_private_key(SECP384R1()))
    assert "want one of" in refusal(lambda: gcp_signer(gcp, 5)).message
    assert refusal(lambda: gcp_signer(gcp, 9)).status == 404
    gcp.instead = lambda method, path, body: (200, b"{", {})
    assert not refusal(lambda: gcp_signer(gcp)).retryable


# --- Azure, against a fake ---


def test_azures_newest_version_is_pinned_at_opening(azure: FakeAzure) -> None:
    signer = azure_signer(azure, "k")
    assert signer.uri == f"azurekms:{azure.VAULT}/keys/k/a1"
    azure.add_key("a2")
    signer.public_key.verify(ask(signer, b"message"), b"message")
    assert signer.public_key.algorithm == ECDSA_P256
    assert azure_signer(azure, "k").public_key != signer.public_key


def test_an_azure_key_of_another_curve(azure: FakeAzure) -> None:
    azure.curve = "P-256K"
    assert "want EC P-256" in refusal(lambda: azure_signer(azure)).message


@pytest.mark.parametrize("value", ["", "AAAA", "A" * 88])
def test_an_answer_of_azure_that_is_no_signature(azure: FakeAzure, value: str) -> None:
    signer = azure_signer(azure)
    azure.instead = lambda method, path, body: (200, {"kid": f"{azure.VAULT}/keys/k/a1", "value": value}, {})
    assert not refusal(lambda: signer.sign(b"message")).retryable


@pytest.mark.parametrize("status, retryable", [(403, False), (404, False), (429, True), (503, True)])
def test_how_azure_refuses(azure: FakeAzure, status: int, retryable: bool) -> None:
    signer = azure_signer(azure)
    text = f"the token is {MadeUpCredential.TOKEN}"
    azure.instead = lambda method, path, body: (status, {"error": {"code": "X", "message": text}}, {})
    error = refusal(lambda: signer.sign(b"message"))
    assert (error.status, error.retryable) == (status, retryable)


# --- all ---


@pytest.mark.parametrize("scheme", ["awskms", "openbao"])
def test_from_the_command_line_to_a_log_that_a_service_signs(
    scheme: str, request: pytest.FixtureRequest, tmp_path: Path, own_home: Path, monkeypatch: Environment
) -> None:
    """Two keys in the service; the configuration has their full names, and no secret."""
    if scheme == "awskms":
        aws: Ministack = request.getfixturevalue("aws")
        uris = [f"awskms:{aws.make_key()}", f"awskms:{aws.make_key('ECC_NIST_EDWARDS25519')}"]
        pinned = uris
    else:
        bao: OpenBao = request.getfixturevalue("bao")
        uris = [f"openbao:{bao.make_key('cli-entries')}", f"openbao:{bao.make_key('cli-check', 'ed25519')}"]
        pinned = [f"{uri}?version=1" for uri in uris]
    log = str(tmp_path / "log")
    keys = ["--signer", uris[0], "--checkpoint-signer", uris[1]]
    assert main(["init", log, "--origin", "example.com/service", *keys]) == 0
    action = ["--event-type", "ACTION", "--action-type", "deploy", "--actor-id", "agent-7"]
    assert main(["append", log, *action]) == 0
    assert main(["verify", log]) == 0
    config = config_file(tmp_path / "log").read_text()
    assert all(uri in config for uri in pinned)
    kept = b"".join(path.read_bytes() for path in (tmp_path / "log").rglob("*") if path.is_file())
    assert AWS_ENVIRONMENT["AWS_SECRET_ACCESS_KEY"].encode() not in kept
    assert os.environ.get("BAO_TOKEN", "none given").encode() not in kept
    assert not list(own_home.rglob("*.pem"))  # no key file was made
    # Its service gone, appending fails in time; nothing is half-written.
    if scheme == "awskms":
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1")
    else:
        monkeypatch.setenv("BAO_ADDR", "http://127.0.0.1:1")
    assert main(["append", log, *action]) == 4
    assert main(["verify", log]) == 0


@pytest.mark.parametrize(
    "uri",
    [
        "awskms:", "awskms:a b", "awskms:arn:aws:s3:::bucket", "awskms:https://user:secret@host/",
        "gcpkms:", "gcpkms:projects/p/locations/l/keyRings/r/cryptoKeys/k", "gcpkms:k?secret=x",
        "azurekms:", "azurekms:k", "azurekms:http://v.vault.azure.net/keys/k", "azurekms:https://v/keys/",
        "azurekms:https://user:secret@v/keys/k", "openbao:", "openbao:key", "openbao:transit/k?version=0",
        "openbao:transit/../sys/seal", "openbao:transit//k", "openbao:transit/k?token=secret",
    ],
)  # fmt: skip
def test_a_uri_that_names_no_key_is_not_repeated(uri: str) -> None:
    with pytest.raises(MalformedConfigError, match="names no") as caught:
        opened(uri)
    assert "secret" not in str(caught.value)


def test_no_credentials_at_all_is_an_error_of_ours(monkeypatch: Environment, tmp_path: Path) -> None:
    for name in [*AWS_ENVIRONMENT, "GOOGLE_APPLICATION_CREDENTIALS"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    for uri in ("awskms:arn:aws:kms:eu-central-1:000000000000:key/1", f"gcpkms:{FakeGcp.KEY}/1"):
        with pytest.raises(AttestlogError) as caught:
            opened(uri)
        assert isinstance(caught.value, SignerError)
        assert json.dumps(caught.value.evidence())
