"""The real `ssh-keygen` and `ssh-agent`, in a folder of the test's own."""

import base64
import os
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256, sha512
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
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


@contextmanager
def fido_agent(person: Person, socket_path: Path, application: str = "ssh:") -> Iterator[dict[str, str]]:
    """An agent with a FIDO key whose authenticator is software: `ssh-keygen` asks it as it would a real one.

    Of the protocol (draft-ietf-sshm-ssh-agent) it knows which keys there are, and how to sign.
    """
    key = _fido_blob(person, application)

    def answer(asked: bytes) -> bytes:
        if asked[0] == _REQUEST_IDENTITIES:
            return bytes([_IDENTITIES_ANSWER]) + (1).to_bytes(4, "big") + _string(key) + _string(b"a key")
        if asked[0] != _SIGN_REQUEST or asked[1 : 5 + len(key)] != _string(key):
            return bytes([_FAILURE])
        size = int.from_bytes(asked[5 + len(key) : 9 + len(key)], "big")
        signed = asked[9 + len(key) :][:size]
        return bytes([_SIGN_RESPONSE]) + _string(_touched(person, signed, application))

    class Asked(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while head := self.rfile.read(4):
                self.wfile.write(_string(answer(self.rfile.read(int.from_bytes(head, "big")))))

    with socketserver.ThreadingUnixStreamServer(str(socket_path), Asked) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield {"SSH_AUTH_SOCK": str(socket_path)}
        finally:
            server.shutdown()
            thread.join()


_FAILURE, _REQUEST_IDENTITIES, _IDENTITIES_ANSWER, _SIGN_REQUEST, _SIGN_RESPONSE = 5, 11, 12, 13, 14


def sshsig(person: Person, namespace: str, message: bytes, reserved: bytes = b"") -> str:
    """What `ssh-keygen -Y sign` would write, as hex of its bytes: written out, so that it is shown."""
    return _sshsig(
        _blob(person), namespace, message, reserved, lambda signed: _plain_signature(person, signed)
    )


def fido_line(person: Person, application: str = "ssh:") -> str:
    """The line of a FIDO key, without comment: as PROTOCOL.u2f of OpenSSH has it, the key in software."""
    kind, blob = _fido_kind(person), _fido_blob(person, application)
    return f"{kind.decode()} {base64.b64encode(blob).decode()}"


def fido_sshsig(
    person: Person, namespace: str, message: bytes, *, application: str = "ssh:",
    signed_for: str | None = None, flags: int = 1, counter: int = 7,
) -> str:  # fmt: skip
    """What `ssh-keygen -Y sign` would write with that key: an authenticator signs over the hash of what the
    signature is of, the hash of its application, its flags and its counter.

    `signed_for`: the application that is signed, if it is another than the key names.
    """
    signed_for = application if signed_for is None else signed_for

    def inner(signed: bytes) -> bytes:
        return _touched(person, signed, signed_for, flags, counter)

    return _sshsig(_fido_blob(person, application), namespace, message, b"", inner)


def _touched(person: Person, signed: bytes, application: str, flags: int = 1, counter: int = 7) -> bytes:
    """What an authenticator signs, as SSH spells it."""
    touched = bytes([flags]) + counter.to_bytes(4, "big")
    hashed = sha256(application.encode()).digest()
    kind, signature = _signature(person, hashed + touched + sha256(signed).digest())
    return _string(b"sk-" + kind + b"@openssh.com") + _string(signature) + touched


def _sshsig(
    blob: bytes, namespace: str, message: bytes, reserved: bytes, inner: Callable[[bytes], bytes]
) -> str:
    head = [namespace.encode(), reserved, b"sha512"]
    signed = b"SSHSIG" + b"".join(map(_string, [*head, sha512(message).digest()]))
    fields = b"".join(map(_string, [blob, *head, inner(signed)]))
    return (b"SSHSIG" + (1).to_bytes(4, "big") + fields).hex()


def armoured(hexed: str) -> str:
    """The text that `ssh-keygen` writes and reads, of the bytes of a signature."""
    text = base64.b64encode(bytes.fromhex(hexed)).decode()
    lines = [text[at : at + 70] for at in range(0, len(text), 70)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])


def _plain_signature(person: Person, signed: bytes) -> bytes:
    return b"".join(map(_string, _signature(person, signed)))


def _signature(person: Person, signed: bytes) -> tuple[bytes, bytes]:
    """Type and signature, as SSH spells them."""
    if person.algorithm == "Ed25519":
        return b"ssh-ed25519", person.sign(signed)
    r, s = decode_dss_signature(person.sign(signed))
    return b"ecdsa-sha2-nistp256", _string(_integer(r)) + _string(_integer(s))


def _material(person: Person) -> list[bytes]:
    if person.algorithm == "Ed25519":
        return [person.public.spki[-32:]]
    return [b"nistp256", person.public.spki[-65:]]


def _blob(person: Person) -> bytes:
    kind = b"ssh-ed25519" if person.algorithm == "Ed25519" else b"ecdsa-sha2-nistp256"
    return b"".join(map(_string, [kind, *_material(person)]))


def _fido_kind(person: Person) -> bytes:
    return (
        b"sk-ssh-ed25519@openssh.com"
        if person.algorithm == "Ed25519"
        else b"sk-ecdsa-sha2-nistp256@openssh.com"
    )


def _fido_blob(person: Person, application: str) -> bytes:
    return b"".join(map(_string, [_fido_kind(person), *_material(person), application.encode()]))


def _integer(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 8) // 8, "big")


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data
