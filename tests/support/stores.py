"""Stores that speak Amazon's S3 protocol, as processes of their own, and what a test does behind our back.

SeaweedFS is a real store, moto an emulator; rclone's server ignores conditions, and must be refused.
"""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from tests.support.proxy import free_port
from tests.support.services import AWS_ENVIRONMENT, Server

BUCKET = "public-logs"
START_TRIES = 3
_KEY, _SECRET = AWS_ENVIRONMENT["AWS_ACCESS_KEY_ID"], AWS_ENVIRONMENT["AWS_SECRET_ACCESS_KEY"]


class Store(Server):
    """One that answers for objects, with a bucket in it."""

    def start(self) -> None:
        for left in reversed(range(START_TRIES)):
            try:
                super().start()
                self._make_bucket()
            except AssertionError:
                self.stop(kill=True)
                if not left:
                    raise
                self.port = free_port()  # somebody else took one of its ports meanwhile
            else:
                return

    def _make_bucket(self) -> None:
        last = ""
        for _ in range(300):
            try:
                self.client().create_bucket(Bucket=BUCKET)
                self.client().put_object(Bucket=BUCKET, Key="ready", Body=b"")
            except (ClientError, BotoCoreError) as error:  # it listens before it can answer
                last = str(error)
                time.sleep(0.1)
            else:
                return
        raise AssertionError(f"{self.url} makes no bucket: {last}")

    def client(self) -> Any:
        return boto3.session.Session().client(
            "s3", endpoint_url=self.url, region_name="us-east-1",
            aws_access_key_id=_KEY, aws_secret_access_key=_SECRET,
            config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}),
        )  # fmt: skip

    def objects(self, prefix: str) -> dict[str, bytes]:
        """What is there, by the name after the prefix."""
        client = self.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/")
        keys = [one["Key"] for page in pages for one in page.get("Contents", ())]
        return {
            key.removeprefix(f"{prefix}/"): client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
            for key in keys
        }

    def put(self, key: str, data: bytes) -> None:
        self.client().put_object(Bucket=BUCKET, Key=key, Body=data)

    def delete(self, key: str) -> None:
        self.client().delete_object(Bucket=BUCKET, Key=key)


class SeaweedFS(Store):
    """Its parts talk to each other over eight ports."""

    def __init__(self, folder: Path) -> None:
        super().__init__("weed", folder)

    def command(self) -> tuple[list[str], dict[str, str]]:
        names = ["master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port"]
        names += ["filer.port.grpc", "s3.port.grpc"]
        ports = {name: free_port() for name in names}
        config = self.folder / "s3.json"
        credentials = [{"accessKey": _KEY, "secretKey": _SECRET}]
        config.write_text(
            json.dumps({"identities": [{"name": "test", "credentials": credentials, "actions": ["Admin"]}]})
        )
        data = self.folder / "weed"
        data.mkdir(exist_ok=True)
        return [
            "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false",
            "-master.volumeSizeLimitMB=64", "-volume.max=20", "-filer", "-s3", f"-s3.port={self.port}",
            f"-s3.config={config}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false",
            f"-filer.localSocket={self.folder}/f.sock", f"-s3.localSocket={self.folder}/s.sock",
            *(f"-{name}={port}" for name, port in ports.items()),
        ], {}  # fmt: skip


class Moto(Store):
    """Keeps all in memory."""

    def __init__(self, folder: Path) -> None:
        super().__init__("moto_server", folder)

    def command(self) -> tuple[list[str], dict[str, str]]:
        return ["-H", "127.0.0.1", "-p", str(self.port)], {}


class Rclone(Store):
    """Overwrites whatever it is asked to."""

    def __init__(self, folder: Path) -> None:
        super().__init__("rclone", folder)

    def command(self) -> tuple[list[str], dict[str, str]]:
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        return [
            "serve", "s3", "--config", str(self.folder / "none.conf"), "--auth-key", f"{_KEY},{_SECRET}",
            "--addr", f"127.0.0.1:{self.port}", str(data),
        ], {}  # fmt: skip


KINDS: dict[str, Callable[[Path], Store]] = {"seaweedfs": SeaweedFS, "moto": Moto}
Started = dict[Callable[[Path], Store], Store]
"""Stores by kind, each started when it is first asked for."""


def start(kind: Callable[[Path], Store], started: Started, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The store of this kind, running."""
    if kind not in started:
        store = kind(tmp_path_factory.mktemp("store"))
        started[kind] = store
        store.start()
    return started[kind]


def use(store: Store, patch: pytest.MonkeyPatch, endpoint: str | None = None) -> None:
    """Have this process ask that store, as an operator does: by environment variables."""
    for name, value in AWS_ENVIRONMENT.items():
        patch.setenv(name, value)
    patch.setenv("AWS_REGION", "us-east-1")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    patch.setenv("AWS_ENDPOINT_URL", endpoint or store.url)


class LostAnswers:
    """A proxy that passes every request on, and keeps back the first answer to each PUT of a name."""

    def __init__(self, target: int) -> None:
        self.target, self.lost = target, 0
        self._seen: set[bytes] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """One request of one connection, which then ends."""
        with client, contextlib.suppress(OSError):
            head, _, body = _until(client, b"\r\n\r\n").partition(b"\r\n\r\n")
            length = next(
                (int(line.partition(b":")[2]) for line in head.lower().split(b"\r\n")
                 if line.startswith(b"content-length:")), 0,
            )  # fmt: skip
            while len(body) < length:
                body += client.recv(65_536)
            with socket.create_connection(("127.0.0.1", self.target), timeout=30) as server:
                server.sendall(head + b"\r\nConnection: close\r\n\r\n" + body)
                answer = b""
                while data := server.recv(65_536):
                    answer += data
            what = head.partition(b" HTTP/")[0]
            with self._lock:
                is_lost = what.startswith(b"PUT ") and what not in self._seen
                self._seen.add(what)
                self.lost += is_lost
            if not is_lost:
                client.sendall(answer)


def _until(client: socket.socket, end: bytes) -> bytes:
    found = b""
    while end not in found:
        data = client.recv(65_536)
        if not data:
            raise ConnectionError("the request ends early")
        found += data
    return found
