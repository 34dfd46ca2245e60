"""Keys and signatures of OpenSSH, made by the real `ssh-keygen`, and what is none of them."""

import base64
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.people import Person
from tests.support.ssh import (
    agent,
    armoured,
    blob,
    fido_line,
    fido_sshsig,
    make_key,
    sign,
    sshsig,
)
from tests.support.tools import tool

from attestlog._internal.core.curves import P256_ORDER
from attestlog._internal.core.signature import ECDSA_P256, ED25519
from attestlog._internal.core.sshsig import (
    SSHSIG_SIZE_MAX_BYTES,
    FidoKey,
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
    assert (signature.key, signature.namespace) == (key, NAMESPACE)
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
            if signature.key != key:
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


PERSONS = [Person("ana", algorithm=algorithm) for algorithm in (ED25519, ECDSA_P256)]
by_algorithm = pytest.mark.parametrize("person", PERSONS, ids=[person.algorithm for person in PERSONS])


def by_fido(person: Person, **options: Any) -> bytes:
    return bytes.fromhex(fido_sshsig(person, NAMESPACE, MESSAGE, **options))


@by_algorithm
def test_a_key_in_a_fido_authenticator(person: Person, tmp_path: Path) -> None:
    line = fido_line(person)
    key = parse_ssh_key(line + " ana@token\n")
    assert key == FidoKey(person.public, "ssh:")
    assert format_ssh_key(key) == line
    data = by_fido(person)
    signature = decode_sshsig(data)
    assert signature == parse_sshsig(armoured(data.hex()))
    assert signature.key == key
    verify_sshsig(signature, NAMESPACE, MESSAGE)
    for namespace, message in ((NAMESPACE, MESSAGE + b"\n"), ("file", MESSAGE)):
        with pytest.raises(SignatureInvalidError):
            verify_sshsig(signature, namespace, message)


@by_algorithm
def test_openssh_takes_the_signature_that_was_made_by_hand_from_its_format(
    person: Person, tmp_path: Path
) -> None:
    """And refuses what is refused here: of another application."""
    for options, is_good in (({}, True), ({"application": "ssh:x"}, True), ({"signed_for": "ssh:x"}, False)):
        (tmp_path / "sig").write_text(armoured(by_fido(person, **options).hex()))
        done = subprocess.run(
            [tool("ssh-keygen"), "-Y", "check-novalidate", "-n", NAMESPACE, "-s", tmp_path / "sig"],
            input=MESSAGE, capture_output=True, check=False,
        )  # fmt: skip
        assert (done.returncode == 0) is is_good, done.stderr


@by_algorithm
def test_no_byte_of_a_fido_signature_can_be_changed(person: Person) -> None:
    data = by_fido(person)
    key = decode_sshsig(data).key
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises((MalformedSignatureError, SignatureInvalidError)):
            signature = decode_sshsig(bytes(changed))
            if signature.key != key:
                raise SignatureInvalidError("another key")
            verify_sshsig(signature, NAMESPACE, MESSAGE)
    for size in range(len(data)):
        with pytest.raises(MalformedSignatureError):
            decode_sshsig(data[:size])
    with pytest.raises(MalformedSignatureError, match="after its last field"):
        decode_sshsig(data + b"\0")


@by_algorithm
def test_somebody_must_have_touched_the_authenticator(person: Person) -> None:
    for flags in (0x01, 0x05, 0xFF):
        verify_sshsig(decode_sshsig(by_fido(person, flags=flags)), NAMESPACE, MESSAGE)
    for flags in (0x00, 0x04, 0xFE):
        with pytest.raises(SignatureInvalidError, match="does not say that anybody was present"):
            verify_sshsig(decode_sshsig(by_fido(person, flags=flags)), NAMESPACE, MESSAGE)


@by_algorithm
def test_the_counter_is_kept_and_not_judged(person: Person) -> None:
    for counter in (0, 1, 2**32 - 1):
        data = by_fido(person, counter=counter)
        verify_sshsig(decode_sshsig(data), NAMESPACE, MESSAGE)
        assert decode_sshsig(data).touched == b"\1" + counter.to_bytes(4, "big")
        assert low_s_sshsig(data) == data


@by_algorithm
def test_the_application_is_part_of_the_key(person: Person) -> None:
    named = parse_ssh_key(fido_line(person, "ssh:attestlog"))
    assert named == FidoKey(person.public, "ssh:attestlog")
    assert named != parse_ssh_key(fido_line(person))
    assert decode_sshsig(by_fido(person, application="ssh:attestlog")).key == named
    with pytest.raises(SignatureInvalidError):
        verify_sshsig(decode_sshsig(by_fido(person, signed_for="ssh:attestlog")), NAMESPACE, MESSAGE)
    parse_ssh_key(fido_line(person, "x" * 255))
    for application in ("", "a b", "\u00e4", "a\n", "x" * 256):
        with pytest.raises(MalformedSignatureError, match="has no application of printable ASCII"):
            parse_ssh_key(fido_line(person, application))


def test_the_signature_of_another_type_than_the_keys() -> None:
    """A plain one by the same key, and the one that browsers make (webauthn)."""
    ed25519, p256 = PERSONS
    for person, kind in (
        (ed25519, b"ssh-ed25519"), (p256, b"webauthn-sk-ecdsa-sha2-nistp256@openssh.com"),
        (p256, b"sk-ssh-ed25519@openssh.com"),
    ):  # fmt: skip
        data = by_fido(person)
        *head, inner = fields(data[10:])
        own, signature = fields(inner[:-5])
        assert own == parse_kind(head[0])
        respelled = joined(kind, signature) + inner[-5:]
        with pytest.raises(MalformedSignatureError, match="not of its key's type"):
            decode_sshsig(data[:10] + joined(*head, respelled))
        with pytest.raises(MalformedSignatureError, match="stops within a field"):
            decode_sshsig(data[:10] + joined(*head, joined(own, signature)))


def parse_kind(blob: bytes) -> bytes:
    return blob[4 : 4 + int.from_bytes(blob[:4], "big")]


def test_the_high_s_of_a_fido_key_is_brought_down_and_refused_as_it_is() -> None:
    data = by_fido(PERSONS[1])
    *head, inner = fields(data[10:])
    kind, signature = fields(inner[:-5])
    r, s = fields(signature)
    high = (P256_ORDER - int.from_bytes(s, "big")).to_bytes(33, "big")
    spelled = joined(kind, joined(r, high.lstrip(b"\0") if high[1] < 0x80 else high)) + inner[-5:]
    respelled = data[:10] + joined(*head, spelled)
    with pytest.raises(MalformedSignatureError, match="over half of the order"):
        verify_sshsig(decode_sshsig(respelled), NAMESPACE, MESSAGE)
    assert low_s_sshsig(respelled) == data


def test_a_fido_key_of_small_order_is_refused() -> None:
    blob = joined(b"sk-ssh-ed25519@openssh.com", bytes(32), b"ssh:")
    with pytest.raises(MalformedSignatureError, match="small order"):
        parse_ssh_key(f"sk-ssh-ed25519@openssh.com {base64.b64encode(blob).decode()}")
