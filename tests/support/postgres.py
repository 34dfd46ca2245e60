"""PostgreSQL servers for tests: each of its own in a temporary folder, reached by a Unix socket alone.

Run as user postgres where the tests run as root, which PostgreSQL refuses to do. Where it is not installed a
test is skipped, in CI it fails.
"""

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.tools import extra, missing, tool

from attestlog._internal.storage.postgres.schema import steps

_BIN: Final = "/usr/lib/postgresql/*/bin"
_SETTINGS: Final = """
listen_addresses = ''
unix_socket_directories = '{folder}'
fsync = on
wal_level = replica
max_wal_senders = 10
wal_keep_size = 256MB
wal_log_hints = on
hot_standby = on
shared_buffers = 64MB
max_connections = 80
log_min_messages = warning
"""
PATIENCE_S: Final = 120.0
"""For what another thread or process does: far longer than it takes."""

_PORT: Final = 5432
"""Of a socket in a folder it is a part of the name, and may be the same for all."""

_numbers: Final = itertools.count(1)


def eventually(what: Callable[[], object]) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def program(name: str) -> str:
    """One of the server's programs, of the newest version that is installed."""
    found = sorted(Path("/").glob(f"{_BIN}/{name}".lstrip("/")), key=lambda path: int(path.parts[4]))
    return str(found[-1]) if found else missing(f"{name} is not installed: apt-get install postgresql")


