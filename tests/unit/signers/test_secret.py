"""PINs: where they come from, and that they show themselves nowhere."""

import copy
import os
import pickle
import traceback
from pathlib import Path

import pytest
from tests.support.descriptors import open_below

from attestlog._internal.signers.secret import PIN_SIZE_MAX_BYTES, Secret, read_pin
from attestlog.errors import MalformedConfigError, SignerError

PIN = "481516-sezam"


@pytest.fixture(autouse=True)
def without_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATTESTLOG_PIN", raising=False)


def pin_file(folder: Path, data: bytes, mode: int = 0o600) -> str:
    path = folder / "pin"
    path.write_bytes(data)
    path.chmod(mode)
    return f"file:{path}"


def revealed(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()


def test_a_secret_shows_itself_to_nobody() -> None:
    secret = Secret(PIN)
    assert PIN not in f"{secret!r} {secret!s} {secret} {[secret]}"
    for spell in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            spell(secret)

    def fails(pin: Secret) -> None:
        raise ValueError("a traceback that shows locals")

    with pytest.raises(ValueError) as caught:
        fails(secret)
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "Secret(…)" in shown
    assert PIN not in shown.replace(f'PIN = "{PIN}"', "")


def test_fingerprints_tell_secrets_and_places_apart() -> None:
    assert Secret(PIN).fingerprint("a") == Secret(PIN).fingerprint("a")
    assert (
        len({Secret(PIN).fingerprint("a"), Secret("x").fingerprint("a"), Secret(PIN).fingerprint("b")}) == 3
    )


def test_a_file_comes_before_the_environment_and_that_before_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def person(what: str) -> bytes:
        asked.append(what)
        return b"typed"

    source = pin_file(tmp_path, b"filed\n")
    assert revealed(read_pin("t", None, person)) == "typed"
    assert asked == ["token t"]
    monkeypatch.setenv("ATTESTLOG_PIN", "exported")
    assert revealed(read_pin("t", None, person)) == "exported"
    assert revealed(read_pin("t", source, person)) == "filed"
    assert asked == ["token t"]


@pytest.mark.parametrize("passphrase", [None, lambda what: None, lambda what: b""])
def test_no_pin_is_none(passphrase: None) -> None:
    assert read_pin("t", None, passphrase) is None


@pytest.mark.parametrize("prefix", ["file:", "file://", ""])
def test_spellings_of_a_source(tmp_path: Path, prefix: str) -> None:
    path = pin_file(tmp_path, PIN.encode()).removeprefix("file:")
    assert revealed(read_pin("t", prefix + path, None)) == PIN


@pytest.mark.parametrize("source", ["file:pin", "pin", "|command", "env:PIN", "file:", "file:./pin"])
def test_a_source_that_is_no_absolute_path_is_none(source: str) -> None:
    with pytest.raises(MalformedConfigError, match="is not file:/PATH"):
        read_pin("t", source, None)


def test_nothing_stays_open(tmp_path: Path) -> None:
    source = pin_file(tmp_path, PIN.encode())
    for _ in range(3):
        read_pin("t", source, None)
    assert open_below(tmp_path) == []


@pytest.mark.parametrize("data", [b"", b"\n", b"a\0b", b"\xff", b"x" * (PIN_SIZE_MAX_BYTES + 1)])
def test_a_file_that_holds_no_pin(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(SignerError, match="holds no PIN"):
        read_pin("t", pin_file(tmp_path, data), None)


@pytest.mark.parametrize("size", [1, PIN_SIZE_MAX_BYTES])
def test_the_shortest_and_the_longest_pin(tmp_path: Path, size: int) -> None:
    pin = "x" * size
    assert revealed(read_pin("t", pin_file(tmp_path, pin.encode() + b"\n"), None)) == pin


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SignerError, match="has mode 0640, want 0600"):
        read_pin("t", pin_file(tmp_path, b"1", 0o640), None)
    with pytest.raises(SignerError, match="cannot be read: No such file"):
        read_pin("t", f"file:{tmp_path}/nowhere", None)
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(SignerError):
        read_pin("t", f"file:{tmp_path}/fifo", None)
