"""Entries as text: one line each, or every member of one; and as CSV."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Final, TextIO

import msgspec

from attestlog._internal.cli.output import Output, Piece, printable
from attestlog._internal.core.entry import Entry
from attestlog._internal.exporting.csv_rows import COLUMNS, cells

FORMATS: Final = ("table", "json", "csv")

HEADING: Final = (
    f"{'number':>7}  {'time':<24}  {'type':<9}  {'category':<8}  {'status':<11}  {'actor':<24}  action"
)

_STYLES: Final = {
    "VIOLATION": "bold red", "CRITICAL": "bold red", "ERROR": "red", "WARNING": "yellow", "FAILED": "red",
    "BLOCKED": "yellow", "ROLLED_BACK": "yellow",
}  # fmt: skip
_PLACE: Final = ("sequence_number", "entry_id", "timestamp", "event_type", "event_category", "severity")
_GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "what": ("action_type", "execution_status", "action_payload", "result_data", "error_details"),
    "who": ("actor_type", "actor_id", "actor_context"),
    "where": ("environment", "system_state_snapshot", "dependencies", "replicas"),
    "governance": (
        "pillars_scores", "composite_score", "safety_floor_met", "k_state", "conflicts_detected",
        "required_proofs", "provided_proofs", "proofs_valid", "required_approvals", "received_approvals",
        "quorum_met",
    ),
    "rollback": ("rollback_available", "rollback_snapshot_hash", "rollback_executed"),
    "evidence": (
        "action_hash", "prev_entry_hash", "entry_hash", "signature_algorithm", "signing_key_id",
        "hsm_signature", "attribution", "schema_version",
    ),
}  # fmt: skip
"""Every member of an entry except those of `_PLACE`, in the order in which they are shown."""


def entry_line(entry: Entry) -> list[Piece]:
    """One line under `HEADING`."""

    def column(value: str, width: int) -> Piece:
        return (f"{value:<{width}}", _STYLES.get(value, ""))

    return [
        f"{entry.sequence_number:>7}  {entry.timestamp[:23]}Z  ", column(entry.event_type, 9), "  ",
        column(entry.event_category, 8), "  ", column(entry.execution_status, 11),
        f"  {entry.actor_id:<24}  ", entry.action_type,
    ]  # fmt: skip


def print_entries(form: str, entries: Iterable[Entry], *, at_once: bool = False) -> int | None:
    """Print entries in one of `FORMATS`, as they come; returns the last one's sequence number.

    `at_once`: flush each, so that the reader of a pipe has it before the next one comes.
    """
    out, last = Output(form == "json"), None
    if form == "csv":
        write_csv_heading(sys.stdout)
    for entry in entries:
        if form == "json":
            emit_entry(out, entry)
        elif form == "csv":
            write_csv_entry(sys.stdout, entry)
        else:
            if last is None:
                out.text((HEADING, "bold"))
            out.text(*entry_line(entry))
        last = entry.sequence_number
        if at_once:
            out.flush()
    return last


def emit_entry(out: Output, entry: Entry) -> None:
    """The entry as a JSON object: every member, and `type`."""
    out.emit("entry", msgspec.to_builtins(entry))


def show_entry(out: Output, entry: Entry) -> None:
    """Every member, in groups."""
    members: dict[str, Any] = msgspec.to_builtins(entry)
    out.text(
        ("entry ", "bold"), (str(entry.sequence_number), "bold"), f"  {entry.timestamp}  {entry.entry_id}"
    )
    out.text(*_spread(entry))
    for group, names in _GROUPS.items():
        out.text()
        out.text((group, "bold"))
        for name in names:
            for piece in _member(name, members[name]):
                out.text(piece)


def _spread(entry: Entry) -> Iterator[Piece]:
    for value in (entry.event_type, entry.event_category):
        yield (str(value), _STYLES.get(value, ""))
        yield "  "
    yield f"severity {entry.severity}"


def _member(name: str, value: Any) -> Iterator[str]:
    """`name  value`, a structured value as indented JSON."""
    label = f"  {name:<24}"
    if isinstance(value, dict | list) and value:
        text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
        first, *rest = text.split("\n")
        yield f"{label}{first}"
        yield from (f"{'':<26}{line}" for line in rest)
    elif isinstance(value, str):
        yield f"{label}{value}"
    else:
        yield f"{label}{msgspec.json.encode(value).decode()}"


def write_csv_heading(file: TextIO) -> None:
    """The first line of CSV: the names of the columns."""
    csv.writer(file).writerow(COLUMNS)


def write_csv_entry(file: TextIO, entry: Entry) -> None:
    """One line of CSV."""
    row = cells(entry)
    # A file gets control characters as they are, a terminal never does.
    csv.writer(file).writerow(map(printable, row) if file.isatty() else row)
