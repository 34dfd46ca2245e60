"""Servers that hold keys, as processes of their own: `make services` installs them beside the tests.

ministack is an emulator of AWS; bao is OpenBao's real server.
"""

import json
import os
import socket
import subprocess
import time
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import boto3
import httpx
from tests.support.proxy import free_port
from tests.support.tools import missing

BIN = Path(__file__).resolve().parents[2] / ".venv-services" / "bin"
AWS_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


def installed(name: str) -> Path:
    """The server's program. Where it is not installed the test is skipped, in CI it fails."""
    path = BIN / name
    if not path.exists():
        missing(f"needs {name}: make services")
    return path


class Server:
    """One process that answers on a port; stopped and started again, it has the same port and folder."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self._name = name
        self._program = installed(name)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def command(self) -> tuple[list[str], dict[str, str]]:
        """Arguments and environment."""
        raise NotImplementedError

    def start(self) -> None:
        arguments, environment = self.command()
        with (self.folder / f"{self._name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, *arguments], cwd=self.folder, stdout=log, stderr=log,
                env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder), **environment},
            )  # fmt: skip
        self._await()

    def stop(self, *, kill: bool = False) -> None:
        process = self._process
        if process is not None:
            (process.kill if kill else process.terminate)()
            process.wait(60)
            self._process = None

    def _await(self) -> None:
        for _ in range(1_200):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert self._process is not None
                assert self._process.poll() is None, (self.folder / f"{self._name}.log").read_text()[-2000:]
                time.sleep(0.05)
            else:
                return
        raise AssertionError(f"{self._name} does not listen")


class Ministack(Server):
    """Keeps its keys over `stop`, which is when it writes them; not over `stop(kill=True)`."""

    def __init__(self, folder: Path) -> None:
        super().__init__("ministack", folder)

    def command(self) -> tuple[list[str], dict[str, str]]:
        return [], {
            "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(self.port), "IOT_MTLS_ENABLED": "0",
            "PERSIST_STATE": "1", "STATE_DIR": str(self.folder / "state"),
        }  # fmt: skip

    def client(self) -> Any:
        return boto3.session.Session().client(
            "kms", endpoint_url=self.url, region_name="eu-central-1",
            aws_access_key_id="test", aws_secret_access_key="test",
        )  # fmt: skip

    def make_key(self, spec: str = "ECC_NIST_P256") -> str:
        """The new key's ARN."""
        made = self.client().create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")
        return str(made["KeyMetadata"]["Arn"])


class OpenBao(Server):
    """Comes up sealed, as it should, and is unsealed by `start`. `kept`: its keys outlive its process."""

    def __init__(self, folder: Path, *, kept: bool = False) -> None:
        super().__init__("bao", folder)
        (folder / "data").mkdir()
        raft = {"raft": {"path": str(folder / "data"), "node_id": "one"}}
        self._storage = raft if kept else {"inmem": {}}
        self._unseal_key = self.token = ""
        self._cluster = f"127.0.0.1:{free_port()}"

    def command(self) -> tuple[list[str], dict[str, str]]:
        address = f"127.0.0.1:{self.port}"
        config = {
            "storage": self._storage,
            "listener": {"tcp": {"address": address, "cluster_address": self._cluster, "tls_disable": True}},
            "api_addr": self.url,
            "cluster_addr": f"https://{self._cluster}",
        }
        path = self.folder / "bao.json"
        path.write_text(json.dumps(config))
        return ["server", f"-config={path}"], {}

    def start(self, *, unseal: bool = True) -> None:
        super().start()
        if not self._unseal_key:
            made = self.ask("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
            self._unseal_key, self.token = made["keys"][0], made["root_token"]
            self.unseal()
            self.ask("POST", "sys/mounts/transit", {"type": "transit"})
        elif unseal:
            self.unseal()

    def unseal(self) -> None:
        self.ask("PUT", "sys/unseal", {"key": self._unseal_key})
        for _ in range(1_200):
            if httpx.get(f"{self.url}/v1/sys/health", timeout=60).status_code == 200:
                return  # unsealed, and active
            time.sleep(0.05)
        raise AssertionError("bao does not become active")

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"X-Vault-Token": self.token} if self.token else {}
        answer = httpx.request(method, f"{self.url}/v1/{path}", json=body, headers=headers, timeout=60)
        assert answer.status_code < 400, answer.text
        found: dict[str, Any] = answer.json() if answer.content else {}
        return found

    def make_key(self, name: str, kind: str = "ecdsa-p256") -> str:
        """`transit/NAME`."""
        self.ask("POST", f"transit/keys/{name}", {"type": kind})
        return f"transit/{name}"


Kind = TypeVar("Kind", Ministack, OpenBao)


class Servers:
    """One of each, started when first asked for; tests that stop a server have one of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Server] = []

    @cached_property
    def ministack(self) -> Ministack:
        return self._start(Ministack)

    @cached_property
    def openbao(self) -> OpenBao:
        return self._start(OpenBao)

    def stop(self) -> None:
        for server in self._started:
            server.stop(kill=True)

    def _start(self, kind: type[Kind]) -> Kind:
        folder = self._folder / kind.__name__
        folder.mkdir(exist_ok=True)  # it is there already if an earlier start failed, or was skipped
        server = kind(folder)
        self._started.append(server)
        server.start()
        return server
