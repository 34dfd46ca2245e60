"""What roles may do: a writer changes nothing but by functions of the schema, a reader nothing at all."""

import contextlib

import pytest
from tests.support.logs import draft
from tests.support.postgres import PostgresServer
from tests.support.tools import extra

import attestlog
from attestlog._internal.storage.postgres.schema import VERSION
from attestlog._internal.storage.resolve import open_store, upgrade_schema
from attestlog.errors import DeniedError, NewerFormatError, NoLogError
from attestlog.testing import MemorySigner

FUNCTIONS = {
    "add_timestamp", "append", "beat", "begin_copy", "copy_entries", "create_log", "drop_copy", "end_copy",
    "erase", "lock", "open_copy", "seal", "set_checkpoint", "set_nodes",
}  # fmt: skip
TABLES = {"checkpoint", "entry", "head", "log", "meta", "node", "timestamp"}


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    url = postgres.new_url(user="app")
    signer, checkpoint_signer = MemorySigner(), MemorySigner("Ed25519")
    with attestlog.create(
        url, origin="example.com/roles", signer=signer, checkpoint_signer=checkpoint_signer
    ) as log:
        log.append(draft())
    return url


@pytest.mark.parametrize("role", ["attestlog_reader", "attestlog_writer"])
def test_privileges_of_tables_are_to_read(postgres: PostgresServer, role: str) -> None:
    found = postgres.sql(
        "select c.relname, p.name from pg_class c join pg_namespace n on n.oid = relnamespace,"
        " unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) p(name)"
        " where n.nspname = 'attestlog' and c.relkind in ('r', 'v', 'S', 'p')"
        " and has_table_privilege(%s, c.oid, p.name)",
        role,
    )
    assert {(table, what) for table, what in found} == {(table, "select") for table in TABLES}
    assert postgres.sql("select has_schema_privilege(%s, 'attestlog', 'create')", role) == [(False,)]


@pytest.mark.parametrize(
    "role,want", [("attestlog_reader", set()), ("attestlog_writer", FUNCTIONS), ("public", set())]
)
def test_privileges_of_functions(postgres: PostgresServer, role: str, want: set[str]) -> None:
    found = postgres.sql(
        "select proname from pg_proc p join pg_namespace n on n.oid = pronamespace"
        " where nspname = 'attestlog' and has_function_privilege(%s, p.oid, 'execute')",
        role,
    )
    assert {name for (name,) in found} == want


def test_every_function_runs_as_its_owner_with_a_path_of_its_own(postgres: PostgresServer) -> None:
    found = postgres.sql(
        "select proname, prosecdef, proconfig from pg_proc p join pg_namespace n on n.oid = pronamespace"
        " where nspname = 'attestlog'"
    )
    assert {name for name, _, _ in found} == FUNCTIONS
    assert all((owner, path) == (True, ["search_path=attestlog, pg_temp"]) for _, owner, path in found)


@pytest.mark.parametrize("user", ["app", "auditor"])
@pytest.mark.parametrize(
    "statement",
    [
        "update attestlog.entry set line = 'x'", "delete from attestlog.entry", "truncate attestlog.entry",
        "insert into attestlog.checkpoint values (1, 1, 'x')", "update attestlog.head set size = 1",
        "drop table attestlog.entry", "create table attestlog.x ()", "drop function attestlog.beat(int)",
        "select * from attestlog.head for update",
    ],
)  # fmt: skip
def test_what_is_not_granted_is_refused(postgres: PostgresServer, user: str, statement: str) -> None:
    with pytest.raises(extra("psycopg").errors.InsufficientPrivilege):
        postgres.sql(statement, user=user)


