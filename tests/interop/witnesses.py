"""Other people's witnesses and a log of Tessera's, as they were published: processes of their own."""

import base64
import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.interop.verifiers import RefusedError, installed
from tests.support.proxy import free_port
from tests.support.tools import tool

from attestlog._internal.core.hashes import EMPTY_ROOT
from attestlog._internal.core.note import COSIGNATURE_ED25519, ED25519, VerifierKey, format_vkey, parse_vkey


@contextmanager
def running(command: list[str], port: int, folder: Path) -> Iterator[None]:
    """A process that listens on `port`, ended afterwards."""
    with (folder / "output").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        for _ in range(1_200):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            assert process.poll() is None, (folder / "output").read_text()
            time.sleep(0.05)
        else:
            raise AssertionError("it does not listen")
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


@contextmanager
def litewitness(folder: Path, log: VerifierKey) -> Iterator[tuple[str, VerifierKey]]:
    """torchwood's, with its key in an ssh-agent; its URL and key."""
    program = installed("litewitness")
    key = Ed25519PrivateKey.generate()
    vkey = VerifierKey("lite.example.com/w", COSIGNATURE_ED25519, key.public_key().public_bytes_raw())
    with ssh_agent(folder, key) as agent:
        port, database = free_port(), folder / "litewitness.db"
        command = [
            str(program), "-listen", f"127.0.0.1:{port}", "-db", str(database), "-ssh-agent", agent,
            "-name", vkey.name, "-key", sha256(vkey.public_key).hexdigest(),
        ]  # fmt: skip
        with running(command, port, folder):
            # witnessctl would do this; one of the modules it is made of is on few proxies.
            with contextlib.closing(sqlite3.connect(database, timeout=60)) as connection, connection:
                empty = base64.b64encode(EMPTY_ROOT).decode()
                connection.execute("INSERT INTO log VALUES (?, 0, ?)", (log.name, empty))
                connection.execute("INSERT INTO key VALUES (?, ?)", (log.name, format_vkey(log)))
            yield f"http://127.0.0.1:{port}", vkey


@contextmanager
def ssh_agent(folder: Path, key: Ed25519PrivateKey) -> Iterator[str]:
    path, file = str(folder / "agent"), folder / "key"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    file.chmod(0o600)
    process = subprocess.Popen([tool("ssh-agent"), "-a", path, "-D"], stdout=subprocess.DEVNULL)
    try:
        for _ in range(3_000):
            with socket.socket(socket.AF_UNIX) as probe:  # its file is there before it listens
                if probe.connect_ex(path) == 0:
                    break
            time.sleep(0.02)
        environment = {**os.environ, "SSH_AUTH_SOCK": path}
        subprocess.run([tool("ssh-add"), "-q", str(file)], env=environment, check=True, capture_output=True)
        yield path
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def aics_witness(folder: Path, log: VerifierKey, vkey_text: str) -> Iterator[tuple[str, VerifierKey]]:
    """PyPI's, in pure Python; its URL and key."""
    program = str(installed("aics") / "bin" / "aics-witness")
    port, config = free_port(), str(folder / "witness.json")

    def run(*arguments: str) -> str:
        done = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=True)
        return done.stdout

    said = run("init", "-c", config, "--name", "aics.example.com/w", "--listen", f"127.0.0.1:{port}")
    (vkey,) = [parse_vkey(word) for word in said.split() if word.startswith("aics.example.com/w+")][:1]
    run("add-log", "-c", config, "--origin", log.name, "--vkey", vkey_text)
    with running([program, "serve", "-c", config], port, folder):
        yield f"http://127.0.0.1:{port}", vkey


class TesseraLog:
    """A log kept by Tessera's example program, which publishes only what its witnesses have cosigned."""

    def __init__(self, folder: Path, origin: str) -> None:
        self._program = installed("posix-oneshot")
        self.folder, self.origin = folder, origin
        key = Ed25519PrivateKey.generate()
        self.key = VerifierKey(origin, ED25519, key.public_key().public_bytes_raw())
        seed = base64.b64encode(bytes([ED25519]) + key.private_bytes_raw()).decode()
        self._private = f"PRIVATE+KEY+{origin}+{self.key.key_id.hex()}+{seed}"

    def append(self, entries: list[bytes], policy: str) -> bytes:
        """The checkpoint published afterwards. Raises RefusedError if none is."""
        waiting = self.folder / "entries"
        waiting.mkdir(parents=True, exist_ok=True)
        for path in waiting.iterdir():
            path.unlink()
        for number, entry in enumerate(entries):
            (waiting / f"{number:03}").write_bytes(entry)
        rules = self.folder / "policy"
        rules.write_text(policy)
        done = subprocess.run(
            [str(self._program), "--storage_dir", str(self.folder / "log"), "--entries", f"{waiting}/*",
             "--witness_policy_file", str(rules), "--witness_timeout", "60s"],
            env={**os.environ, "LOG_PRIVATE_KEY": self._private}, check=False, capture_output=True,
            text=True, timeout=300,
        )  # fmt: skip
        if done.returncode:
            raise RefusedError(done.stderr)
        return (self.folder / "log" / "checkpoint").read_bytes()


def skip_without_aics() -> None:
    """aics-witness stands beside aics-tlog."""
    if not (installed("aics") / "bin" / "aics-witness").exists():
        assert not os.environ.get("CI"), "aics-witness is missing"
        pytest.skip("needs aics-witness: make interop")
