"""Every command of docs/many-hosts.md runs, each on the host or server that the page says."""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.logs import draft
from tests.support.postgres import PostgresServer, eventually, running

from attestlog._internal.cli import main
from attestlog._internal.storage.resolve import open_source

pytestmark = pytest.mark.slow

PAGE = Path(__file__).resolve().parents[2] / "docs" / "many-hosts.md"
BLOCK = re.compile(r"^```(console|sql)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DATA = "/var/lib/postgresql/data"
DATABASE = "db-1.example.com,db-2.example.com/audit"
SECOND, THIRD, AFTER = "On the second host:", "The third host is as the second", "## Failover"


class Stage:
    """Two servers, and three hosts, on this machine."""

    def __init__(
        self,
        server: PostgresServer,
        folder: Path,
        patch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.primary, self.standby = server, PostgresServer()
        self._sockets = f"host={server.folder},{self.standby.folder}"
        self._folder, self._patch, self._capsys = folder, patch, capsys
        self._log = ""
        self.ran: list[str] = []

    def run(self, page: str, host: str) -> None:
        """Every block of the page, for this host."""
        for kind, text in BLOCK.findall(page):
            for line in text.strip().split("\n"):
                if kind == "sql":
                    self._sql(line)
                elif line.startswith("$ "):
                    self._console(line.removeprefix("$ "), host)

    def _on(self, host: str) -> None:
        self._patch.setenv("ATTESTLOG_HOME", str(self._folder / host))
        for name in ("ATTESTLOG_STATE", "ATTESTLOG_CACHE"):
            self._patch.delenv(name, raising=False)

    def _sql(self, statement: str) -> None:
        if statement in {"create role app login;", "create role auditor login;"}:
            return  # the fixture made them
        self.primary.sql(statement)

    def _console(self, line: str, host: str) -> None:
        name, *words = shlex.split(line.replace("host-2", host).replace("$LOG", self._log))
        self.ran.append(words[0] if name == "attestlog" else words[-1] if name == "pg_ctl" else name)
        if name == "export":
            self._log = words[0].removeprefix("LOG=")
        elif name == "pg_basebackup":
            shutil.rmtree(self.standby.data, ignore_errors=True)
            words[words.index("-h") + 1] = str(self.primary.folder)
            self._server(self.standby, name, words)
            self.standby.configure(unix_socket_directories=str(self.standby.folder))
        elif words[-1] == "promote":
            self.primary.kill()
            self.primary, self.standby = self.standby, self.primary
            self._server(self.primary, name, words)
        elif name == "pg_ctl":
            self._server(self.standby, name, ["-l", str(self.standby.folder / "server.log"), *words])
            eventually(
                lambda: self.primary.sql("select 1 from pg_stat_replication where state = 'streaming'")
            )
        else:
            self._attestlog(words, host)

    @staticmethod
    def _server(server: PostgresServer, program: str, words: list[str]) -> None:
        server.run(program, *[str(server.data) if word == DATA else word for word in words])

    def _attestlog(self, words: list[str], host: str) -> None:
        """`keys admit` is for the first host, by the page; the rest of its blocks are for theirs."""
        self._on("host-1" if words[:2] == ["keys", "admit"] else host)
        target = words.pop() if ">" in words else ""
        code = main([self._place(word) for word in words if word != ">"])
        out, err = self._capsys.readouterr()
        assert code == 0, (words, out, err)
        if target:
            Path(target).write_text(out)

    def _place(self, word: str) -> str:
        return word.replace(f"{DATABASE}?", f"/audit?{self._sockets}&").replace(
            DATABASE, f"/audit?{self._sockets}"
        )

    def log(self) -> str:
        return self._place(self._log)


@pytest.fixture
def stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Stage]:
    monkeypatch.chdir(tmp_path)
    with running() as server:
        made = Stage(server, tmp_path, monkeypatch, capsys)
        try:
            yield made
        finally:
            for each in {made.standby, made.primary} - {server}:
                each.remove()


def test_commands_run(stage: Stage) -> None:
    Path("drafts.jsonl").write_text("".join(json.dumps(draft(number)) + "\n" for number in range(3)))
    page = PAGE.read_text()
    first, rest = page.split(SECOND)
    second, rest = rest.split(THIRD)
    _, rest = rest.split(AFTER)
    stage.run(first, "host-1")
    stage.run(second, "host-2")
    stage.run(second, "host-3")
    failover, rest = rest.split("## Moving")
    stage.run(failover, "host-3")
    signed_by = {entry.signing_key_id for entry in open_source(stage.log()).entries()}
    assert len(signed_by) == 3
    stage.run(rest, "host-1")
    joining = ["keys", "keys", "keys", "configure", "adopt", "append", "verify"]
    standby = ["pg_basebackup", "start"]
    assert stage.ran == [
        *standby, "postgres", "export", "init", *joining, *joining, "promote", *standby, "append", "verify",
        "move", "move",
    ]  # fmt: skip
