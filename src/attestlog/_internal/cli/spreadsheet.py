"""Entries as CSV (RFC 4180): every member a column, always the same columns in the same order.

Objects and arrays are canonical JSON, null is empty. A cell that a spreadsheet
would take for a formula (it starts with = + - @, their full-width forms, a tab
or a line end) gets an apostrophe in front, and so does one that starts with an
apostrophe: taking one leading apostrophe off every cell that has one gives
back exactly what the entry says.
"""

from __future__ import annotations

import csv
from typing import Any, Final, TextIO

import msgspec

from attestlog._internal.cli.output import printable
from attestlog._internal.core import canonical
from attestlog._internal.core.entry import Entry

COLUMNS: Final = (
    "sequence_number", "timestamp", "event_type", "event_category", "severity", "actor_type", "actor_id",
    "action_type", "execution_status", "composite_score", "safety_floor_met", "k_state", "proofs_valid",
    "quorum_met", "rollback_available", "rollback_executed", "required_approvals", "action_payload",
    "result_data", "error_details", "actor_context", "system_state_snapshot", "environment", "pillars_scores",
    "conflicts_detected", "dependencies", "required_proofs", "provided_proofs", "received_approvals",
    "replicas", "rollback_snapshot_hash", "entry_id", "action_hash", "prev_entry_hash", "entry_hash",
    "signature_algorithm", "signing_key_id", "hsm_signature", "attribution", "schema_version",
)  # fmt: skip
"""A column is never moved or removed; a new one is added at the end."""

_MEANT_AS_FORMULA: Final = tuple("=+-@＝＋－＠\t\r\n'")


def write_heading(file: TextIO) -> None:
    """The first line: the columns' names."""
    csv.writer(file).writerow(COLUMNS)


def write_entry(file: TextIO, entry: Entry) -> None:
    """One line."""
    members: dict[str, Any] = msgspec.to_builtins(entry)
    cells = [_cell(members[name]) for name in COLUMNS]
    # Control characters belong into a file as they are, and never onto a terminal.
    csv.writer(file).writerow(map(printable, cells) if file.isatty() else cells)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return canonical.encode(value).decode()
    return f"'{value}" if value.startswith(_MEANT_AS_FORMULA) else value
