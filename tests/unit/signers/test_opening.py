"""Signers at their edges: files that are nearly keys, full disks, secrets in URIs, answers that are none."""

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.support.descriptors import open_below

from attestlog._internal.core.note import VerifierKey
from attestlog._internal.core.signature import ECDSA_P256, ED25519, PublicKey
from attestlog._internal.signers import open_signer, register_scheme
from attestlog._internal.signers.asking import ask, note_key, sign_message
from attestlog._internal.signers.file import save_key
from attestlog._internal.signers.private_keys import make_key
from attestlog.errors import ExistsError, KeyFileError, MalformedConfigError, MissingExtraError, SignerError
from attestlog.testing import FaultSigner, MemorySigner


@pytest.mark.parametrize("umask", [0o277, 0o377, 0o777])
def test_a_new_key_can_be_read_by_its_owner_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        signer = save_key(make_key(ED25519), tmp_path / "key.pem", None)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    assert open_signer(signer.uri).public_key == signer.public_key


def test_the_folder_of_a_new_key_is_the_owners_only(tmp_path: Path) -> None:
    save_key(make_key(ED25519), tmp_path / "keys" / "key.pem", None)
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_a_key_that_could_not_be_written_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a file would be taken for the log's key by whoever tries again."""
    path = tmp_path / "key.pem"

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(KeyFileError, match="cannot be written: No space left"):
            save_key(make_key(ECDSA_P256), path, None)
    assert not path.exists()
    assert open_below(tmp_path) == []
    save_key(make_key(ECDSA_P256), path, None)


def test_a_link_is_followed_for_reading_and_never_for_making(tmp_path: Path) -> None:
    made = save_key(make_key(ECDSA_P256), tmp_path / "real.pem", None)
    (tmp_path / "link.pem").symlink_to("real.pem")
    assert open_signer(f"file:{tmp_path}/link.pem").public_key == made.public_key
    (tmp_path / "dangling.pem").symlink_to("elsewhere.pem")
    with pytest.raises(ExistsError):
        save_key(make_key(ECDSA_P256), tmp_path / "dangling.pem", None)
    assert not (tmp_path / "elsewhere.pem").exists()
    (tmp_path / "real.pem").chmod(0o644)
    with pytest.raises(KeyFileError, match="0644"):
        open_signer(f"file:{tmp_path}/link.pem")


OtherKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed448PrivateKey


@pytest.mark.parametrize(
    "make",
    [
        lambda: rsa.generate_private_key(65_537, 2_048),
        lambda: ec.generate_private_key(ec.SECP384R1()),
        lambda: ec.generate_private_key(ec.SECP256K1()),
        ed448.Ed448PrivateKey.generate,
    ],
    ids=["RSA", "P-384", "secp256k1", "Ed448"],
)
def test_a_key_of_another_kind_is_refused_as_a_key_file(tmp_path: Path, make: Callable[[], OtherKey]) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(make().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="want one of ECDSA-P256-SHA256, Ed25519") as caught:
        open_signer(f"file:{path}")
    assert caught.value.path == str(path)


def test_no_descriptor_is_left_open_by_what_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "empty").touch(0o600)
    (tmp_path / "public").touch(0o644)
    for name in ("folder", "fifo", "empty", "public", "missing"):
        with pytest.raises(KeyFileError):
            open_signer(f"file:{tmp_path / name}")
    assert open_below(tmp_path) == []


@pytest.mark.parametrize("uri", ["pkcs12:token=t;object=o?pin-value=1234", "vaults://user:1234@host/key"])
def test_an_unknown_scheme_does_not_repeat_what_may_hold_a_secret(uri: str) -> None:
    with pytest.raises(MalformedConfigError) as caught:
        open_signer(uri)
    assert "1234" not in str(caught.value)
    assert "1234" not in repr(caught.value.evidence())
    assert "file" in str(caught.value)


