"""Real tokens for tests: SoftHSM2, and a second provider in a process that can be stopped and killed.

Each token has a directory of its own and is found through SOFTHSM2_CONF, so no test sees another's keys.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.tools import library, missing, tool

from attestlog._internal.signers import pkcs11_module

PIN = "481516-sezam"
SO_PIN = "5678"
LABEL = "attest"

SOFTHSM: tuple[str, ...] = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)


def softhsm() -> str:
    """The path of SoftHSM's library."""
    tool("softhsm2-util")
    for path in SOFTHSM:
        if Path(path).exists():
            return path
    return missing("libsofthsm2.so is not where it usually is")


def p11_kit_client() -> str:
    """The path of the library that speaks to a p11-kit server."""
    tool("p11-kit")
    return str(library("pkcs11/p11-kit-client.so", "p11-kit-modules"))


@dataclass
class SoftToken:
    """One SoftHSM token."""

    folder: Path
    module: str
    label: str = LABEL

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to see this token and no other."""
        return {"SOFTHSM2_CONF": str(self.folder / "softhsm2.conf")}

    def initialise(self) -> None:
        """Make the token, with nothing in it."""
        (self.folder / "tokens").mkdir(parents=True)
        self.configure()
        self.run(
            tool("softhsm2-util"),
            "--init-token",
            "--free",
            "--label",
            self.label,
            "--pin",
            PIN,
            "--so-pin",
            SO_PIN,
        )

    def copy_of(self, other: "SoftToken") -> None:
        """Become the same token, keys included, in a folder of its own."""
        shutil.copytree(other.folder / "tokens", self.folder / "tokens")
        self.configure()

    def configure(self) -> None:
        """Write the file that says where the tokens are."""
        (self.folder / "softhsm2.conf").write_text(
            f"directories.tokendir = {self.folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"
        )

    def uri(self, label: str, module: str | None = None, **query: str) -> str:
        """The URI of a key."""
        more = "".join(f"&{name.replace('_', '-')}={value}" for name, value in query.items())
        return f"pkcs11:token={self.label};object={label}?module-path={module or self.module}{more}"

    def run(self, *command: str) -> str:
        """A command that works on this token."""
        done = subprocess.run(
            [tool(command[0]), *command[1:]],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@dataclass
class RemoteToken:
    """A token served by `p11-kit server`: to the client a device of its own, to the test a process."""

    token: SoftToken
    address: Path
    module: str
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to reach it."""
        return {"P11_KIT_SERVER_ADDRESS": f"unix:path={self.address}"}

    def uri(self, label: str, **query: str) -> str:
        """The URI of a key."""
        return self.token.uri(label, self.module, **query)

    def start(self) -> None:
        """Switch it on; returns when it listens."""
        self.address.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [tool("p11-kit"), "server", "-f", "-n", str(self.address), "--provider", self.token.module,
             f"pkcs11:token={self.token.label}"],
            env={**os.environ, **self.token.environment}, stdout=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while not self._listens():
            assert self.process.poll() is None, "p11-kit server ended"
            assert time.monotonic() < deadline, "p11-kit server does not listen"
            time.sleep(0.005)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:  # the file is there a moment earlier
            return probe.connect_ex(str(self.address)) == 0

    def hang(self) -> None:
        """It answers no more, and is there."""
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        """It answers what it was asked."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """It is gone."""
        self._signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()
        self.process = None

    def _signal(self, number: int) -> None:
        # The group: whoever connects is served by a child of the server.
        assert self.process is not None
        os.killpg(self.process.pid, number)


def unload() -> None:
    """Whatever a failing test has left open: the next one has another token."""
    for module in pkcs11_module._modules.values():
        module.tokens.clear()
        module._refused.clear()
        module.let_go(10)
