"""A private key in a file: PKCS#8 PEM, readable by its owner only, perhaps under a passphrase.

For starting out, and wherever hardware is not to be had. Whoever can read the
file can sign; that is what hardware keys are for.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from attestlog._internal import disk
from attestlog._internal.core.signature import PublicKey, public_key
from attestlog._internal.places import keys_dir
from attestlog._internal.signers.contract import Passphrase
from attestlog._internal.signers.private_keys import ALGORITHMS, PrivateKey, is_known, sign_with
from attestlog.errors import ExistsError, KeyFileError, MalformedConfigError, SignerError

PASSPHRASE_VARIABLE: Final = "ATTESTLOG_PASSPHRASE"  # noqa: S105 - its name, not its value
SCHEME: Final = "file:"
KEY_FILE_SIZE_MAX_BYTES: Final = 64 << 10
"""No PKCS#8 key of ours is near this; keeps a wrong path from being read whole."""


class FileSigner:
    """A key read from a file; see `Signer`."""

    def __init__(self, key: PrivateKey, path: Path) -> None:
        self._key: PrivateKey | None = key
        self._public_key = public_key(key.public_key())
        self._path = path

    def __repr__(self) -> str:
        return f"FileSigner({self.uri!r}, key_id={self._public_key.key_id[:16]}…)"

    @property
    def public_key(self) -> PublicKey:
        """The key's public half."""
        return self._public_key

    @property
    def uri(self) -> str:
        """`file:` and the absolute path."""
        return f"{SCHEME}{self._path}"

    def sign(self, message: bytes) -> bytes:
        """DER for ECDSA (over SHA-256 of the message), the raw bytes for the others."""
        key = self._key
        if key is None:
            raise SignerError(f"signer {self.uri} is closed")
        return sign_with(key, message)

    def close(self) -> None:
        """Forget the key."""
        self._key = None


class KeyFile(NamedTuple):
    """A file in the keys directory. One that cannot be opened has a `problem` instead of a key."""

    uri: str
    key: PublicKey | None
    problem: str | None


def key_files() -> Iterator[KeyFile]:
    """The files in the keys directory, by name."""
    for path in sorted(keys_dir().glob("*.pem")):
        uri = f"{SCHEME}{path}"
        try:
            yield KeyFile(uri, open_file_signer(uri).public_key, None)
        except SignerError as error:
            is_locked = isinstance(error, KeyFileError) and error.needs_passphrase
            yield KeyFile(uri, None, "encrypted" if is_locked else str(error))


def default_key_path(origin: str, role: str, key: PublicKey) -> Path:
    """Where a key made for a log goes: one file a key, so that a new log never signs with an old one's."""
    slug = re.sub(r"[^A-Za-z0-9.-]+", "_", origin)[:80]
    tag = sha256(origin.encode()).hexdigest()[:8]
    return keys_dir() / f"{slug}-{tag}-{role}-{key.key_id[:8]}.pem"


def save_key(key: PrivateKey, path: Path, passphrase: bytes | None) -> FileSigner:
    """Write a new key file, 0600, never over an existing one. Raises ExistsError or KeyFileError."""
    encryption: KeySerializationEncryption = (
        BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    path = path.absolute()
    write_private(path, pem)
    return FileSigner(key, path)


def write_private(path: Path, data: bytes) -> None:
    """A new file of its owner's only, durable, never over another. Raises ExistsError or KeyFileError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        disk.write_new(path, data, private=True)
        try:
            disk.fsync_directory(path.parent)
        except BaseException:
            # A key that may be gone after a loss of power must not be used.
            path.unlink()
            raise
    except FileExistsError:
        raise ExistsError(f"key file {path} exists", path=str(path), what="key") from None
    except OSError as error:
        raise KeyFileError(f"key file {path} cannot be written: {error.strerror}", path=str(path)) from None


def open_file_signer(uri: str, passphrase: Passphrase | None = None) -> FileSigner:
    """The signer of `file:PATH` (or `file:///PATH`). Raises KeyFileError or MalformedConfigError."""
    path = file_uri_path(uri)
    pem = read_private(path)
    secret: bytes | None = None
    if b"ENCRYPTED" in pem:
        secret = ask_passphrase(path, passphrase)
        if secret is None:
            raise KeyFileError(f"key file {path} needs a passphrase", path=str(path), needs_passphrase=True)
    try:
        key = load_pem_private_key(pem, password=secret)
    except UnsupportedAlgorithm:
        what = "the installed cryptography does not have its algorithm"
        raise KeyFileError(f"key file {path} cannot be opened: {what}", path=str(path)) from None
    except (ValueError, TypeError):
        what = (
            "the passphrase is wrong or the file damaged" if secret else "it is not a PKCS#8 PEM private key"
        )
        raise KeyFileError(f"key file {path} cannot be opened: {what}", path=str(path)) from None
    if not is_known(key):
        curve = getattr(key, "curve", None)
        kind = f"{curve.name} key" if curve is not None else type(key).__name__
        raise KeyFileError(
            f"key file {path} holds a {kind}, want one of {', '.join(ALGORITHMS)}", path=str(path)
        )
    return FileSigner(cast("PrivateKey", key), path)


def ask_passphrase(path: Path, passphrase: Passphrase | None) -> bytes | None:
    """From the environment, else from whoever can be asked; empty counts as none."""
    from_environment = os.environ.get(PASSPHRASE_VARIABLE)
    if from_environment:
        return from_environment.encode()
    return (passphrase(str(path)) if passphrase else None) or None


def file_uri_path(uri: str) -> Path:
    """The path of a `file:` URI, `~` expanded. Raises MalformedConfigError if it has none."""
    text = uri.removeprefix(SCHEME)
    if text.startswith("//"):
        text = text.removeprefix("//")
        if not text.startswith("/"):
            raise MalformedConfigError(f"signer {uri!r} names a host", member="signer")
    if not text:
        raise MalformedConfigError(f"signer {uri!r} names no file", member="signer")
    try:
        if "\0" in text:
            raise ValueError("it holds a zero byte")
        return Path(text).expanduser().absolute()
    except (ValueError, RuntimeError) as error:
        raise MalformedConfigError(f"signer {uri!r} names no file: {error}", member="signer") from None


def read_private(path: Path) -> bytes:
    """The start of a file that only its owner can read. Raises KeyFileError."""
    try:
        # Without O_NONBLOCK, opening a FIFO would wait for somebody to write a key into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            mode = status.st_mode
            if not stat.S_ISREG(mode):
                raise KeyFileError(f"key file {path} is not a regular file", path=str(path))
            if not disk.is_private(status):
                raise KeyFileError(
                    f"key file {path} has mode {stat.S_IMODE(mode):04o}, want 0600: others can read it",
                    path=str(path), mode=stat.S_IMODE(mode),
                )  # fmt: skip
            return os.read(descriptor, KEY_FILE_SIZE_MAX_BYTES)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise KeyFileError(f"key file {path} cannot be read: {error.strerror}", path=str(path)) from None
