"""A server on another machine is who it says, or nothing is sent to it; and no password is shown anywhere."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.support.logs import draft
from tests.support.postgres import PostgresServer, eventually, running
from tests.support.proxy import free_port
from tests.support.tls import authority

import attestlog
from attestlog._internal.cli import main
from attestlog._internal.storage.postgres import url as url_module
from attestlog.errors import DeniedError
from attestlog.testing import check_log

PASSWORD = "pa55word-that-nobody-sees"


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Files of an authority, and of a certificate and key for 127.0.0.1."""
    return authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server(certified: tuple[Path, Path, Path]) -> Iterator[PostgresServer]:
    _, certificate, key = certified
    listen = partial(PostgresServer.serve_tls, certificate=certificate, key=key, port=free_port())
    with running(listen) as made:
        made.sql(f"alter role app password '{PASSWORD}'")
        yield made


@pytest.fixture
def url(
    server: PostgresServer,
    certified: tuple[Path, Path, Path],
    own_home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """As if the server were on another machine, with the password in a file."""
    assert own_home.parent.is_dir()
    monkeypatch.setattr(url_module, "_is_loopback", lambda _host: False)
    file = own_home.parent / "passwords"
    file.write_text(f"*:*:*:app:{PASSWORD}\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    return server.new_url(user="app", host="127.0.0.1", sslrootcert=str(certified[0]))


def test_a_name_that_is_certified_is_trusted(url: str, server: PostgresServer) -> None:
    with attestlog.create(url, origin="example.com/tls") as log:
        receipt = log.append(draft(1))
        found = server.sql(
            "select ssl from pg_stat_ssl join pg_stat_activity using (pid)"
            " where application_name = 'attestlog' and usename = 'app'"
        )
        assert set(found) == {(True,)}
    check_log(url, acknowledged=[receipt])


def test_another_name_is_refused(url: str) -> None:
    with pytest.raises(DeniedError, match="does not match host name"):
        attestlog.create(
            url.replace("host=127.0.0.1", "host=db.example.com&hostaddr=127.0.0.1"), origin="example.com/tls"
        )


def test_a_certificate_of_another_authority_is_refused(url: str, tmp_path: Path) -> None:
    other, _, _ = authority(tmp_path)
    before = url.partition("sslrootcert=")[0]
    with pytest.raises(DeniedError, match="certificate verify failed"):
        attestlog.create(f"{before}sslrootcert={other}&log=other", origin="example.com/tls")


def test_a_server_without_tls_is_refused_unless_the_url_allows_it(url: str, server: PostgresServer) -> None:
    server.sql("alter system set ssl = off")
    reloaded(server, "off")
    try:
        with pytest.raises(DeniedError, match="SSL was required"):
            attestlog.create(url, origin="example.com/tls")
    finally:
        server.sql("alter system reset ssl")
        reloaded(server, "on")


def reloaded(server: PostgresServer, ssl: str) -> None:
    """Returns when new connections meet it: a server reads its settings when it comes to that."""
    server.reload()
    eventually(lambda: server.sql("show ssl") == [(ssl,)])


@pytest.mark.parametrize("verb", [("verify",), ("init", "--origin", "example.com/wrong"), ("show", "0")])
def test_a_wrong_password_is_refused_at_once_and_shown_nowhere(
    verb: tuple[str, ...], url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PGPASSWORD", f"{PASSWORD}-wrong")
    name, *rest = verb
    url = url.replace("?", "?connect_timeout=7&")  # no connection that was made before
    assert main([name, url, *rest, "--json"]) != 0
    shown = "".join(capsys.readouterr())
    assert "FATAL" in shown
    assert PASSWORD not in shown
    named = set(re.findall(r"log=[a-z0-9-]+", shown))
    assert named == {"log=" + url.rpartition("log=")[2]}, "all logs of a server are read by one connection"


def test_no_error_repr_or_report_has_the_password(
    url: str, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    seen: list[object] = []
    with attestlog.create(url, origin="example.com/repr") as log:
        log.append(draft(1))
        seen += [log, log.notices, attestlog.verify(url)]
        monkeypatch.setenv("PGPASSWORD", f"{PASSWORD}-wrong")
        server.sql("select pg_terminate_backend(pid, 60000) from pg_stat_activity where usename = 'app'")
        with pytest.raises(DeniedError) as caught:
            log.append(draft(2))
        seen += [caught.value, caught.value.evidence(), caught.value.__context__, caught.value.__cause__]
        monkeypatch.setenv("PGPASSWORD", PASSWORD)
    seen += [attestlog.verify(url).findings]
    assert [item for item in seen if PASSWORD in f"{item!r} {item}"] == []
