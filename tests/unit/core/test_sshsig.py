"""Keys and signatures of OpenSSH, made by the real `ssh-keygen`, and what is none of them."""

import base64
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.people import Person
from tests.support.ssh import agent, blob, make_key, sign, sshsig
from tests.support.tools import tool

from attestlog._internal.core.signature import ECDSA_P256, ED25519
from attestlog._internal.core.sshsig import (
    SSHSIG_SIZE_MAX_BYTES,
    decode_sshsig,
    format_ssh_key,
    low_s_sshsig,
    parse_ssh_key,
    parse_sshsig,
    verify_sshsig,
)
from attestlog.errors import MalformedSignatureError, SignatureInvalidError

MESSAGE = b"attestlog/approval/v1\n{}"
NAMESPACE = "attestlog-approval"
KINDS = {"ed25519": ED25519, "ecdsa": ECDSA_P256}


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_and_a_signature_of_ssh_keygen(kind: str, tmp_path: Path) -> None:
    line = make_key(tmp_path / "key", kind)
    key = parse_ssh_key(line)
    assert key.algorithm == KINDS[kind]
    assert line.startswith(format_ssh_key(key) + " ")
    text = sign(tmp_path / "key", NAMESPACE, MESSAGE)
    assert parse_sshsig(text) == decode_sshsig(blob(text))
    signature = decode_sshsig(low_s_sshsig(blob(text)))
    assert (signature.key.spki, signature.namespace) == (key.spki, NAMESPACE)
    verify_sshsig(signature, NAMESPACE, MESSAGE)
    for namespace, message in ((NAMESPACE, MESSAGE + b"\n"), ("file", MESSAGE)):
        with pytest.raises(SignatureInvalidError):
            verify_sshsig(signature, namespace, message)


def test_a_signature_through_the_agent(tmp_path: Path) -> None:
    make_key(tmp_path / "key", "ed25519")
    with agent(tmp_path / "key") as environment:
        (tmp_path / "key").unlink()  # only the agent has it now
        text = sign(tmp_path / "key.pub", NAMESPACE, MESSAGE, environment)
    verify_sshsig(parse_sshsig(text), NAMESPACE, MESSAGE)


@pytest.mark.parametrize("kind", KINDS)
def test_no_byte_of_a_signature_can_be_changed(kind: str, tmp_path: Path) -> None:
    make_key(tmp_path / "key", kind)
    data = blob(sign(tmp_path / "key", NAMESPACE, MESSAGE))
    key = decode_sshsig(data).key
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises((MalformedSignatureError, SignatureInvalidError)):
            signature = decode_sshsig(bytes(changed))
            if signature.key.spki != key.spki:
                raise SignatureInvalidError("another key")
            verify_sshsig(signature, NAMESPACE, MESSAGE)
    for size in range(len(data)):
        with pytest.raises(MalformedSignatureError):
            decode_sshsig(data[:size])
    with pytest.raises(MalformedSignatureError, match="after its last field"):
        decode_sshsig(data + b"\0")


def test_other_kinds_of_keys_are_refused(tmp_path: Path) -> None:
    subprocess.run(
        [tool("ssh-keygen"), "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", tmp_path / "rsa"], check=True
    )
    subprocess.run(
        [tool("ssh-keygen"), "-q", "-t", "ecdsa", "-b", "384", "-N", "", "-f", tmp_path / "p384"], check=True
    )
    for name in ("rsa", "p384"):
        with pytest.raises(MalformedSignatureError, match=r"want|not a public key"):
            parse_ssh_key((tmp_path / f"{name}.pub").read_text())
        with pytest.raises(MalformedSignatureError, match="want ssh-ed25519"):
            parse_sshsig(sign(tmp_path / name, NAMESPACE, MESSAGE))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda line: "",
        lambda line: line.partition(" ")[2],
        lambda line: line.replace("ssh-ed25519", "ecdsa-sha2-nistp256"),
        lambda line: line.replace(" ", "  ", 1),
        lambda line: line.replace("\n", "\nx"),
        lambda line: line.split(" ")[0] + " " + line.split(" ")[1][:-4],
        lambda line: line.split(" ")[0] + " " + base64.b64encode(b"x" * 51).decode(),
        lambda line: line.split(" ")[0] + " " + line.split(" ")[1] + "====",
    ],
)
def test_what_is_no_key_line(spoil: object, tmp_path: Path) -> None:
    line = make_key(tmp_path / "key", "ed25519")
    with pytest.raises(MalformedSignatureError):
        parse_ssh_key(spoil(line))  # type: ignore[operator]


