"""`attestlog ship`: entries to another system as they are committed, and how far each sink is."""
# ruff: noqa: ARG001 - the filters are read from the context, by the names of a Filter's members

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from attestlog._internal.cli import filters, options
from attestlog._internal.cli.options import flag, text
from attestlog._internal.cli.output import Output, notice, print_table, printable
from attestlog._internal.cli.verbs import UsageError, example, new_app

if TYPE_CHECKING:
    from attestlog._internal.shipping.cursor import SinkCursor
    from attestlog._internal.shipping.shipper import Record, Shipper
    from attestlog._internal.storage.contract import LogSource

app = new_app()


@app.command(
    epilog=example(
        "attestlog ship audit --to otlp+https://collector.example.com:4318",
        "attestlog ship audit --to file:/var/log/audit.jsonl --once",
        "attestlog ship audit --status",
    )
)
def ship(
    context: typer.Context,
    log: options.LogArgument,
    *,
    to: Annotated[str | None, text("Sink to ship to; see above.", metavar="URI")] = None,
    form: Annotated[
        str | None, text("Of a webhook or a file: jsonl, ocsf, cloudevents; a file also otlp.", "--format")
    ] = None,
    name: Annotated[str | None, text("What to call the sink; default: its URI without the path.")] = None,
    start: Annotated[int, text("First entry for a sink that is new; default: 0.", "--from", metavar="N")] = 0,
    once: Annotated[bool, flag("Ship what there is now, then end.", "--once")] = False,
    status: Annotated[bool, flag("Only show how far the log's sinks are.", "--status")] = False,
    metrics: Annotated[bool, flag("With --status: Prometheus text.", "--metrics")] = False,
    token_file: Annotated[str | None, text("Bearer token for OTLP or a webhook.", metavar="FILE")] = None,
    secret_file: Annotated[
        str | None, text("Base64 secret that signs a webhook's bodies.", metavar="FILE")
    ] = None,
    ca_file: Annotated[str | None, text("Authority of the sink's certificate.", metavar="FILE")] = None,
    client_certificate: Annotated[
        str | None, text("Certificate and key for a syslog server.", metavar="FILE")
    ] = None,
    event_type: filters.EventTypeOption = None,
    severity_min: filters.SeverityMinOption = None,
    actor_id: filters.ActorIdOption = None,
    action_type: filters.ActionTypeOption = None,
    execution_status: filters.ExecutionStatusOption = None,
    record: Annotated[
        bool,
        typer.Option(help="Append an entry when the sink is lost, and when it is back."),
    ] = True,
    record_as: Annotated[str, text("Their action type, before _lost and _back; default: sink.")] = "sink",
    as_json: options.JsonOption = False,
) -> None:
    """Send entries to another system as they are committed, from a durable cursor, at least once, in order.

    URI is otlp+https://HOST[:PORT][/PATH], webhook+https://HOST/PATH, syslog+tls://HOST[:PORT][?size=N] or
    file:PATH. After a crash the last batch may come again: an entry's sequence number is its key.

    It runs until Ctrl-C; run one for each sink. A sink that fails is tried again, for ever. With --once it
    ends when the sink has all entries, or at the first failure.
    """
    from attestlog._internal.core.reserved import is_reserved
    from attestlog._internal.storage.resolve import open_source

    out = Output(as_json)
    source = open_source(log)
    if status or metrics:
        _show_status(out, source, metrics=metrics)
        return
    if to is None:
        raise UsageError("give --to URI, or --status")
    if is_reserved(f"{record_as}_lost"):
        raise UsageError(f"--record-as is {record_as!r}: names that begin so belong to the log")
    given = {
        "form": form, "name": name, "token_file": token_file, "secret_file": secret_file, "ca_file": ca_file,
        "client_certificate": client_certificate,
    }  # fmt: skip
    members = filters.members(context) | {"newest_first": False}
    recorder = _recorder(log, record_as) if record else None
    shipper = _shipper(source, to, given, members, start=start, record=recorder, on_change=_teller(out))
    if once:
        shipper.run_once()
    else:
        shipper.run()
    _show_cursors(out, source, [shipper.cursor])


