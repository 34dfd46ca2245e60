"""`attestlog postgres`: the schema that a PostgreSQL database needs before logs can be in it."""

from __future__ import annotations

from typing import Annotated

from attestlog._internal.cli import options
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.verbs import example, new_group

app = new_group("postgres")


@app.command(epilog=example("attestlog postgres schema | psql audit", "attestlog postgres schema --after 1"))
def schema(
    *,
    after: Annotated[int, options.text("Only what is new since this version.", metavar="VERSION")] = 0,
    as_json: options.JsonOption = False,
) -> None:
    """Print the schema as SQL.

    Those who run the database read and apply it. It makes a schema named attestlog and two roles,
    attestlog_writer and attestlog_reader, which you grant to those that your hosts and auditors log in as.
    A writer changes nothing but by functions of the schema.
    """
    from attestlog._internal.storage.postgres.schema import VERSION, steps

    out, sql = Output(as_json), steps(after)
    if out.as_json:
        out.emit("schema", {"version": VERSION, "sql": sql})
    else:
        out.raw(sql.encode())


@app.command(epilog=example("attestlog postgres upgrade 'postgresql://owner@db.example.com/audit'"))
def upgrade(
    database: Annotated[str, options.argument("URL", "URL of the database; it names no log.")],
    *,
    as_json: options.JsonOption = False,
) -> None:
    """Make the schema, or bring it up to date.

    Run it as the role that owns the schema. Each step is one transaction. Writers one version older go on
    meanwhile.
    """
    from attestlog._internal.storage.resolve import upgrade_schema

    before, now = upgrade_schema(database)
    out = Output(as_json)
    if out.as_json:
        out.emit("schema_version", {"version": now, "before": before})
    else:
        out.text("schema  ", (f"version {now}", "bold"), f", was {before or 'not there'}")
