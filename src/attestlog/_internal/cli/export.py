"""`attestlog export`: entries as the exact lines of the log, or in a form that another tool reads."""
# ruff: noqa: ARG001 - the filters are read from the context, by the names of a Filter's members

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from attestlog._internal.cli import filters, options
from attestlog._internal.cli.output import Output, notice
from attestlog._internal.cli.verbs import UsageError, example, new_app

if TYPE_CHECKING:
    from attestlog._internal.config import Identity
    from attestlog._internal.exporting.choosing import Choice
    from attestlog._internal.exporting.contract import About, Form
    from attestlog._internal.signers.contract import Signer
    from attestlog._internal.storage.contract import LogSource

app = new_app()

_FORMS = "jsonl, csv, parquet, ocsf, otlp, cloudevents, dsse or cose; default: jsonl."


@app.command(
    epilog=example(
        "attestlog export audit --format csv -o audit.csv",
        "attestlog export audit --format parquet --since 30d -o audit.parquet",
    )
)
def export(
    context: typer.Context,
    log: options.LogArgument,
    *,
    form: Annotated[str, options.text(_FORMS, "--format", metavar="FORMAT")] = "jsonl",
    output: options.OutputOption = None,
    start: Annotated[int, options.text("First entry; default: 0.", metavar="N")] = 0,
    stop: Annotated[int | None, options.text("Entry to stop before; default: the end.", metavar="N")] = None,
    limit: Annotated[int | None, options.text("Most entries to write.", metavar="N")] = None,
    event_type: filters.EventTypeOption = None,
    event_category: filters.EventCategoryOption = None,
    severity: filters.SeverityOption = None,
    severity_min: filters.SeverityMinOption = None,
    actor_type: filters.ActorTypeOption = None,
    actor_id: filters.ActorIdOption = None,
    action_type: filters.ActionTypeOption = None,
    execution_status: filters.ExecutionStatusOption = None,
    since: filters.SinceOption = None,
    until: filters.UntilOption = None,
    text: filters.TextOption = None,
    payload: filters.PayloadOption = None,
    actor_context: filters.ContextOption = None,
    signer: Annotated[
        str | None,
        options.text("Key that signs dsse or cose; default: the checkpoint key.", metavar="URI"),
    ] = None,
    as_json: options.JsonOption = False,
) -> None:
    """Write entries that match every filter, oldest first, in a form that other tools read.

    jsonl has the log's lines, byte for byte. csv and parquet have a column for every member. ocsf, otlp and
    cloudevents have one JSON record an entry (otlp: a request for many). dsse has one signed in-toto
    statement an entry, cose one COSE receipt (RFC 9942).

    What was erased or redacted in the log is erased or redacted in every form. Where the export goes is noted
    in this user's state, so that `attestlog erase` can name it.
    """
    from attestlog._internal.config import identity
    from attestlog._internal.exporting.choosing import Choice
    from attestlog._internal.exporting.contract import About, Form
    from attestlog._internal.query.filter import parse_filter
    from attestlog._internal.storage.resolve import open_source

    chosen = _parse_form(form)
    if as_json and output is None:
        raise UsageError("--json describes an export to a file: add -o FILE")
    if chosen is Form.PARQUET and output is None:
        raise UsageError("parquet needs -o FILE")
    members = filters.members(context) | {"newest_first": False}
    if limit is not None:
        members["limit"] = limit
    choice = Choice(parse_filter(members), time.time_ns() // 1_000, start=start, stop=stop)
    source = open_source(log)
    which = identity(source)
    with _signer(chosen, source, signer) as opened, _output(output) as file:
        counts, held = _write(chosen, source, About(*which), choice, file=file, signer=opened)
    written = sum(counts.values())
    _note(which, chosen, output, held, written)
    _report(Output(as_json), chosen, output, written, counts)


def _parse_form(text: str) -> Form:
    from attestlog._internal.exporting.contract import Form

    try:
        return Form(text)
    except ValueError:
        raise UsageError(f"--format is {text!r}, want {', '.join(Form)}") from None


def _write(
    form: Form, source: LogSource, about: About, choice: Choice, *, file: IO[bytes], signer: Signer | None
) -> tuple[Counter[str], range]:
    """How many entries of which content were written, and between which numbers."""
    from attestlog._internal.exporting.contract import Form, content_of
    from attestlog._internal.exporting.writing import open_writer

    counts: Counter[str] = Counter()
    end = choice.end(source)
    if form is Form.JSONL and choice.is_range:  # not decoded: what is damaged in the log is exported as it is
        for line in choice.lines(source, end):
            counts[content_of(line)] += 1
            file.write(line + b"\n")
        return counts, range(choice.start, choice.start + counts.total())
    first: int | None = None
    last = -1
    writer = open_writer(form, file, source, about, signer)
    for item in choice.entries(source, end):
        counts[item.content] += 1
        last = item.entry.sequence_number
        first = last if first is None else first
        writer.add(item)
    writer.finish()
    return counts, range(first or 0, last + 1)


@contextmanager
def _output(path: Path | None) -> Iterator[IO[bytes]]:
    """Stdout, or a file that is there whole at the end or not at all; a pipe is written directly."""
    from attestlog._internal import disk

    if path is None:
        yield sys.stdout.buffer
    elif path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
    else:
        with disk.replacing(path) as descriptor, open(descriptor, "wb", closefd=False) as file:
            yield file


@contextmanager
def _signer(form: Form, source: LogSource, uri: str | None) -> Iterator[Signer | None]:
    """The signer of a form that is signed: the one that is given, else that of the log's checkpoints."""
    from attestlog._internal.cli.opening import ask_passphrase
    from attestlog._internal.config import ELSEWHERE, read_config
    from attestlog._internal.exporting.writing import SIGNED
    from attestlog._internal.signers.opening import open_signer

    if form not in SIGNED:
        if uri is not None:
            raise UsageError(f"--signer is for dsse and cose, {form} is not signed")
        yield None
        return
    uri = uri or read_config(source).signers.checkpoint
    if uri == ELSEWHERE:
        raise UsageError(f"{form} is signed, and this machine has no checkpoint key: give --signer")
    signer = open_signer(uri, passphrase=ask_passphrase)
    try:
        yield signer
    finally:
        signer.close()


def _note(which: Identity, form: Form, output: Path | None, held: range, written: int) -> None:
    """That it cannot be noted is no reason to fail: the export is there."""
    from attestlog._internal.exporting.contract import Form
    from attestlog._internal.exporting.made import STDOUT, note_export
    from attestlog.errors import AttestlogError

    if not written or form is Form.COSE:  # a receipt holds nothing that can be erased
        return
    to = STDOUT if output is None else str(output.absolute())
    try:
        note_export(which.genesis, to=to, form=form, start=held.start, stop=held.stop, entries=written)
    except AttestlogError as error:
        notice(f"attestlog erase will not name this export, because it could not be noted: {error}")


def _report(out: Output, form: Form, output: Path | None, written: int, counts: Counter[str]) -> None:
    from attestlog._internal.exporting.contract import Content

    erased, redacted = counts[Content.ERASED], counts[Content.REDACTED]
    if out.as_json:
        figures = {"size": written, "erased": erased, "redacted": redacted}
        out.emit("export", {"path": str(output), "format": form, **figures})
        return
    if output is not None:
        out.text(f"{written} entries written to {output}")
    for count, what in ((erased, "an erased payload"), (redacted, "redacted values")):
        if count:
            notice(f"{count} of the entries {'has' if count == 1 else 'have'} {what}")
