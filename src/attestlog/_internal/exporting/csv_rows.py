"""CSV (RFC 4180): one row an entry, every member a column.

The columns stand in the same order always. Objects and arrays are canonical JSON, null is empty. A cell that
a spreadsheet would take for a formula (it starts with = + - @, their full-width forms, a tab or a line end)
gets an apostrophe in front, and so does one that starts with an apostrophe: removing one leading apostrophe
from every cell that has one gives back exactly what the entry says.
"""

from __future__ import annotations

import csv
import io
from typing import Any, Final

import msgspec

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


def cells(entry: Entry) -> list[str]:
    """A row, as text."""
    members: dict[str, Any] = msgspec.to_builtins(entry)
    return [_cell(members[name]) for name in COLUMNS]


def format_row(row: list[str] | tuple[str, ...]) -> bytes:
    """The row with its line end."""
    text = io.StringIO(newline="")
    csv.writer(text).writerow(row)
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return canonical.encode(value).decode()
    return f"'{value}" if value.startswith(_MEANT_AS_FORMULA) else value