class PostgresServer:
    """One server; the name of its socket's folder is short, as sockets need."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        self.data, self.port = self.folder / "data", _PORT
        self._user = _unprivileged(self.folder)
        self.within: list[str] = []
        """A command that starts the server elsewhere, such as in another network; needs root."""

    def make(self) -> None:
        """A new cluster."""
        self.run(
            "initdb",
            "-D",
            self.data,
            "-A",
            "trust",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        )
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(_SETTINGS.format(folder=self.folder))

    def clone(self, address: str = "") -> "PostgresServer":
        """A standby of this one, which it follows once it is started: by the socket, or at an address."""
        standby = PostgresServer()
        self.run(
            "pg_basebackup", "-D", standby.data, "-h", address or self.folder, "-U", "postgres", "-R", "-X",
            "stream", "--checkpoint=fast", "--no-sync",
        )  # fmt: skip
        standby.configure(unix_socket_directories=str(standby.folder), synchronous_standby_names="")
        return standby

    def kill(self) -> None:
        """End every process of it at once, as a power cut would."""
        children = [int(path.name) for path in Path("/proc").glob("[0-9]*") if _parent(path) == self.pid]
        ended = (self.pid, *children)
        for pid in ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        eventually(lambda: all(_state(pid) in ("", "Z") for pid in ended))
        # It may be long until somebody reaps the server, and until then its number is in use. After a power
        # cut the folder of sockets is empty.
        for lock in self.folder.glob(".s.PGSQL.*.lock"):
            lock.unlink()

    def promote(self) -> None:
        """Of a standby: take writes from now on."""
        self.run("pg_ctl", "-D", self.data, "-w", "-t", "60", "promote")

    def serve_tls(self, certificate: Path, key: Path, port: int) -> None:
        """Before it is started: listen at 127.0.0.1, too, where app needs its password, and TLS."""
        for source, name in ((certificate, "server.crt"), (key, "server.key")):
            target = self.data / name
            target.write_bytes(source.read_bytes())
            target.chmod(0o600)
            if self._user is not None:
                shutil.chown(target, self._user)
        rules = self.data / "pg_hba.conf"
        own = "host{} all app 127.0.0.1/32 {}\n"
        rules.write_text(f"{own.format('ssl', 'scram-sha-256')}{own.format('', 'reject')}{rules.read_text()}")
        self.port = port
        self.configure(listen_addresses="127.0.0.1", port=str(port), ssl="on")

    def trust(self, network: str) -> None:
        """Let everybody in from there."""
        with (self.data / "pg_hba.conf").open("a") as file:
            file.write(f"host all all {network} trust\nhost replication all {network} trust\n")

    def configure(self, **settings: str) -> None:
        """What later settings say goes."""
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def start(self) -> None:
        self.run("pg_ctl", "-D", self.data, "-l", self.folder / "server.log", "-w", "-t", "60", "start")

    def stop(self, mode: str = "immediate") -> None:
        with contextlib.suppress(AssertionError):
            self.run("pg_ctl", "-D", self.data, "-m", mode, "-w", "-t", "60", "stop")

    def reload(self) -> None:
        self.run("pg_ctl", "-D", self.data, "reload")

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, name: str, *arguments: object) -> None:
        command = [program(name), *map(str, arguments)]
        done = subprocess.run(
            command, user=self._user, cwd=self.folder, capture_output=True, text=True, check=False,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": str(self.folder)}, stdin=subprocess.DEVNULL,
        ) if name != "pg_ctl" else self._detached(command)  # fmt: skip
        assert done.returncode == 0, f"{name}: {done.stdout} {done.stderr} {self.log()}"

    def _detached(self, command: list[str]) -> "subprocess.CompletedProcess[str]":
        # The server keeps what it inherits: a pipe would stay open for as long as it runs.
        user = self._user
        if self.within and user is not None:
            drop = [tool("setpriv"), f"--reuid={user}", f"--regid={user}", "--clear-groups"]
            command, user = [*self.within, *drop, *command], None
        return subprocess.run(
            command, user=user, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, text=True, check=False,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": str(self.folder)},
        )  # fmt: skip

    def log(self) -> str:
        path = self.folder / "server.log"
        return path.read_text()[-2_000:] if path.exists() else ""

    @property
    def pid(self) -> int:
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def url(self, log: str, database: str = "postgres", **options: str) -> str:
        """Of a log, for the superuser unless `options` names a `user`."""
        asked = {"host": str(self.folder), "port": str(self.port), "user": "postgres", **options, "log": log}
        if self.port == _PORT:
            del asked["port"]
        return f"postgresql:///{database}?" + "&".join(f"{name}={value}" for name, value in asked.items())

    def new_url(self, **options: str) -> str:
        """Of a log that is not there yet."""
        return self.url(f"log-{next(_numbers)}", **options)

    def sql(self, statement: str, *parameters: Any, user: str = "postgres") -> list[tuple[Any, ...]]:
        """Run it as this user, autocommitted."""
        psycopg = extra("psycopg")
        with psycopg.connect(
            host=str(self.folder), port=self.port, user=user, dbname="postgres", autocommit=True
        ) as connection:
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []


@contextlib.contextmanager
def pooled(server: PostgresServer, connections: int) -> Iterator[Path]:
    """PgBouncer before it, pooling transactions over so many connections; the folder of its socket."""
    found = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
    program = found or missing("pgbouncer is not installed: apt-get install pgbouncer")
    folder = Path(tempfile.mkdtemp(prefix="pgb-"))
    user = _unprivileged(folder)
    users, settings = folder / "users.txt", folder / "pgbouncer.ini"
    users.write_text('"app" ""\n')
    settings.write_text(
        f"[databases]\n* = host={server.folder}\n[pgbouncer]\nlisten_addr =\nunix_socket_dir = {folder}\n"
        f"listen_port = 5432\nauth_type = trust\nauth_file = {users}\npool_mode = transaction\n"
        f"default_pool_size = {connections}\nignore_startup_parameters = extra_float_digits\n"
    )
    for path in (users, settings):
        path.chmod(0o644)
    process = subprocess.Popen(
        [program, str(settings)], user=user, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not _listens(folder / ".s.PGSQL.5432"):
            assert process.poll() is None, "pgbouncer ended"
            assert time.monotonic() < deadline, "pgbouncer does not listen"
            time.sleep(0.05)
        yield folder
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running(
    prepare: Callable[[PostgresServer], object] = lambda _server: None, **settings: str
) -> Iterator[PostgresServer]:
    """A server with the schema of logs in it. `prepare`: before it is started."""
    extra("psycopg")
    program("initdb")
    server = PostgresServer()
    try:
        server.make()
        server.configure(**settings)
        prepare(server)
        server.start()
        server.sql(steps())
        server.sql("create role app login; grant attestlog_writer to app")
        server.sql("create role auditor login; grant attestlog_reader to auditor")
        yield server
    finally:
        server.remove()


def _parent(process: Path) -> int:
    """Of a process in /proc; 0 if it is gone."""
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _state(pid: int) -> str:
    """As a letter; empty if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:  # the file is there a moment earlier
        return probe.connect_ex(str(path)) == 0


def _unprivileged(folder: Path) -> str | None:
    """Who the server runs as; None: whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        missing("there is no user postgres: apt-get install postgresql")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return "postgres"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests of a process."""
    with running() as server:
        yield server
