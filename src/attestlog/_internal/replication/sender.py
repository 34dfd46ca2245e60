"""The loop of one replica: ask what it holds, send what it lacks, have it cosign; wait, and again.

It never holds up the log. What fails is tried again after a pause that grows
to half a minute; a replica that has failed for long is said to be lost by an
entry of the log, and so is that it is back. Among the processes of one log,
one sends at a time; the others read its cursor.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from attestlog._internal.config import ReplicaAt
from attestlog._internal.core.checkpoint import parse_checkpoint
from attestlog._internal.core.cosignature import open_signed_checkpoint
from attestlog._internal.core.merkle import edge_at
from attestlog._internal.core.note import NoteSignature, format_note, parse_note, parse_vkey
from attestlog._internal.core.replication import Shipment
from attestlog._internal.replication.batches import shipments
from attestlog._internal.replication.client import ReplicaClient, claimed
from attestlog._internal.replication.cursor import load_cursor, save_cursor
from attestlog._internal.storage.contract import LogSource
from attestlog.errors import AttestlogError, ReplicationError, SplitViewError, StaleSizeError

IDLE_S: Final = 1.0
"""How often to look for entries of other processes, when nobody says that there are any."""

WATCH_S: Final = 0.02
"""How often to read another process's cursor while somebody waits for copies."""

COSIGN_EVERY_S: Final = 1.0
"""A checkpoint costs the log a signature and three flushes: at most one a second is asked for, unless an
append waits for it. Then one is for all who wait by now."""

PAUSE_MIN_S: Final = 0.1
PAUSE_MAX_S: Final = 30.0
"""Between tries, doubling, with jitter: a replica that comes back must not meet all writers at once."""

LOST_AFTER_S: Final = 60.0
"""Restarts and short outages are shorter; an entry a minute at the most is written about a replica."""


@dataclass(frozen=True)
class Work:
    """What a sender needs of the log it sends."""

    log: LogSource
    origin: str
    checkpoint: Callable[[], bytes]
    """Signs the head, stores and returns the note."""
    keep: Callable[[str, tuple[NoteSignature, ...]], None]
    """Keeps verified cosignature lines with the checkpoint of this text, if it is still the latest."""
    record: Callable[[dict[str, Any]], object]
    """Appends an entry without waiting for it."""


