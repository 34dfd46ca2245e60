"""Steps of the schema: each whole or not at all, with writers one version older that go on meanwhile.

There is one step yet. Those after it are made up here, as later ones will be: more columns, more functions.
"""

import threading
from collections.abc import Callable, Iterator

import pytest
from tests.support.logs import draft
from tests.support.postgres import PATIENCE_S, PostgresServer, eventually, running

import attestlog
from attestlog._internal.log import Log
from attestlog._internal.storage.postgres import connection, schema, upgrading
from attestlog._internal.storage.postgres.store import PostgresStore
from attestlog._internal.storage.postgres.url import parse_url
from attestlog._internal.storage.resolve import open_source, upgrade_schema
from attestlog.errors import NewerFormatError, NoLogError, StorageError
from attestlog.testing import MemorySigner, check_log

STEPS = {
    2: "alter table attestlog.head add column note text;",
    3: "alter table attestlog.entry add column note text;",
    4: "create table attestlog.half (); select 1 / 0;",
}


@pytest.fixture(scope="module")
def made() -> Iterator[PostgresServer]:
    """One of its own: its schema grows."""
    with running() as server:
        yield server


@pytest.fixture
def server(made: PostgresServer) -> PostgresServer:
    """With the schema as it is."""
    made.sql("drop schema attestlog cascade")
    made.sql(schema.steps())
    return made


class Software:
    """The attestlog of one version or another, as this process."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        real = schema._file
        patch.setattr(schema, "_file", lambda number: STEPS[number] if number in STEPS else real(number))

    def becomes(self, version: int) -> None:
        for module in (connection, schema, upgrading):
            self._patch.setattr(module, "VERSION", version)


@pytest.fixture
def software(monkeypatch: pytest.MonkeyPatch) -> Software:
    return Software(monkeypatch)


def version(server: PostgresServer) -> int:
    (found,) = server.sql("select version from attestlog.meta")
    return int(found[0])


def database(server: PostgresServer) -> str:
    return f"postgresql:///postgres?host={server.folder}&user=postgres"


class Keys:
    def __init__(self) -> None:
        self.signer, self.checkpoint_signer = MemorySigner(), MemorySigner("Ed25519")

    def open(self, url: str, how: Callable[..., Log] = attestlog.open, **options: str) -> Log:
        return how(url, signer=self.signer.uri, checkpoint_signer=self.checkpoint_signer.uri, **options)


def terminate(server: PostgresServer) -> None:
    server.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'attestlog'")


def test_a_writer_one_version_older_goes_on(server: PostgresServer, software: Software) -> None:
    keys, url = Keys(), server.new_url(user="app")
    with keys.open(url, attestlog.create, origin="example.com/older") as older:
        receipts = [older.append(draft(1))]
        software.becomes(2)
        assert upgrade_schema(database(server)) == (1, 2)
        software.becomes(1)
        receipts.append(older.append(draft(2)))  # by the connection that it had
        terminate(server)
        receipts.append(older.append(draft(3)))  # by a new one
        software.becomes(2)
        with keys.open(url) as newer:
            receipts.append(newer.append(draft(4)))
            software.becomes(1)
            receipts += [older.append(draft(5)), newer.append(draft(6))]
            assert attestlog.verify(url).verdict == "VERIFIED"
            # Two versions are too many: refused once it connects again, and nothing is written.
            software.becomes(3)
            assert upgrade_schema(database(server)) == (2, 3)
            software.becomes(1)
            terminate(server)
            with pytest.raises(NewerFormatError, match="of version 3, want 1"):
                older.append(draft(7))
            software.becomes(2)
            receipts.append(newer.append(draft(8)))
        software.becomes(3)
    check_log(url, acknowledged=receipts)
    assert open_source(url).size() == len(receipts) + 1


def test_software_that_is_newer_says_that_the_schema_is_old(
    server: PostgresServer, software: Software
) -> None:
    software.becomes(2)
    with pytest.raises(NoLogError, match="of version 1, want 2") as caught:
        Keys().open(server.new_url(user="app"), attestlog.create, origin="example.com/newer")
    assert caught.value.name == "schema"


def test_a_step_that_fails_leaves_those_before_it(server: PostgresServer, software: Software) -> None:
    software.becomes(4)
    with pytest.raises(StorageError, match="division by zero"):
        upgrade_schema(database(server))
    assert version(server) == 3
    assert server.sql("select to_regclass('attestlog.half')") == [(None,)]


def test_a_step_waits_for_the_turn_of_a_writer(server: PostgresServer, software: Software) -> None:
    """And gives way now and then, so that the writers behind it do not wait for a turn that is long."""
    keys, url = Keys(), server.new_url(user="app")
    keys.open(url, attestlog.create, origin="example.com/turn").close()
    found: list[tuple[int, int]] = []
    store = PostgresStore(parse_url(url), lock_timeout_s=PATIENCE_S, hold_max_s=int(PATIENCE_S))
    software.becomes(2)
    with store.exclusive():
        thread = threading.Thread(target=lambda: found.append(upgrade_schema(database(server))))
        thread.start()
        waits = "select 1 from pg_stat_activity where wait_event = 'relation' and query like '%%add column%%'"
        eventually(lambda: server.sql(waits))
        assert not found
    thread.join(PATIENCE_S)
    store.close()
    assert found == [(1, 2)]


def test_what_is_printed_is_refused_where_another_step_is_next(
    server: PostgresServer, software: Software
) -> None:
    software.becomes(3)
    with pytest.raises(Exception, match="step 3 of the schema comes after step 2, this is 1"):
        server.sql(schema.steps(after=2))
    server.sql("rollback")
    server.sql(schema.steps(after=1))
    assert version(server) == 3
