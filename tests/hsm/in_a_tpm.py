"""Run by test_tpm inside a D-Bus session: a TPM in software, its resource manager, a key, a log it signs."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.support.proxy import free_port, listening
from tests.support.tokens import PIN
from tests.support.tools import tool

from attestlog._internal.core.signature import ECDSA_P256
from attestlog._internal.log import Log
from attestlog._internal.signers import open_signer
from attestlog._internal.signers.asking import ask
from attestlog._internal.signers.pkcs11 import open_pkcs11_signer
from attestlog._internal.signers.pkcs11_keys import SCHEMES
from attestlog.testing import check_log


def main(folder: Path, module: str) -> None:
    port, tpm = start_tpm(folder)
    started = [tpm]
    try:
        started.append(
            subprocess.Popen(
                [tool("tpm2-abrmd"), "--session", "--allow-root", f"--tcti=swtpm:host=127.0.0.1,port={port}"],
                stderr=subprocess.DEVNULL,
            )
        )
        os.environ.update(
            TPM2_PKCS11_STORE=str(folder), TPM2_PKCS11_TCTI="tabrmd:bus_type=session",
            TPM2TOOLS_TCTI="tabrmd:bus_type=session", TPM2_PKCS11_BACKEND="esysdb", TSS2_LOG="all+NONE",
            ATTESTLOG_PIN=PIN,
        )  # fmt: skip
        make_token(folder)
        sign(folder, f"pkcs11:token=attest;object=entries?module-path={module}")
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()


def start_tpm(folder: Path) -> tuple[int, "subprocess.Popen[bytes]"]:
    """Its port, and itself. Where somebody else takes one of its two ports meanwhile, it gets others."""
    listen = "type=tcp,bindaddr=127.0.0.1,port="
    for _ in range(5):
        port = two_ports()
        process = subprocess.Popen([
            tool("swtpm"), "socket", "--tpm2", "--tpmstate", f"dir={folder}", "--server", f"{listen}{port}",
            "--ctrl", f"{listen}{port + 1}", "--flags", "not-need-init,startup-clear",
        ])  # fmt: skip
        if is_up(process, port + 1):
            return port, process
    raise AssertionError("swtpm does not listen")


def make_token(folder: Path) -> None:
    deadline = time.monotonic() + 120
    while ptool("init", "--path", str(folder)) != 0:  # the resource manager is not on the bus yet
        assert time.monotonic() < deadline, "no resource manager"
        time.sleep(0.1)
    token = ["--label=attest", f"--userpin={PIN}", "--path", str(folder)]
    assert ptool("addtoken", "--pid=1", "--sopin=5678", *token) == 0
    assert ptool("addkey", "--algorithm=ecc256", "--key-label=entries", *token) == 0


def ptool(*arguments: str) -> int:
    # It is a script for the system's Python, whatever Python runs the tests.
    environment = {**os.environ, "PATH": "/usr/bin:/bin:/usr/sbin"}
    return subprocess.run(
        [tool("tpm2_ptool"), *arguments], env=environment, capture_output=True, check=False
    ).returncode


def sign(folder: Path, uri: str) -> None:
    signer = open_signer(uri)
    bad: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for count in range(4):
                message = f"{number}/{count}".encode() * 400  # more than a TPM takes: it is hashed here
                signer.public_key.verify(ask(signer, message), message)
        except BaseException as error:  # noqa: BLE001
            bad.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not bad, bad
    signer.close()
    message = b"x" * 1_500
    for way in SCHEMES[ECDSA_P256].ways:  # this library offers both
        alone = open_pkcs11_signer(uri)
        assert alone._way == SCHEMES[ECDSA_P256].ways[0]
        alone._way = way
        alone.public_key.verify(ask(alone, message), message)
        alone.close()
    with Log.create(folder / "audit", origin="example.com/tpm", signer=uri) as log:
        receipts = [log.append(event_type="ACTION", action_type="a", actor_id="b") for _ in range(5)]
    check_log(folder / "audit", receipts)
    print("signed by a TPM")


def two_ports() -> int:
    """A port whose neighbour is free as well: the client of swtpm finds its control channel there."""
    while True:
        port = free_port()
        with contextlib.suppress(OSError), listening(port + 1):
            return port


def is_up(process: "subprocess.Popen[bytes]", port: int) -> bool:
    """Whether it listens there, once it does; False where it has ended."""
    deadline = time.monotonic() + 60
    while process.poll() is None:
        assert time.monotonic() < deadline, "swtpm does not listen"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process.poll() is None
        time.sleep(0.02)
    return False


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