class Sender:
    """One replica's. `held` and `confirmed` may be read by anyone; the rest is its thread's."""

    def __init__(
        self,
        at: ReplicaAt,
        work: Work,
        *,
        on_progress: Callable[[], None] = lambda: None,
        connect: Callable[[ReplicaAt, str], ReplicaClient] = ReplicaClient,
        lost_after_s: float = LOST_AFTER_S,
    ) -> None:
        self.at, self._work, self._on_progress = at, work, on_progress
        self._connect, self._lost_after_s = connect, lost_after_s
        self._vkey = parse_vkey(at.vkey)
        self._log, self._cursors = work.log, work.log.cursors()
        self.cursor = load_cursor(self._cursors, at.url)
        self._client: ReplicaClient | None = None
        self._has_asked = False
        self._failing_since: float | None = None
        self._cosign_at = 0.0
        self._pause_s = PAUSE_MIN_S
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._deadline = 0.0
        self.is_awaited = False
        """Whether somebody waits for this replica's copies."""
        self._thread = threading.Thread(target=self._run, name="attestlog-sender", daemon=True)

    @property
    def held(self) -> int:
        """Entries that the replica says it holds durably."""
        return self.cursor.size

    @property
    def confirmed(self) -> int:
        """Entries that a checkpoint covers which the replica cosigned, by the key that this log was told of.

        What it says that it holds is an unsigned number: no append counts it.
        """
        return self.cursor.cosigned_size

    def start(self) -> None:
        """Begin sending."""
        self._thread.start()

    def notify(self) -> None:
        """There is more, or somebody waits."""
        self._wake.set()

    def stop(self, wait_s: float) -> None:
        """Send what is left, unless that was failing, and end; at the latest after `wait_s`."""
        self.ask_to_stop(wait_s)
        self.join(wait_s)

    def ask_to_stop(self, wait_s: float) -> None:
        """`stop`, without waiting for it."""
        self._deadline = time.monotonic() + wait_s
        self._stopping.set()
        self._wake.set()

    def join(self, wait_s: float) -> None:
        """Wait for the thread to end."""
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(wait_s)

    def run_once(self) -> None:
        """Send and have cosigned all there is now. Raises AttestlogError."""
        with self._alone() as alone:
            if not alone:
                raise ReplicationError(f"another process is sending to {self.at.url}", retryable=True)
            try:
                self._round(cosign=True)
                self._succeeded()
            finally:
                self._hang_up()

    # --- the loop ---

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                with self._alone() as alone:
                    pause_s = self._send() if alone else self._watch()
                self._wake.wait(pause_s)
                self._wake.clear()
        finally:
            self._hang_up()

    def _send(self) -> float:
        """Rounds, while this process is the one that sends; returns how long to pause."""
        is_last = False
        while not is_last:
            is_last = self._stopping.is_set()
            try:
                self._round(cosign=is_last or self.is_awaited or time.monotonic() >= self._cosign_at)
            except AttestlogError as error:
                self._hang_up()
                return self._failed(error)
            self._succeeded()
            if not is_last:
                self._wake.wait(min(IDLE_S, max(0.0, self._cosign_at - time.monotonic()) or IDLE_S))
                self._wake.clear()
        return 0.0

    def _watch(self) -> float:
        self.cursor = load_cursor(self._cursors, self.at.url)
        self._on_progress()
        return WATCH_S if self.is_awaited else IDLE_S

    def _round(self, *, cosign: bool) -> None:
        client = self._client = self._client or self._connect(self.at, self._work.origin)
        if not self._has_asked:
            self._ask(client)
        known = -1
        while not self._is_done(client, cosign=cosign, known=known):
            known = self.cursor.size

    def _is_done(self, client: ReplicaClient, *, cosign: bool, known: int) -> bool:
        """Send all there is. False where it holds another size than we thought: then we know it by now."""
        try:
            self._send_entries(client)
            if cosign:
                self._have_cosigned(client)
        except StaleSizeError as error:
            if error.known_size == self.cursor.size:
                raise
            self._ask(client)
            if self.cursor.size <= known:
                raise  # it took a part before and takes no more: else it would be asked for ever
            return False
        return True

    def _hang_up(self) -> None:
        self._has_asked = False
        if self._client is not None:
            self._client.close()
            self._client = None

    def _ask(self, client: ReplicaClient) -> None:
        """What it holds, and whether that is this log: a size alone could be another history's."""
        held, durable = client.held(), self._log.durable_size()
        if held.size > durable:
            raise ReplicationError(
                f"{self.at.url} holds {held.size} entries, the log has {durable}: it was cut, or is older",
                expected=durable, found=held.size,
            )  # fmt: skip
        if held.size and held.root != edge_at(held.size, self._log.hashes).root().hex():
            raise SplitViewError(
                f"{self.at.url} holds {held.size} entries that are not the first of this log",
                theirs=claimed(held.checkpoint or ""), ours="",
            )  # fmt: skip
        self._advance(held.size)
        self._has_asked = True

    def _send_entries(self, client: ReplicaClient) -> None:
        for shipment in shipments(self._log, self.cursor.size, self._log.durable_size()):
            taken = client.send(shipment).size
            if taken < shipment.stop:  # else it would be sent the same for ever, and all would seem well
                raise ReplicationError(
                    f"{self.at.url} took the entries up to {shipment.stop} and says that it holds {taken}",
                    expected=shipment.stop, found=taken,
                )  # fmt: skip
            # What it holds beyond this shipment was not compared with anything by taking it.
            self._advance(shipment.stop)
            if self._is_late():
                return

    def _have_cosigned(self, client: ReplicaClient) -> None:
        if self.cursor.cosigned_size >= self.cursor.size or self._is_late():
            return
        self._cosign_at = time.monotonic() + COSIGN_EVERY_S
        note = self._work.checkpoint()
        self._send_entries(client)  # it may cover entries that came meanwhile
        text = parse_note(note).text
        answer = client.send(Shipment(parse_checkpoint(text).size, [], note))
        if not answer.cosignatures:
            return
        # An answer is worth what its signature is worth, under the key that this log was told of.
        signed = open_signed_checkpoint(format_note(text, answer.cosignatures), [self._vkey])
        self._work.keep(text, answer.cosignatures)
        self.cursor.cosigned_size, self.cursor.cosigned_at = signed.checkpoint.size, _now()
        save_cursor(self._cursors, self.cursor)
        self._on_progress()

    def _is_late(self) -> bool:
        return self._stopping.is_set() and time.monotonic() >= self._deadline

    def _advance(self, size: int) -> None:
        self.cursor.size = size
        save_cursor(self._cursors, self.cursor)
        self._on_progress()

    # --- failing, and coming back ---

    def _failed(self, error: AttestlogError) -> float:
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
            self.cursor.failing_since = self.cursor.failing_since or _now()
        self.cursor.error = error.message
        if isinstance(error, SplitViewError):
            if not self.cursor.is_refused:
                self.cursor.is_refused = True
                self._record("replica_refused", "VIOLATION", "CRITICAL", ours=error.ours, theirs=error.theirs)
        elif now - self._failing_since >= self._lost_after_s and not self.cursor.is_lost:
            self.cursor.is_lost = True
            self._record("replica_lost", "CHANGE", "WARNING")
        save_cursor(self._cursors, self.cursor)
        self._pause_s = min(PAUSE_MAX_S, self._pause_s * 2) if error.retryable else PAUSE_MAX_S
        return self._pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, hides nothing

    def _succeeded(self) -> None:
        self._failing_since, self._pause_s = None, PAUSE_MIN_S
        if not self.cursor.error:
            return
        was_lost = self.cursor.is_lost
        self.cursor.error = self.cursor.failing_since = ""
        self.cursor.is_lost = self.cursor.is_refused = False
        save_cursor(self._cursors, self.cursor)
        if was_lost:
            self._record("replica_back", "CHANGE", "NORMAL")

    def _record(self, action_type: str, event_type: str, category: str, **facts: Any) -> None:
        """An entry about this replica. That the log cannot take it now is said by the log itself."""
        payload = {
            "url": self.at.url, "held_size": self.cursor.size, "error": self.cursor.error,
            "failing_since": self.cursor.failing_since, **facts,
        }  # fmt: skip
        with contextlib.suppress(AttestlogError):
            self._work.record({
                "event_type": event_type, "event_category": category, "action_type": action_type,
                "actor_id": "attestlog", "actor_type": "SYSTEM", "action_payload": payload,
            })  # fmt: skip

    @contextlib.contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether this process is the one that sends, for as long as the context lasts."""
        with self._cursors.alone(self.at.url) as alone:
            if alone:
                self.cursor = load_cursor(self._cursors, self.at.url)
            yield alone


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