def test_what_is_no_armour(tmp_path: Path) -> None:
    make_key(tmp_path / "key", "ed25519")
    text = sign(tmp_path / "key", NAMESPACE, MESSAGE)
    for changed in (
        "",
        text[1:],
        text.replace("END", "FIN"),
        text.replace("SSH SIG", "PGP SIG"),
        text + "\n",
    ):
        with pytest.raises(MalformedSignatureError):
            parse_sshsig(changed)
    body = text.replace("\n-----END", "\n" * (SSHSIG_SIZE_MAX_BYTES - len(text)) + "\n-----END")
    assert len(body) == SSHSIG_SIZE_MAX_BYTES
    verify_sshsig(parse_sshsig(body), NAMESPACE, MESSAGE)
    with pytest.raises(MalformedSignatureError, match="at most 4096"):
        parse_sshsig(body.replace("\n-----END", "\n\n-----END"))


def test_reserved_bytes_are_refused_though_they_are_signed() -> None:
    person = Person("ana")
    good = decode_sshsig(bytes.fromhex(sshsig(person, NAMESPACE, MESSAGE)))
    verify_sshsig(good, NAMESPACE, MESSAGE)
    with pytest.raises(MalformedSignatureError, match="has reserved bytes"):
        decode_sshsig(bytes.fromhex(sshsig(person, NAMESPACE, MESSAGE, b"x")))


def test_a_key_that_openssh_has_no_line_for() -> None:
    key = Person("ana").public
    unknown = replace(key, algorithm="ML-DSA-44")
    with pytest.raises(MalformedSignatureError, match="want P-256 or Ed25519"):
        format_ssh_key(unknown)


def fields(data: bytes) -> list[bytes]:
    """The strings of RFC 4251 in a row."""
    found = []
    while data:
        size = int.from_bytes(data[:4], "big")
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found


def joined(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def with_numbers(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """A P-256 signature with its first number spelled otherwise."""
    *head, inner = fields(data[10:])
    kind, signature = fields(inner)
    r, s = fields(signature)
    return data[:10] + joined(*head, joined(kind, joined(change(r), s)))


def test_a_number_has_one_spelling(tmp_path: Path) -> None:
    """Or one signature could be given many, and what was approved once would look like many approvals."""
    make_key(tmp_path / "key", "ecdsa")
    data = blob(sign(tmp_path / "key", NAMESPACE, MESSAGE))
    assert with_numbers(data, lambda r: r) == data
    for spelled in (lambda r: b"\0" + r, lambda r: b"\0" * 40 + r, lambda r: b"", lambda r: b"\xff" * 32):
        with pytest.raises(MalformedSignatureError, match="a number that is not in its one spelling"):
            decode_sshsig(with_numbers(data, spelled))


def test_what_is_no_text_of_a_signature(tmp_path: Path) -> None:
    make_key(tmp_path / "key", "ed25519")
    text = sign(tmp_path / "key", NAMESPACE, MESSAGE)
    data = blob(text)
    with pytest.raises(MalformedSignatureError, match="base64"):
        parse_sshsig(text.replace("\nU1NIU0", "\n!1NIU0"))
    key, _, reserved, hashed, inner = fields(data[10:])
    with pytest.raises(MalformedSignatureError, match="names no hash or namespace"):
        decode_sshsig(data[:10] + joined(key, b"\xff", reserved, hashed, inner))
    with pytest.raises(MalformedSignatureError, match="want sha256 or sha512"):
        decode_sshsig(data[:10] + joined(key, b"x", reserved, b"md5", inner))
    with pytest.raises(MalformedSignatureError, match="stops within a field"):
        decode_sshsig(data[:10] + b"\0\0")
    kind, signature = fields(inner)
    with pytest.raises(MalformedSignatureError, match="not of its key's type"):
        decode_sshsig(data[:10] + joined(key, b"x", reserved, hashed, joined(b"ssh-rsa", signature)))
    assert kind == b"ssh-ed25519"