def _shipper(
    source: LogSource,
    uri: str,
    given: dict[str, str | None],
    members: dict[str, Any],
    *,
    start: int,
    record: Record | None,
    on_change: Callable[[SinkCursor], None],
) -> Shipper:
    from attestlog._internal.config import identity
    from attestlog._internal.exporting.choosing import Choice
    from attestlog._internal.exporting.contract import About
    from attestlog._internal.query.filter import parse_filter
    from attestlog._internal.shipping.cursor import SinkState
    from attestlog._internal.shipping.opening import SinkOptions, open_sink
    from attestlog._internal.shipping.shipper import Shipper

    sink = open_sink(uri, SinkOptions(**given))
    which = identity(source)
    choice = Choice(parse_filter(members), time.time_ns() // 1_000, start=start)
    state = SinkState(which.genesis, given["name"] or uri)
    return Shipper(source, About(*which), sink, state, choice=choice, record=record, on_change=on_change)


def _recorder(log: str, action: str) -> Record:
    """Appends through the log's own door, as any writer: it is open for no longer than that."""

    def record(what: str, payload: dict[str, Any]) -> None:
        from attestlog._internal.cli.opening import open_log
        from attestlog.errors import AttestlogError

        is_lost = what == "lost"
        try:
            with open_log(log) as opened:
                opened.append(
                    event_type="CHANGE", event_category="WARNING" if is_lost else "NORMAL",
                    action_type=f"{action}_{what}", actor_id="attestlog", actor_type="SYSTEM",
                    action_payload=payload,
                )  # fmt: skip
        except AttestlogError as error:
            notice(f"the log has no entry that says that {payload['sink']} is {what}: {error}")

    return record


def _teller(out: Output) -> Callable[[SinkCursor], None]:
    """Says on stderr when the state of the sink changes; with --json, each batch on stdout."""
    known = ""

    def tell(cursor: SinkCursor) -> None:
        nonlocal known
        if out.as_json and not cursor.error:
            out.emit("delivery", {"sink": cursor.sink, "next": cursor.size, "delivered": cursor.delivered})
            out.flush()
        if cursor.state != known and (known or cursor.error):
            is_good = not cursor.error
            notice(f"{cursor.sink} is back" if is_good else f"the sink is {cursor.state}: {cursor.error}")
        known = cursor.state

    return tell


def _show_status(out: Output, source: LogSource, *, metrics: bool) -> None:
    from attestlog._internal.config import identity
    from attestlog._internal.shipping.cursor import as_metrics, cursors_of

    found = cursors_of(identity(source).genesis)
    if metrics:
        out.raw(as_metrics(found, source.durable_size()).encode())
    else:
        _show_cursors(out, source, found)


_HEADINGS: Final = ("sink", "form", "state", "next", "behind", "delivered", "retries", "failures", "error")


def _show_cursors(out: Output, source: LogSource, cursors: Sequence[SinkCursor]) -> None:
    import msgspec

    durable = source.durable_size()
    rows: list[list[Any]] = []
    for cursor in cursors:
        lag = max(0, durable - cursor.size)
        if out.as_json:
            out.emit("sink_status", {**msgspec.to_builtins(cursor), "state": cursor.state, "lag": lag})
        state = (cursor.state, "green" if cursor.state == "good" else "bold red")
        rows.append(
            [cursor.sink, cursor.form, state, cursor.size, lag, cursor.delivered, cursor.retries,
             cursor.failures, printable(cursor.error) or None]
        )  # fmt: skip
    if out.as_json:
        return
    if rows:
        print_table(out, _HEADINGS, rows, right=_HEADINGS[3:8], shrinks="error")
    else:
        out.text("this user ships the log to no sink")
    for cursor in cursors:
        for count, what in ((cursor.rejected, "refused for good by"), (cursor.shortened, "shortened for")):
            if count:
                notice(f"{count} entries were {what} {cursor.sink}")
