"""Checkpoints: three lines, one spelling, and nothing a lenient `int` or base64 would let pass."""

import base64
from hashlib import sha256

import pytest
from tests.support.shapes import ed25519_key

from attestlog._internal.core.checkpoint import (
    SIZE_MAX,
    Checkpoint,
    check_origin,
    format_checkpoint,
    is_example,
    open_checkpoint,
    parse_checkpoint,
    sign_checkpoint,
)
from attestlog._internal.core.hashes import EMPTY_ROOT
from attestlog._internal.core.note import VerifierKey, format_note, parse_note, sign_note
from attestlog.errors import (
    MalformedCheckpointError,
    MalformedConfigError,
    MalformedNoteError,
    SignatureInvalidError,
    TrustError,
)

ORIGIN = "example.com/agents"
ROOT = sha256(b"root").digest()
CHECKPOINT = Checkpoint(ORIGIN, 20_852_163, ROOT)
B64 = base64.b64encode(ROOT).decode()
EMPTY_B64 = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def key(name: str = ORIGIN) -> VerifierKey:
    return VerifierKey(name, 1, ed25519_key(name).public_key().public_bytes_raw())


def signed(text: str) -> bytes:
    return format_note(text, [sign_note(text, key(), ed25519_key(ORIGIN).sign)])


def test_a_checkpoint_is_three_lines() -> None:
    text = format_checkpoint(CHECKPOINT)
    assert text == f"{ORIGIN}\n20852163\n{B64}\n"
    assert parse_checkpoint(text) == CHECKPOINT


@pytest.mark.parametrize("size", [1, 9, 10, 2**53, SIZE_MAX])
def test_sizes_round_trip(size: int) -> None:
    checkpoint = Checkpoint(ORIGIN, size, ROOT)
    assert parse_checkpoint(format_checkpoint(checkpoint)) == checkpoint


def test_the_empty_log() -> None:
    text = f"{ORIGIN}\n0\n{EMPTY_B64}\n"
    assert parse_checkpoint(text) == Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    with pytest.raises(MalformedCheckpointError, match="empty tree"):
        parse_checkpoint(f"{ORIGIN}\n0\n{B64}\n")


@pytest.mark.parametrize(
    "size",
    [
        *("", " ", "00", "01", "007", "+1", "-1", "-0", "1_0", "1 ", " 1", "1.0", "1e3", "0x10"),
        *("１２", "١٢", "²"),
        *(str(SIZE_MAX + 1), str(2**64), "9" * 20, "9" * 10_000, "1\r", "1\t", "None", "०"),
    ],
)
def test_a_size_has_one_spelling(size: str) -> None:
    with pytest.raises(MalformedCheckpointError):
        parse_checkpoint(f"{ORIGIN}\n{size}\n{B64}\n")


@pytest.mark.parametrize(
    "root",
    [
        "",
        B64[:-1],
        B64 + "=",
        B64 + " ",
        " " + B64,
        B64[:20] + " " + B64[20:],
        B64.replace("=", ""),
        B64[:-2] + chr(ord(B64[-2]) + 1) + "=",  # the same bytes with other trailing bits
        base64.b64encode(ROOT[:31]).decode(),
        base64.b64encode(ROOT + b"\0").decode(),
        base64.urlsafe_b64encode(b"\xff" * 32).decode(),
        ROOT.hex(),
        "é" * 44,
        B64[:-1] + "é",
    ],
)
def test_a_root_has_one_spelling(root: str) -> None:
    with pytest.raises(MalformedCheckpointError):
        parse_checkpoint(f"{ORIGIN}\n1\n{root}\n")


