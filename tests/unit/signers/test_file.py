"""Key files: made 0600, refused when others can read them, opened with the right passphrase only."""

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import attestlog
from attestlog._internal.core.signature import ECDSA_P256, ED25519, ML_DSA_44, ML_DSA_65
from attestlog._internal.signers import open_signer, register_scheme
from attestlog._internal.signers.file import FileSigner, save_key
from attestlog._internal.signers.private_keys import make_key
from attestlog.errors import (
    ExistsError,
    KeyFileError,
    MalformedConfigError,
    MalformedSignatureError,
    SignerError,
)

MESSAGE = bytes(32)
Patch = pytest.MonkeyPatch


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys" / "key.pem"
    save_key(make_key(ECDSA_P256), path, None)
    return path


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_new_key_is_the_owners_only(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        save_key(make_key(ED25519), tmp_path / "key.pem", None)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600


@pytest.mark.parametrize("algorithm", [ECDSA_P256, ED25519, ML_DSA_44, ML_DSA_65])
@pytest.mark.parametrize("passphrase", [None, b"correct horse"])
def test_a_key_comes_back_and_signs(
    tmp_path: Path, algorithm: str, passphrase: bytes | None, monkeypatch: Patch
) -> None:
    monkeypatch.delenv("ATTESTLOG_PASSPHRASE", raising=False)
    made = save_key(make_key(algorithm), tmp_path / "key.pem", passphrase)
    opened = open_signer(made.uri, passphrase=lambda _: passphrase)
    assert opened.public_key.key_id == made.public_key.key_id
    opened.public_key.verify(opened.sign(MESSAGE), MESSAGE)
    opened.close()
    opened.close()
    with pytest.raises(SignerError, match="is closed"):
        opened.sign(MESSAGE)


def test_a_passphrase_from_the_environment_is_preferred(tmp_path: Path, monkeypatch: Patch) -> None:
    made = save_key(make_key(ECDSA_P256), tmp_path / "key.pem", b"right")
    monkeypatch.setenv("ATTESTLOG_PASSPHRASE", "right")
    assert open_signer(made.uri, passphrase=lambda _: b"wrong").public_key == made.public_key


@pytest.mark.parametrize("answer", [None, b"", b"wrong"])
def test_without_the_passphrase(tmp_path: Path, answer: bytes | None, monkeypatch: Patch) -> None:
    monkeypatch.delenv("ATTESTLOG_PASSPHRASE", raising=False)
    made = save_key(make_key(ECDSA_P256), tmp_path / "key.pem", b"right")
    with pytest.raises(KeyFileError, match="passphrase"):
        open_signer(made.uri, passphrase=lambda _: answer)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_key_others_can_reach_is_refused(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    with pytest.raises(KeyFileError, match=f"mode {mode:04o}, want 0600"):
        open_signer(f"file:{key_file}")


def test_an_existing_file_is_never_overwritten(key_file: Path) -> None:
    before = key_file.read_bytes()
    with pytest.raises(ExistsError):
        save_key(make_key(ECDSA_P256), key_file, None)
    assert key_file.read_bytes() == before


def test_what_is_no_key_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "empty").touch(0o600)
    (tmp_path / "text").write_text("not a key")
    (tmp_path / "text").chmod(0o600)
    for name in ("folder", "fifo", "empty", "text", "missing"):
        with pytest.raises(KeyFileError, match=name):
            open_signer(f"file:{tmp_path / name}")


@pytest.mark.parametrize("kind", ["rsa", "p384"])
def test_keys_of_other_kinds_are_refused(tmp_path: Path, kind: str) -> None:
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP384R1())
    path = tmp_path / "key.pem"
    path.touch(0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises((KeyFileError, MalformedSignatureError)):
        open_signer(f"file:{path}")


def test_nothing_printed_holds_the_key(key_file: Path) -> None:
    signer = open_signer(f"file:{key_file}")
    secret = key_file.read_text().splitlines()[1]
    assert secret not in repr(signer)
    assert secret not in str(vars(signer))


def test_uris(key_file: Path, tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    uris = (f"file:{key_file}", f"file://{key_file}", "file:keys/key.pem", "file:~/keys/key.pem")
    assert {open_signer(uri).uri for uri in uris} == {f"file:{key_file}"}
    for uri in ("file:", "file://host/key.pem", "key.pem", "nosuch:thing", ""):
        with pytest.raises(MalformedConfigError):
            open_signer(uri)


def test_a_scheme_of_the_applications_own(key_file: Path, tmp_path: Path) -> None:
    register_scheme("vault", lambda uri, _: open_signer(f"file:{uri.removeprefix('vault:')}"))
    with attestlog.create(tmp_path / "audit", origin="example.com/vault", signer=f"vault:{key_file}") as log:
        log.append(event_type="ACTION", action_type="deploy", actor_id="agent-7")
    signer = open_signer(f"file:{key_file}")
    assert isinstance(signer, FileSigner)
    assert attestlog.verify(tmp_path / "audit").signing_keys == [signer.public_key.key_id]


def test_another_key_than_the_logs_is_refused(key_file: Path, tmp_path: Path) -> None:
    attestlog.create(tmp_path / "audit", origin="example.com/other").close()
    with pytest.raises(SignerError, match="the log is signed by"):
        attestlog.open(tmp_path / "audit", signer=f"file:{key_file}")
