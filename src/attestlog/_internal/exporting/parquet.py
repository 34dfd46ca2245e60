"""Parquet: one row an entry, every member a column, and the log's line beside them.

Members that hold other values are text in canonical JSON (RFC 8785), so that a query engine can hash them
again: `sha256(action_payload) = action_hash`. `line` is the entry as the log has it; the other columns only
repeat it. Needs the extra `parquet`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from attestlog._internal.core import canonical
from attestlog._internal.core.entry import Entry
from attestlog._internal.exporting.contract import About, Exported
from attestlog.errors import MissingExtraError

if TYPE_CHECKING:
    import pyarrow as pa

MAGIC: Final = b"PAR1"

ROW_GROUP_ENTRIES: Final = 2_048
ROW_GROUP_SIZE_MAX_BYTES: Final = 8 << 20
"""Of lines: what is held in memory before it is written. A query engine reads whole row groups."""

ORIGIN_KEY, GENESIS_KEY, CHECKPOINT_KEY = "attestlog.origin", "attestlog.genesis", "attestlog.checkpoint"
"""Metadata of the file: which log it is of, and the checkpoint that the log had, where it had one."""

_TYPES: Final = {
    "sequence_number": "int64", "timestamp": "timestamp", "event_type": "string", "event_category": "string",
    "severity": "int8", "action_type": "string", "actor_id": "string", "actor_type": "string",
    "execution_status": "string", "composite_score": "double", "safety_floor_met": "bool",
    "k_state": "int8", "proofs_valid": "bool", "quorum_met": "bool", "required_approvals": "int64",
    "rollback_available": "bool", "rollback_executed": "bool", "rollback_snapshot_hash": "string",
    "entry_id": "string", "entry_hash": "string", "prev_entry_hash": "string", "action_hash": "string",
    "signing_key_id": "string", "signature_algorithm": "string", "hsm_signature": "string",
    "schema_version": "string", "attribution": "string",
    "action_payload": "json", "actor_context": "json", "result_data": "json", "error_details": "json",
    "system_state_snapshot": "json", "environment": "json", "pillars_scores": "json",
    "conflicts_detected": "json", "dependencies": "json", "required_proofs": "json",
    "provided_proofs": "json", "received_approvals": "json", "replicas": "json",
}  # fmt: skip
"""Every member of an entry, in the order of the columns. `json`: canonical text, null for null."""

COLUMNS: Final = (*_TYPES, "content", "line")


def load() -> Any:
    """The library's Parquet module. Raises MissingExtraError."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError(
            "a Parquet file needs pyarrow, which is not installed", extra="parquet"
        ) from None
    return pyarrow.parquet


def schema(about: About, checkpoint: bytes | None) -> pa.Schema:
    """Names and types of the columns, and the metadata. Raises MissingExtraError."""
    load()
    import pyarrow as pa

    kinds = {
        "int64": pa.int64(), "int8": pa.int8(), "double": pa.float64(), "bool": pa.bool_(),
        "string": pa.string(), "json": pa.string(), "timestamp": pa.timestamp("us", tz="UTC"),
    }  # fmt: skip
    fields = [(name, kinds[kind]) for name, kind in _TYPES.items()]
    metadata = {ORIGIN_KEY: about.origin, GENESIS_KEY: about.genesis}
    if checkpoint is not None:
        metadata[CHECKPOINT_KEY] = checkpoint.decode()
    return pa.schema([*fields, ("content", pa.string()), ("line", pa.string())], metadata=metadata)


def row(item: Exported) -> list[Any]:
    """The cells of one entry, in the order of `COLUMNS`; text of any length as bytes."""
    cells = [_cell(item, name, kind) for name, kind in _TYPES.items()]
    return [*cells, str(item.content), item.line]


def _cell(item: Exported, name: str, kind: str) -> Any:
    entry: Entry = item.entry
    value = getattr(entry, name)
    if value is None:
        return None
    if kind == "json":
        return canonical.encode(value)
    if kind == "timestamp":
        return item.timestamp_us
    return float(value) if kind == "double" else value


def plain_row(item: Exported) -> dict[str, Any]:
    """The cells of one entry by column, as a reader of the file gets them."""
    moments = {"timestamp": _EPOCH + timedelta(microseconds=item.timestamp_us)}
    cells = dict(zip(COLUMNS, row(item), strict=True)) | moments
    return {name: cell.decode() if isinstance(cell, bytes) else cell for name, cell in cells.items()}


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