def test_the_trailing_bits_are_what_was_wrong() -> None:
    other = B64[:-2] + chr(ord(B64[-2]) + 1) + "="
    assert other != B64
    assert base64.b64decode(other) == ROOT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "\n\n\n",
        f"{ORIGIN}\n",
        f"{ORIGIN}\n1\n",
        f"{ORIGIN}\n1\n{B64}",
        f"\n1\n{B64}\n",
        f"{ORIGIN}\n1\n{B64}\n\n",
        f"\n{ORIGIN}\n1\n{B64}\n",
        f"{ORIGIN}\n\n1\n{B64}\n",
        f"{ORIGIN}\n1\n{B64}\nextension\n",
        f"{ORIGIN}\n1\n{B64}\nextension",
        f"{ORIGIN}\u2028 1\n{B64}\n",
        f"{ORIGIN}\r1\r{B64}\r",
    ],
)
def test_other_lines_are_refused(text: str) -> None:
    with pytest.raises(MalformedCheckpointError):
        parse_checkpoint(text)


def test_an_origin_line_of_another_log_may_hold_spaces() -> None:
    """Only our own origins are narrower than the format: Go's checksum database has two in its name."""
    text = f"go.sum database tree\n1\n{B64}\n"
    assert parse_checkpoint(text).origin == "go.sum database tree"


@pytest.mark.parametrize("origin", ["a", "example.com/agents", "xn--nht-k-9sa.example/b", "x" * 255])
def test_origins(origin: str) -> None:
    check_origin(origin)


@pytest.mark.parametrize(
    "origin",
    [
        *("", "a b", "a+b", "a\n", "\t", "a\u00a0b", "a\u2028b", "x" * 256, "é", "a\ud800", "a\x7f"),
        *("a\u202eb", "\x00", "ex\u0430mple.com", "e\u0301"),
    ],
)
def test_what_cannot_name_a_log(origin: str) -> None:
    with pytest.raises(MalformedConfigError, match=r"^origin: ") as caught:
        check_origin(origin)
    assert caught.value.member == "origin"


def test_signing_and_opening() -> None:
    cosigner = key("witness.example/w")
    signers = [(key(), ed25519_key(ORIGIN).sign), (cosigner, ed25519_key(cosigner.name).sign)]
    data = sign_checkpoint(CHECKPOINT, signers)
    assert len(parse_note(data).signatures) == 2
    for keys in ([key()], [cosigner], [key(), cosigner]):
        assert open_checkpoint(data, keys) == CHECKPOINT
    with pytest.raises(TrustError):
        open_checkpoint(data, [key("example.com/other")])
    with pytest.raises(MalformedNoteError):
        open_checkpoint(data[:-1], [key()])
    with pytest.raises(SignatureInvalidError):
        open_checkpoint(data.replace(b"20852163", b"20852164"), [key()])


def test_a_signed_note_that_is_no_checkpoint() -> None:
    lines = f"{ORIGIN}\n1\n{B64}\n"
    for text in ("This is an example message.\n", lines.replace("1", "01", 1), lines + "extension\n"):
        with pytest.raises(MalformedCheckpointError):
            open_checkpoint(signed(text), [key()])


def test_nothing_is_read_out_of_an_unverified_note() -> None:
    # The text is malformed as well, but the signature is judged first.
    data = signed(f"{ORIGIN}\n01\n{B64}\n").replace(b"\n01\n", b"\n02\n")
    with pytest.raises(SignatureInvalidError):
        open_checkpoint(data, [key()])


@pytest.mark.parametrize(
    "origin",
    [
        "example.com", "example.com/agents", "a.b.example.net/x", "EXAMPLE.org:8080/x", "example.com./x",
        "log.example/a", "example", "x.test", "a.invalid/b", "localhost:80", "a.localhost/b/example.dev",
    ],
)  # fmt: skip
def test_names_reserved_for_examples(origin: str) -> None:
    assert is_example(origin)


@pytest.mark.parametrize(
    "origin",
    [
        "log.attestlog.dev/agents", "example.dev", "notexample.com/x", "example.com.evil.dev",
        "dev/example.com", "latest", "com/example", "localhost2", "/example.com", "-example.com",
    ],
)  # fmt: skip
def test_names_that_somebody_owns(origin: str) -> None:
    assert not is_example(origin)
