"""Entries into a file, as they come: memory does not grow with the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Any, Protocol

from attestlog._internal.exporting import cloudevents, csv_rows, ocsf, otlp, parquet
from attestlog._internal.exporting.contract import About, Exported, Form
from attestlog._internal.exporting.signing import Envelopes, Receipts
from attestlog._internal.signers.contract import Signer
from attestlog._internal.storage.contract import LogSource

SIGNED = frozenset({Form.DSSE, Form.COSE})
"""Forms that need a signer."""


class Writer(Protocol):
    """Writes entries in one form."""

    def add(self, item: Exported) -> None:
        """Write it, now or with those after it."""

    def finish(self) -> None:
        """Write what is left. The file stays open."""


def open_writer(
    form: Form, file: IO[bytes], log: LogSource, about: About, signer: Signer | None = None
) -> Writer:
    """A writer into `file`. Raises MissingExtraError; for signed forms what `signing` raises."""
    if form is Form.PARQUET:
        return _ParquetWriter(file, about, log.checkpoint())
    if form is Form.OTLP:
        return _BatchWriter(file, lambda items: otlp.request(items, about) + b"\n", otlp.BATCH_ENTRIES)
    return _RecordWriter(file, _records(form, log, about, signer), _head(form))


def _records(form: Form, log: LogSource, about: About, signer: Signer | None) -> Callable[[Exported], bytes]:
    """One entry → its bytes, line end included."""
    if form in SIGNED:
        assert signer is not None, "the caller opens it"
        if form is Form.COSE:
            return Receipts(log, signer).receipt
        envelopes = Envelopes(about, signer)
        return lambda item: envelopes.envelope(item) + b"\n"
    if form is Form.CSV:
        return lambda item: csv_rows.format_row(csv_rows.cells(item.entry))
    if form is Form.OCSF:
        return lambda item: ocsf.record(item, about) + b"\n"
    if form is Form.CLOUDEVENTS:
        return lambda item: cloudevents.record(item, about) + b"\n"
    return lambda item: item.line + b"\n"


def _head(form: Form) -> bytes:
    return csv_rows.format_row(csv_rows.COLUMNS) if form is Form.CSV else b""


class _RecordWriter:
    def __init__(self, file: IO[bytes], encode: Callable[[Exported], bytes], head: bytes) -> None:
        self._file, self._encode = file, encode
        self._file.write(head)

    def add(self, item: Exported) -> None:
        self._file.write(self._encode(item))

    def finish(self) -> None:
        pass


class _BatchWriter:
    def __init__(self, file: IO[bytes], encode: Callable[[list[Exported]], bytes], size: int) -> None:
        self._file, self._encode, self._size = file, encode, size
        self._items: list[Exported] = []

    def add(self, item: Exported) -> None:
        self._items.append(item)
        if len(self._items) >= self._size:
            self.finish()

    def finish(self) -> None:
        if self._items:
            self._file.write(self._encode(self._items))
            self._items = []


class _ParquetWriter:
    """Row group by row group, each bounded in entries and in bytes."""

    def __init__(self, file: IO[bytes], about: About, checkpoint: bytes | None) -> None:
        self._schema = parquet.schema(about, checkpoint)
        import pyarrow as pa

        self._table, self._array = pa.Table, pa.array
        # Random text repeats nothing: a dictionary of it would only cost memory.
        repeated = [name for name in parquet.COLUMNS if name in _REPEATED]
        self._writer: Any = parquet.load().ParquetWriter(
            file, self._schema, compression="zstd", use_dictionary=repeated
        )
        self._columns: list[list[Any]] = [[] for _ in parquet.COLUMNS]
        self._size_bytes = 0

    def add(self, item: Exported) -> None:
        for column, cell in zip(self._columns, parquet.row(item), strict=True):
            column.append(cell)
        self._size_bytes += len(item.line)
        is_full = len(self._columns[0]) >= parquet.ROW_GROUP_ENTRIES
        if is_full or self._size_bytes >= parquet.ROW_GROUP_SIZE_MAX_BYTES:
            self._flush()

    def finish(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if not self._columns[0]:
            return
        arrays = [
            self._array(column, field.type) for column, field in zip(self._columns, self._schema, strict=True)
        ]
        self._writer.write_table(self._table.from_arrays(arrays, schema=self._schema))
        self._columns, self._size_bytes = [[] for _ in parquet.COLUMNS], 0


_REPEATED = frozenset(
    "event_type event_category severity action_type actor_id actor_type execution_status k_state "
    "signing_key_id signature_algorithm schema_version attribution environment replicas content".split()
)
"""Columns whose cells are mostly one of a few."""
