"""The loop of one sink: take what is due, deliver it, remember it; fail, wait, and come back.

What is due is what the log holds durably from the cursor on. A batch is remembered only after the sink said
that it has it: after a crash between the two, the batch goes again. A sink that has failed for a minute is
lost, and an entry of the log says so, if the caller can append; so does one when it is back.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

from attestlog._internal.core.entry import decode_line, entry_hash
from attestlog._internal.exporting.choosing import Choice, read
from attestlog._internal.exporting.contract import About, Exported
from attestlog._internal.shipping.contract import Batch, Delivered, Sink
from attestlog._internal.shipping.cursor import SinkCursor, SinkState, now, seconds_since
from attestlog._internal.storage.contract import LogSource
from attestlog.errors import ConsistencyError, SinkError, TooLargeError

BATCH_ENTRIES_MAX: Final = 256
BATCH_SIZE_MAX_BYTES: Final = 1 << 20
"""Of lines, or one entry: what receivers take at once without being asked."""

PASSED_OVER_MAX: Final = 65_536
"""Entries that one batch may pass over because of a filter: then the cursor is saved."""

IDLE_S: Final = 1.0
"""How often to look for new entries."""

PAUSE_MIN_S: Final = 0.1
PAUSE_MAX_S: Final = 30.0
"""Between tries, doubling, with jitter."""

LOST_AFTER_S: Final = 60.0
"""Restarts and short outages are shorter; the log gets two entries about an outage, however long."""

Record = Callable[[str, dict[str, Any]], None]
"""Appends an entry about the sink: `lost` or `back`, and its payload. MUST NOT raise AttestlogError."""


class Shipper:
    """Ships one log to one sink. One thread uses it; `stop` may be called by any."""

    def __init__(
        self,
        log: LogSource,
        about: About,
        sink: Sink,
        state: SinkState,
        *,
        choice: Choice,
        record: Record | None = None,
        on_change: Callable[[SinkCursor], None] = lambda _: None,
        lost_after_s: float | None = None,
    ) -> None:
        """`choice`: which entries; its start is where a sink begins that has no cursor yet."""
        self._log, self._about, self._sink, self._state = log, about, sink, state
        self._choice, self._record, self._on_change = choice, record, on_change
        self._lost_after_s = LOST_AFTER_S if lost_after_s is None else lost_after_s
        self._stopping = threading.Event()
        self._entries_max, self._pause_s = BATCH_ENTRIES_MAX, PAUSE_MIN_S
        self._last: Exported | None = None
        self.cursor = SinkCursor(sink=sink.name, form=sink.form)

    @property
    def lag(self) -> int:
        """Durable entries of the log that are still to be shipped, or to be passed over."""
        return max(0, self._log.durable_size() - self.cursor.size)

    def stop(self) -> None:
        """End `run` after the batch that is under way."""
        self._stopping.set()

    def run_once(self) -> None:
        """Deliver all that is due now. Raises SinkError, ConsistencyError, StorageError, BusyError."""
        with self._state.alone():
            self._begin()
            try:
                for batch in self._due():
                    self._deliver(batch)
            except SinkError as error:
                self._failed(error)
                raise
            finally:
                self._sink.close()

    def run(self) -> None:
        """Deliver what is due and what will be, until `stop`. Raises as `run_once`, but for SinkError."""
        with self._state.alone():
            self._begin()
            try:
                while not self._stopping.is_set():
                    self._stopping.wait(self._round())
            finally:
                self._sink.close()

    def _round(self) -> float:
        """Deliver what is due; how long to wait then."""
        try:
            for batch in self._due():
                self._deliver(batch)
                if self._stopping.is_set():
                    break
        except SinkError as error:
            return self._failed(error)
        return IDLE_S

    def _begin(self) -> None:
        """Where this sink goes on. Raises ConsistencyError if the log is not the one that was shipped."""
        found = self._state.load()
        if found is None:
            self.cursor = SinkCursor(
                sink=self._sink.name, form=self._sink.form, first_at=now(),
                start=self._choice.start, size=self._choice.start,
            )  # fmt: skip
            return
        self.cursor = found
        self.cursor.sink, self.cursor.form = self._sink.name, self._sink.form
        self._check_size()
        size = found.size
        if size and found.entry_hash:
            stored = entry_hash(decode_line(self._log.line(size - 1)))
            if stored != found.entry_hash:
                what = f"entry {size - 1} is not the one that was shipped to {found.sink}"
                raise ConsistencyError(what, expected=found.entry_hash, found=stored)

    def _check_size(self) -> None:
        """Raises ConsistencyError if the log is shorter than what was shipped."""
        cursor, size = self.cursor, self._log.size()
        if cursor.entry_hash and cursor.size > size:
            what = f"the log has {size} entries, and {cursor.size} were shipped to {cursor.sink}"
            raise ConsistencyError(what, expected=cursor.size, found=size)

    def _due(self) -> Iterator[Batch]:
        """What is due, batch by batch. A batch without entries only moves the cursor."""
        self._check_size()
        stop = self._choice.end(self._log)
        while (start := self.cursor.size) < min(stop, self._log.durable_size()):
            yield self._take(start, min(stop, self._log.durable_size()))

    def _take(self, start: int, stop: int) -> Batch:
        items: list[Exported] = []
        size_bytes, reached = 0, start
        for item in read(self._log, start, stop):
            if self._choice.matches(item):
                size_bytes += len(item.line)
                if items and size_bytes > BATCH_SIZE_MAX_BYTES:
                    break
                items.append(item)
            self._last = item
            reached = item.entry.sequence_number + 1
            if len(items) >= self._entries_max or reached - start >= PASSED_OVER_MAX:
                break
        return Batch(self._about, start, reached, items)

    def _deliver(self, batch: Batch) -> None:
        cursor = self.cursor
        if batch.items:
            if cursor.error:
                cursor.retries += 1
            try:
                delivered = self._sink.deliver(batch)
            except TooLargeError as error:
                if len(batch.items) == 1:
                    raise SinkError(f"{error}: entry {batch.items[0].entry.sequence_number}") from None
                self._entries_max = max(1, len(batch.items) // 2)
                return
            self._count(batch, delivered)
        assert self._last is not None, "a batch has read an entry"
        cursor.size, cursor.entry_hash = batch.stop, self._last.entry.entry_hash
        self._state.save(cursor)
        self._succeeded()
        self._on_change(cursor)

    def _count(self, batch: Batch, delivered: Delivered) -> None:
        cursor = self.cursor
        cursor.delivered += len(batch.items) - delivered.rejected
        cursor.deliveries += 1
        cursor.rejected += delivered.rejected
        cursor.shortened += delivered.shortened
        cursor.last_at = now()

    def _failed(self, error: SinkError) -> float:
        """Remember it; how long to wait before the next try."""
        cursor = self.cursor
        cursor.failures += 1
        cursor.error, cursor.failing_since = error.message, cursor.failing_since or now()
        # By the clock, because what failed may have been an earlier process's try.
        if seconds_since(cursor.failing_since) >= self._lost_after_s and not cursor.is_lost:
            cursor.is_lost = True
            self._tell("lost")
        self._state.save(cursor)
        self._on_change(cursor)
        self._pause_s = min(PAUSE_MAX_S, self._pause_s * 2) if error.retryable else PAUSE_MAX_S
        return self._pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, hides nothing

    def _succeeded(self) -> None:
        self._pause_s = PAUSE_MIN_S
        if not self.cursor.error:
            return
        was_lost, since = self.cursor.is_lost, self.cursor.failing_since
        self.cursor.error = self.cursor.failing_since = ""
        self.cursor.is_lost = False
        self._state.save(self.cursor)
        if was_lost:
            self._tell("back", failing_since=since)

    def _tell(self, what: str, **facts: Any) -> None:
        """An entry about this sink, if the caller can append."""
        if self._record is None:
            return
        cursor = self.cursor
        payload = {
            "sink": cursor.sink, "form": cursor.form, "shipped": cursor.size, "lag": self.lag,
            "error": cursor.error, "failing_since": cursor.failing_since, **facts,
        }  # fmt: skip
        self._record(what, payload)
