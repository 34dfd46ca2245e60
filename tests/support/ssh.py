"""The real `ssh-keygen` and `ssh-agent`, in a folder of the test's own."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha512
from pathlib import Path

from tests.support.people import Person
from tests.support.tools import tool

from attestlog._internal.core.note import decode_base64


def make_key(path: Path, kind: str, passphrase: str = "") -> str:
    """A new key pair; the line of its public key."""
    subprocess.run([tool("ssh-keygen"), "-q", "-t", kind, "-N", passphrase, "-f", path], check=True)
    return path.with_name(path.name + ".pub").read_text()


def sign(key: Path, namespace: str, message: bytes, environment: dict[str, str] | None = None) -> str:
    """What `ssh-keygen -Y sign` writes; a `.pub` file means the key that the agent holds."""
    return subprocess.run(
        [tool("ssh-keygen"), "-q", "-Y", "sign", "-n", namespace, "-f", key],
        input=message, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True,
        env={**os.environ, **(environment or {})},
    ).stdout.decode()  # fmt: skip


def blob(text: str) -> bytes:
    """The bytes of an armoured signature."""
    return decode_base64("".join(text.splitlines()[1:-1]))


@contextmanager
def agent(*keys: Path) -> Iterator[dict[str, str]]:
    """An agent that holds these keys; what to add to the environment of who asks it."""
    socket = keys[0].parent / "agent.sock"
    with subprocess.Popen(
        [tool("ssh-agent"), "-D", "-a", socket], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()  # it says where it listens once it does
            environment = {"SSH_AUTH_SOCK": str(socket)}
            for key in keys:
                subprocess.run(
                    [tool("ssh-add"), "-q", key],
                    check=True,
                    env={**os.environ, **environment},
                    stderr=subprocess.DEVNULL,
                )
            yield environment
        finally:
            process.terminate()


def sshsig(person: Person, namespace: str, message: bytes, reserved: bytes = b"") -> str:
    """What `ssh-keygen -Y sign` would write, as hex of its bytes: written out, so that it is shown."""
    blob = _string(b"ssh-ed25519") + _string(person.public.key.public_bytes_raw())  # type: ignore[union-attr]
    head = [namespace.encode(), reserved, b"sha512"]
    signed = b"SSHSIG" + b"".join(map(_string, [*head, sha512(message).digest()]))
    signature = _string(b"ssh-ed25519") + _string(person.sign(signed))
    fields = b"".join(map(_string, [blob, *head, signature]))
    return (b"SSHSIG" + (1).to_bytes(4, "big") + fields).hex()


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data