def test_a_payload_goes_only_where_an_entry_says_so(postgres: PostgresServer, url: str) -> None:
    (log_id,) = postgres.sql("select max(log_id) from attestlog.log")[0]
    (digest,) = postgres.sql("select entry_hash from attestlog.entry where log_id = %s and seq = 1", log_id)[
        0
    ]
    with pytest.raises(extra("psycopg").Error, match="does not erase"):
        postgres.sql(
            "select attestlog.erase(%s, 1, %s, array[0]::bigint[], array[10])", log_id, digest, user="app"
        )
    assert attestlog.verify(url).verdict == "VERIFIED"


def test_a_reader_reads_and_verifies_and_does_not_write(postgres: PostgresServer, url: str) -> None:
    theirs = url.replace("user=app", "user=auditor")
    assert attestlog.verify(theirs).verdict == "VERIFIED"
    with pytest.raises(DeniedError):
        open_store(theirs)


def test_what_a_dba_changes_is_found(postgres: PostgresServer, url: str) -> None:
    (log_id,) = postgres.sql("select max(log_id) from attestlog.log")[0]
    assert attestlog.verify(url).verdict == "VERIFIED"
    postgres.sql(
        "update attestlog.entry set line = replace(encode(line, 'escape'), 'T-1', 'T-2')::bytea"
        " where log_id = %s and seq = 1",
        log_id,
    )
    report = attestlog.verify(url)
    assert (report.verdict, report.findings[0].code) == ("TAMPERED", "entry.action_hash")


def test_what_a_writer_appends_that_nobody_signed_stops_the_others(postgres: PostgresServer) -> None:
    """The server checks place, chain and time, and no signature: the next host does, before it signs."""
    url = postgres.new_url(user="app")
    signer, checkpoint_signer = MemorySigner(), MemorySigner("Ed25519")
    log = attestlog.create(
        url, origin="example.com/forged", signer=signer, checkpoint_signer=checkpoint_signer
    )
    log.append(draft())
    (log_id,) = postgres.sql("select max(log_id) from attestlog.log")[0]
    head = postgres.sql(
        "select size, entry_hash, timestamp_us, edge from attestlog.head where log_id = %s", log_id
    )
    size, digest, timestamp_us, edge = head[0]
    postgres.sql(
        "select attestlog.append(%s, %s, %s, array[sha256('x')], array['{}'::bytea], %s, %s || sha256('x'),"
        " array[]::int[], array[]::bigint[], array[]::bytea[])",
        log_id, size, digest, timestamp_us, edge, user="app",
    )  # fmt: skip
    with pytest.raises(attestlog.errors.AttestlogError):
        log.append(draft(2))
    assert postgres.sql("select size from attestlog.head where log_id = %s", log_id) == [(size + 1,)]
    assert attestlog.verify(url).verdict != "VERIFIED"
    with contextlib.suppress(attestlog.errors.AttestlogError):
        log.close()


def test_a_deleted_row_is_found(postgres: PostgresServer, url: str) -> None:
    (log_id,) = postgres.sql("select max(log_id) from attestlog.log")[0]
    postgres.sql("delete from attestlog.entry where log_id = %s and seq = 1", log_id)
    assert attestlog.verify(url).verdict in {"TAMPERED", "TRUNCATED"}


def test_the_schema_is_made_once_and_a_newer_one_left_alone(postgres: PostgresServer) -> None:
    postgres.sql("create database other")
    database = f"postgresql:///other?host={postgres.folder}&user=postgres"
    assert attestlog.verify(f"{database}&log=a").verdict == "UNKNOWN"
    with pytest.raises(NoLogError, match="no schema for logs"):
        open_store(f"{database}&log=a")
    assert upgrade_schema(database) == (0, VERSION)
    assert upgrade_schema(database) == (VERSION, VERSION)
    psycopg = extra("psycopg")
    with psycopg.connect(
        host=str(postgres.folder), user="postgres", dbname="other", autocommit=True
    ) as other:
        other.execute("update attestlog.meta set version = version + 2")
    with pytest.raises(NewerFormatError):
        upgrade_schema(database)
