"""Signatures made by OpenSSH: with a private key file, a key in a device, or one that the agent holds.

`ssh-keygen -Y sign` does it all and asks for what it needs (a passphrase, a
touch) by itself, so no secret ever passes through here. It is only ever given
a namespace and a message on its standard input.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from attestlog._internal.core.sshsig import (
    SSHSIG_SIZE_MAX_BYTES,
    SSHSignature,
    decode_sshsig,
    low_s_sshsig,
    parse_sshsig,
    unarmoured,
    verify_sshsig,
)
from attestlog.errors import MalformedSignatureError, SignatureInvalidError, SignerError

SIGN_TIMEOUT_S: Final = 120
"""A person may have to type a passphrase or touch a key meanwhile."""

_STARTS: Final = (b"-----BEGIN OPENSSH PRIVATE KEY-----", b"ssh-", b"ecdsa-", b"sk-")


def is_ssh_key(data: bytes) -> bool:
    """Whether this is a key file of OpenSSH, private or public, of whatever kind."""
    return data.startswith(_STARTS)


def ssh_sign(key: Path, namespace: str, message: bytes) -> tuple[SSHSignature, bytes]:
    """The signature over `message`, verified, and its bytes without armour.

    `key`: a private key, or the public key of one that the agent holds.
    Raises SignerError if it cannot be made.
    """
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(key)]
    try:
        done = subprocess.run(  # noqa: S603 - its one argument from outside is the path of a key
            command, input=message, capture_output=True, check=False, timeout=SIGN_TIMEOUT_S
        )
    except FileNotFoundError:
        raise SignerError("there is no ssh-keygen to sign with a key of OpenSSH") from None
    except subprocess.TimeoutExpired:
        raise SignerError(f"ssh-keygen did not sign within {SIGN_TIMEOUT_S} s", retryable=True) from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise SignerError(f"ssh-keygen did not sign with {key}: {said[-1] if said else 'it said nothing'}")
    try:
        text = done.stdout[: SSHSIG_SIZE_MAX_BYTES + 1].decode("ascii")
        parse_sshsig(text)
        data = low_s_sshsig(unarmoured(text))
        signature = decode_sshsig(data)
        verify_sshsig(signature, namespace, message)
    except (UnicodeDecodeError, MalformedSignatureError, SignatureInvalidError) as error:
        raise SignerError(f"ssh-keygen returned no signature that counts here: {error}") from None
    return signature, data
