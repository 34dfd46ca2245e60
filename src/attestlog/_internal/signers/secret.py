"""A PIN on its way from its source to the device: never in a `repr`, a pickle, an argument or a log."""

from __future__ import annotations

import os
import stat
from hashlib import blake2b
from pathlib import Path
from typing import Final, NoReturn

from attestlog._internal import disk
from attestlog._internal.signers.contract import Passphrase
from attestlog.errors import MalformedConfigError, SignerError

PIN_VARIABLE: Final = "ATTESTLOG_PIN"
PIN_SIZE_MAX_BYTES: Final = 256
"""Longer than any device takes (SoftHSM 255); keeps a wrong path from being sent to one."""

_process_salt: Final = os.urandom(16)


class Secret:
    """A text that shows itself to nobody but the one who calls `reveal`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def fingerprint(self, place: str) -> bytes:
        """Tells two secrets for one place apart, in this process only, without being either."""
        return blake2b(f"{place}\0{self._text}".encode(), key=_process_salt).digest()


def read_pin(token: str, source: str | None, passphrase: Passphrase | None) -> Secret | None:
    """The PIN of a token: from the file its URI names, else the environment, else whoever can be asked.

    Raises SignerError where the file cannot be read or others can read it, MalformedConfigError where
    `source` names no file. None: there is none to be had.
    """
    if source is not None:
        return _from_file(source)
    if os.environ.get(PIN_VARIABLE):
        return Secret(os.environ[PIN_VARIABLE])
    typed = passphrase(f"token {token}") if passphrase else None
    return _secret(typed) if typed else None


def _from_file(source: str) -> Secret:
    path = Path(source.removeprefix("file:").removeprefix("//"))
    if not path.is_absolute():
        raise MalformedConfigError("pin-source of the signer is not file:/PATH", member="signer")
    try:
        # Without O_NONBLOCK, opening a FIFO would wait for somebody to write a PIN into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            mode = stat.S_IMODE(status.st_mode)
            if not disk.is_private(status):
                raise SignerError(
                    f"PIN file {path} has mode {mode:04o}, want 0600: others can read it", path=str(path)
                )
            secret = _secret(os.read(descriptor, PIN_SIZE_MAX_BYTES + 2).removesuffix(b"\n"))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SignerError(f"PIN file {path} cannot be read: {error.strerror}", path=str(path)) from None
    if secret is None:
        raise SignerError(f"PIN file {path} holds no PIN", path=str(path))
    return secret


def _secret(data: bytes) -> Secret | None:
    """None unless it can be a PIN. Raises nothing: an exception would carry the data along."""
    if not 0 < len(data) <= PIN_SIZE_MAX_BYTES or b"\0" in data:
        return None
    text = data.decode(errors="replace")
    return Secret(text) if text.encode() == data else None