@pytest.mark.parametrize(
    "scheme, driver, extra",
    [("pkcs11", "pkcs11", "hsm"), ("awskms", "boto3", "aws")],
)
def test_a_driver_that_is_not_installed_is_named_with_its_extra(
    scheme: str, driver: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {driver!r}", name=driver)

    monkeypatch.setattr("attestlog._internal.signers.opening.import_module", without)
    with pytest.raises(MissingExtraError, match=f"the extra '{extra}'.*no module {driver}") as caught:
        open_signer(f"{scheme}:secret")
    assert caught.value.extra == extra
    assert "secret" not in str(caught.value)


def test_an_application_may_register_a_scheme_and_replace_a_known_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("attestlog._internal.signers.opening._registered", {})
    made = MemorySigner()
    for scheme in ("mine", "awskms"):
        register_scheme(scheme, lambda uri, passphrase: made)
        assert open_signer(f"{scheme}:x") is made


@pytest.mark.parametrize("uri", ["file:a\x00b", "file:~no-such-user-here/key.pem", "file:///\x00"])
def test_a_path_that_cannot_be_one(uri: str) -> None:
    with pytest.raises(MalformedConfigError):
        open_signer(uri)


# --- whatever a signer written by others does ---


def test_only_a_signature_under_the_key_that_is_meant_is_used() -> None:
    signer, other = FaultSigner(MemorySigner()), MemorySigner()
    key = signer.public_key
    key.verify(sign_message(signer, key, b"message"), b"message")
    wrong: list[tuple[PublicKey, Callable[[bytes], bytes] | None]] = [
        (other.public_key, None),
        (key, other.sign),
        (key, lambda _: b""),
        (key, lambda _: signer.inner.sign(b"another message")),
    ]
    for key, answer in wrong:
        signer.answer = answer
        with pytest.raises(SignerError, match="does not verify") as caught:
            sign_message(signer, key, b"message")
        assert caught.value.key_id == signer.public_key.key_id


def test_a_key_of_notes_is_of_an_algorithm_that_they_have() -> None:
    signer = MemorySigner("Ed25519")
    key = note_key("example.com/one", signer, {"Ed25519": 4}, what="the key", member="key")
    assert key == VerifierKey("example.com/one", 4, signer.public_key.raw())
    with pytest.raises(MalformedConfigError, match="the key is Ed25519, want ML-DSA-44 or RSA") as caught:
        note_key("example.com/one", signer, {"ML-DSA-44": 6, "RSA": 7}, what="the key", member="key")
    assert caught.value.member == "key"
    signer._public_key = replace(signer.public_key, key=None)  # of a cryptography that has no such keys
    with pytest.raises(MissingExtraError):
        note_key("example.com/one", signer, {"Ed25519": 4}, what="the key", member="key")


@pytest.mark.parametrize("answer", [None, "text", 7, bytearray(64), memoryview(b"x")])
def test_an_answer_that_is_no_signature(answer: Any) -> None:
    signer = FaultSigner(MemorySigner())
    signer.answer = lambda message: answer
    with pytest.raises(SignerError, match=f"returned {type(answer).__name__}, want bytes"):
        ask(signer, b"message")


@pytest.mark.parametrize("raised", [RuntimeError("boom"), OSError(5, "gone"), KeyError("x"), TimeoutError()])
def test_an_exception_of_the_signers_own(raised: Exception) -> None:
    signer = FaultSigner(MemorySigner())

    def answer(message: bytes) -> bytes:
        raise raised

    signer.answer = answer
    with pytest.raises(SignerError, match=f"the signer failed: {type(raised).__name__}") as caught:
        ask(signer, b"message")
    assert caught.value.__cause__ is raised
    assert caught.value.retryable is False


def test_an_error_of_ours_and_an_interruption_pass_as_they_are() -> None:
    signer = FaultSigner(MemorySigner())
    for raised in (SignerError("the device is busy", retryable=True), KeyboardInterrupt()):

        def answer(message: bytes, raised: BaseException = raised) -> bytes:
            raise raised

        signer.answer = answer
        with pytest.raises(type(raised)) as caught:
            ask(signer, b"message")
        assert caught.value is raised
