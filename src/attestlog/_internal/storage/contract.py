"""The port: what attestlog asks of a place that holds a log, and what every driver promises.

A `LogSource` reads one log, a `Store` appends to it. The embedded directory
(`storage.files`) and the memory of a process (`storage.memory`) are drivers;
they share nothing but this page and its tests, `attestlog.testing.check_source`
and `check_store`, which a new driver runs and passes. Nothing above `storage`
knows what a log is kept in. `storage.resolve` finds the driver for a name.

MUST, MUST NOT and MAY are those of RFC 2119. What is read is only as good as
the place that holds it: no driver verifies anything for its readers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from threading import Event
from typing import Final, Literal, NamedTuple, Protocol

from msgspec import Struct

from attestlog._internal.core.batch import Head, Plan
from attestlog._internal.core.entry import Count, Entry, Hex64, decode_line, entry_hash
from attestlog._internal.core.genesis import Genesis, open_log_checkpoint, parse_genesis
from attestlog._internal.core.hashes import leaf_hash
from attestlog._internal.core.lines import Line
from attestlog.errors import (
    ConflictError,
    CorruptError,
    MalformedEntryError,
    MalformedError,
    NotFoundError,
    StorageError,
    VerificationError,
)

TIMESTAMP_SIZE_MAX_BYTES: Final = 256 << 10
"""A response with its certificates has a few thousand bytes."""

LOCK_TIMEOUT_S: Final = 30.0
"""Longer than any commit should take, hardware signer included; shorter than a caller's patience."""

UNFINISHED: Final = "not finished, from "
"""What the place begins with that a copy names which is not the log yet: see `storage.moving`."""

FOLLOW_POLL_S: Final = 0.25
"""How often `follow` looks for new lines: soon enough for a person watching, idle enough to leave running."""


class LocatedLine(NamedTuple):
    """One line (without its line end) and where it stands."""

    sequence_number: int
    """By position: what the line itself says is not looked at."""
    segment: int
    """Which extent of the log it is in: see `LogSource.extents`."""
    offset: int
    """Where it starts in that extent."""
    stop: int
    """Where the next one starts."""
    data: bytes


class StoredTimestamp(NamedTuple):
    """An RFC 3161 response over the checkpoint of the first `size` entries."""

    size: int
    name: str
    """Of this one among the log's: what `LogSource.timestamp` takes, and what messages call it."""


class PendingErasure(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An erasure under way. What is erased, the entry says that is named here, and nothing else."""

    erased_by: Count
    """Sequence number of the entry that says so, once it is there."""
    entry_hash: Hex64
    """That entry's."""


class Group(NamedTuple):
    """Users of this machine whom the owner of a log lets in."""

    name: str
    may_write: bool
    """Else they read only."""


class NewLog(NamedTuple):
    """What a log is made of."""

    line: bytes
    """The genesis entry, without line end."""
    leaf: bytes
    """Its leaf hash."""
    checkpoint: bytes | None = None
    """The first checkpoint; None for a copy of another's log, which is not the copy's to sign."""
    group: Group | None = None
    """Who may come to it beside its owner, where a driver knows users."""


class Known:
    """What the one who opens a store knows of the log from elsewhere: healing obeys it.

    This one knows nothing: subclass it. `ask_again` takes no lock, all else is asked under the log's.
    """

    def acknowledged(self) -> int:
        """How many entries were acknowledged for certain: none of them may be set aside as torn."""
        return 0

    def check_erasure(self, log: LogSource, pending: PendingErasure) -> None:
        """Raises ErasureRefusedError unless the rules at the entry that says so allow the erasure.

        Another error: it cannot be judged here, and now.
        """
        raise StorageError(
            f"entry {pending.erased_by} says that payloads are erased, which is not judged here: opening the"
            " log for writing does it",
            path=log.where, erased_by=pending.erased_by,
        )  # fmt: skip

    def ask_again(self) -> Callable[[Store, Head], None]:
        """Look up what others know now; what is given compares an open log with that: raises RollbackError.

        For a driver that connects again, perhaps to another server, and before it takes the lock. Raises
        StorageError where it must be known, and cannot be looked up.
        """
        return lambda _store, _head: None


class LogSource(ABC):
    """One log's bytes, for readers. Threads may share it; it needs no key and no lock, and writes nothing.

    Every method raises StorageError where the bytes cannot be had: NotFoundError, DeniedError, CorruptError.
    """

    is_transient = False
    """Whether it is gone with this process: nothing is kept of it elsewhere."""

    where: str
    """What messages and evidence call the log: a path, a URL. MUST NOT hold a secret."""

    def absolute(self) -> str:
        """`where`, as it is called from anywhere on this machine."""
        return self.where

    # --- what a driver gives ---

    @abstractmethod
    def size(self) -> int:
        """How many whole lines there are. MUST NOT count one whose end is not there yet."""

    @abstractmethod
    def durable_size(self) -> int:
        """How many entries are durable for certain.

        MUST NOT count an entry that a loss of power could still take; MAY be less than `size`.
        """

    @abstractmethod
    def lines(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The lines of entries `start` up to `stop` or the end, without line ends, streamed.

        MUST be those at these positions, whatever they say of themselves; MUST raise CorruptError where one
        is missing before the end. What stands behind the last line end is not a line.
        """

    @abstractmethod
    def line(self, sequence_number: int) -> bytes:
        """One line, found without reading those before it.

        Raises NotFoundError past the end, ValueError for a negative number.
        """

    @abstractmethod
    def hashes(self, level: int, start: int, stop: int) -> list[bytes]:
        """Stored hashes [start, stop) of a tile level. MUST raise CorruptError if they are not all there."""

    @abstractmethod
    def checkpoint(self) -> bytes | None:
        """The stored checkpoint, a signed note; None where there is none.

        MAY be cut one byte past NOTE_SIZE_MAX_BYTES: then it is not a note.
        """

    @abstractmethod
    def timestamps(self) -> list[StoredTimestamp]:
        """The time stamps kept with the log, the smallest size first."""

    @abstractmethod
    def timestamp(self, name: str) -> bytes:
        """One of them; MAY be cut one byte past TIMESTAMP_SIZE_MAX_BYTES."""

    @abstractmethod
    def pending_erasure(self) -> PendingErasure | None:
        """The erasure that is under way, if there is one: the log says it already, or will next."""

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """All there is at one moment, between two commits, as it stands: for the verifier.

        Raises OSError where nothing can be seen at all.
        """

    # --- what a driver may have more of ---

    def moved_to(self) -> str | None:
        """Where the log is written instead, if it is sealed; of an unopened copy UNFINISHED, and whence."""
        return None

    def located_lines(self, start: int = 0, stop: int | None = None) -> Iterator[LocatedLine]:
        """`lines`, each with its place."""
        for number, line in enumerate(self.lines(start, stop), start):
            yield LocatedLine(number, 0, number, number + 1, line)

    def read_at(self, segment: int, offset: int, size_bytes: int) -> bytes:  # noqa: ARG002  a driver may need it
        """The bytes of a line at the place where `located_lines` found it; others, or fewer, if it moved."""
        try:
            return self.line(offset)
        except NotFoundError:
            return b""

    def extents(self) -> Mapping[int, int]:
        """Each extent of the log, by the sequence number of its first entry, and where it ends.

        Lines stand where `located_lines` found them while `epoch` and the extents stay the same, except that
        the last may become longer, and others be added after it.
        """
        return {0: self.size()}

    def epoch(self) -> str:
        """MUST change when lines change or go without a change of `extents`."""
        return ""

    @abstractmethod
    def cursors(self) -> Cursors:
        """What those who send the log to its replicas keep of them. Raises NoHomeError."""

    # --- what follows from it ---

    def genesis(self) -> Genesis:
        """What entry 0 states. Raises MalformedEntryError unless it is a genesis entry."""
        return parse_genesis(decode_line(self.line(0)))

    def entry(self, sequence_number: int) -> Entry:
        """One entry. Raises NotFoundError past the end, CorruptError if the line is no entry."""
        return self._decode(sequence_number, self.line(sequence_number))

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[Entry]:
        """The entries `start` up to `stop`. Raises CorruptError at a line that is no entry."""
        for number, line in enumerate(self.lines(start, stop), start):
            yield self._decode(number, line)

    def follow(
        self, start: int = 0, poll_s: float = FOLLOW_POLL_S, stopped: Event | None = None
    ) -> Iterator[Entry]:
        """The entries from `start` on, then each new one as its line is complete, until `stopped` is set.

        Raises CorruptError if the log becomes shorter than what was already yielded.
        """
        stopped = Event() if stopped is None else stopped
        position = start
        while not stopped.is_set():
            for entry in self.entries(position):
                position += 1
                yield entry
                if stopped.is_set():
                    return
            if position > start and self.size() < position:
                raise CorruptError(
                    f"the log has {self.size()} entries, {position} were read before",
                    path=self.where, sequence_number=position - 1,
                )  # fmt: skip
            stopped.wait(poll_s)

    def check_complete(self) -> None:
        """Raises CorruptError where there are fewer entries than the stored tree or the checkpoint covers.

        Whoever looks for entries asks first: an end that was cut off must not pass for "there is none".
        """
        # Before the entries: a log that is written meanwhile has more of them than these cover.
        covered = max(self.durable_size(), self._checkpoint_size())
        size = self.size()
        if size < covered:
            raise CorruptError(
                f"{self.where} ends after {size} entries, {covered} were committed",
                path=self.where, sequence_number=size,
            )  # fmt: skip

    def _checkpoint_size(self) -> int:
        """What the log's own checkpoint covers; 0 where there is none that the log's key signed."""
        note = self.checkpoint()
        try:
            return 0 if note is None else open_log_checkpoint(note, self.genesis()).size
        except (MalformedError, VerificationError, NotFoundError, CorruptError):
            return 0

    def check_own(self, entry: Entry, sequence_number: int) -> None:
        """Raises CorruptError unless the stored tree, as far as it goes, has this entry at this place."""
        if sequence_number >= self.durable_size():
            return
        (stored,) = self.hashes(0, sequence_number, sequence_number + 1)
        try:
            is_own = leaf_hash(bytes.fromhex(entry_hash(entry))) == stored
        except (MalformedError, RecursionError):
            is_own = False
        if not is_own or entry.sequence_number != sequence_number:
            raise CorruptError(
                f"the stored tree has another entry {sequence_number} than the log",
                path=self.where, sequence_number=sequence_number,
            )  # fmt: skip

    def stored_checkpoint(self) -> bytes:
        """`checkpoint`; raises NotFoundError where there is none."""
        note = self.checkpoint()
        if note is None:
            raise NotFoundError(f"{self.where} has no checkpoint", path=self.where)
        return note

    def _decode(self, number: int, line: bytes) -> Entry:
        try:
            return decode_line(line)
        except MalformedEntryError as error:
            raise CorruptError(
                f"line {number} is not an entry: {error}", path=self.where, sequence_number=number
            ) from None


class Store(Protocol):
    """One log's store, open for writing. Used by one thread at a time; a forked child may go on with it."""

    @property
    def source(self) -> LogSource:
        """The same log for readers. MUST stay usable by any thread, within turns and between them."""

    @property
    def genesis(self) -> Genesis:
        """What entry 0 states."""

    @property
    def recovered(self) -> Sequence[str]:
        """What opening or committing had to set aside or find out after a crash, in words."""

    @property
    def is_released(self) -> bool:
        """Whether there has been no turn since `release`: a forked child that never used the log."""

    def exclusive(self) -> AbstractContextManager[Head]:
        """A turn: be the only committer, among all processes and hosts, until the first commit in it.

        The head given MUST include everything that other committers made durable. A further commit in the
        same turn MUST go through only if the head is the one that the commit before it left; a driver MAY
        keep everybody out until the turn ends. Turns do not nest.
        Raises BusyError, LockLostError, CorruptError, ClosedError.
        """

    def commit(self, plan: Plan, lines: Sequence[bytes]) -> None:
        """Store the batch, inside `exclusive`. When this returns the entries MUST survive a loss of power.

        Raises ConflictError if the plan does not follow the head; FullError or another StorageError
        only if nothing of the batch is left; UncertainCommitError if that cannot be known. Then the store
        MUST NOT commit anything before it knows what became of the batch: because it was opened again, or
        because it found out itself in a later turn.
        """

    def room(self, size: int) -> int:
        """How many entries one batch may have when the log has `size`: batches do not cross segments."""

    def hashes(self, level: int, start: int, stop: int) -> list[bytes]:
        """As `LogSource.hashes`; inside `exclusive` MUST have what was committed in the turn."""

    def checkpoint(self) -> bytes | None:
        """As `LogSource.checkpoint`; inside `exclusive` MUST be the latest."""

    @property
    def is_certain(self) -> bool:
        """Inside `exclusive`: whether the head is sure to survive what a committed batch survives.

        False where it was read only, from a server that may be one no longer. Nobody MUST sign such a head.
        """

    def certain_head(self) -> Head:
        """The head, made certain. Inside `exclusive`; others MAY have committed after it by then."""

    def replace_checkpoint(self, old: bytes | None, new: bytes) -> None:
        """Compare and swap, inside `exclusive`; the tree it covers MUST be durable first.

        MUST be durable when the turn ends without an error. Raises ConflictError if the checkpoint is not
        `old`, CorruptError if the stored tree does not lead to the head's root.
        """

    def add_timestamp(self, size: int, response: bytes) -> str:
        """Keep an RFC 3161 response over the checkpoint at `size`, durably; where it is, for people.

        Needs no turn. MUST NOT replace another.
        """

    def begin_erasure(self, entry: Entry) -> None:
        """Note durably that this entry erases: the next to be committed, or one that is there.

        Inside `exclusive`. The caller has judged it. If it is or becomes durable, its payloads MUST be
        erased then or later, whatever happens between. Raises ErasureRefusedError where one is out of the
        store's reach.
        """

    def finish_erasure(self) -> None:
        """Erase what the entry says that was noted. Inside `exclusive`.

        A driver whose bytes others can write MUST ask `Known.check_erasure` before a byte goes, unless it was
        begun here. What was begun, and then not said by an entry or refused by the rules there, is forgotten.
        Raises StorageError; then the next turn or opening MUST try again.
        """

    def rebuild_tree(self) -> None:
        """Make the stored hashes again from the entries, inside `exclusive`.

        Raises CorruptError if the entries are damaged, or not what the checkpoint signed.
        """

    def seal(self, where: str) -> None:
        """Say durably that the log is written there from now on. Inside `exclusive`.

        Once the turn has ended without an error, every turn and opening MUST raise MovedError, on any host.
        """

    def release(self) -> None:
        """Close what a forked child must not share with its parent; the next turn opens it again."""

    def close(self) -> None:
        """Release every resource; a turn then raises ClosedError. May be called twice."""


class Cursors(Protocol):
    """How far each replica is, as text: this user's own, no evidence, and lost without harm."""

    def load(self, url: str) -> bytes | None:
        """What was saved for this replica; None where there is nothing that can be read."""

    def save(self, url: str, data: bytes) -> None:
        """Replace it, whole. MUST NOT raise where that fails."""

    def alone(self, url: str) -> AbstractContextManager[bool]:
        """Whether this is the only sender to the replica, among all processes, while the context lasts."""


class Copying(Protocol):
    """A log that is being made of another's lines. Until `finish` has returned nothing is there of it."""

    def add_lines(self, lines: Iterable[bytes], segment_entries: int) -> None:
        """The log's lines, from the first to the last; memory: few of them. Raises StorageError."""

    def finish(self, head: Head, source: LogSource) -> None:
        """The rest of it, durably, and sealed: UNFINISHED and `source.absolute()` is where it is written.

        `head`: of the lines. Checkpoint and time stamps are those of `source`. Raises StorageError.
        """


class RawSegment(Protocol):
    """A piece of a log as it stood at the moment of a snapshot: whole lines, torn ones, or anything else.

    MUST be picklable: worker processes read it. Offsets are the driver's own. Nothing is
    read that was added after the snapshot. Methods raise OSError where the bytes cannot be had, and where
    they are not those of the snapshot any more; MalformedSegmentError where they are compressed, and not
    what that asks for.

    A driver whose offsets are bytes may have `read(start, stop)` as well, which gives exactly these bytes: it
    spares who reads everything the cutting into lines.
    """

    @property
    def first(self) -> int:
        """The sequence number that its first line is to have."""

    @property
    def name(self) -> str:
        """What findings call it."""

    @property
    def unit(self) -> Literal["byte", "line"]:
        """What offsets count."""

    @property
    def size(self) -> int:
        """The offset at which it ends."""

    @property
    def room(self) -> int:
        """What stands behind it to be written into, in offsets: only the last segment may have room."""

    def lines(self, start: int, stop: int) -> Iterator[Line]:
        """Each line that begins at an offset in [start, stop), whole. `start` need not begin a line.

        Of what is longer than any line may be, only the first LINE_SIZE_MAX_BYTES + 1 bytes are given.
        """

    def offset_after(self, lines: int) -> int:
        """Where the line after this many lines begins; `size` if there are fewer."""

    def away(self) -> str | None:
        """Where it was moved to, if it cannot be read for that reason."""


class Snapshot(Protocol):
    """What there was at one moment. It judges nothing."""

    @property
    def segments(self) -> Sequence[RawSegment]:
        """By their first numbers, which need not follow each other."""

    def segment_name(self, first: int) -> str:
        """What findings call a segment that begins with this entry, whether it is there or not."""

    @property
    def strays(self) -> Sequence[str]:
        """Names of what stands among the segments and is not one."""

    @property
    def twice(self) -> Sequence[str]:
        """Names of what stands beside a segment that is there, and is the same segment compressed."""

    @property
    def checkpoint(self) -> bytes | None:
        """As `LogSource.checkpoint`; None also where it is among the `unreadable`."""

    @property
    def unreadable(self) -> Sequence[tuple[str, str]]:
        """(name, reason) of what is there and cannot be read."""

    @property
    def is_between_commits(self) -> bool:
        """False if a commit may have been under way: the lock could not be had in time."""

    @property
    def hash_bytes(self) -> Mapping[int, int]:
        """How many bytes of hashes are stored at each tile level."""

    def hashes(self, level: int, start: int, count: int) -> bytes:
        """Stored hashes from `start` on, joined; fewer, and perhaps one in part, where they end. OSError."""


def room_in_segment(size: int, segment_entries: int) -> int:
    """See `Store.room`."""
    return segment_entries - size % segment_entries


def check_plan(plan: Plan, lines: Sequence[bytes], head: Head, segment_entries: int) -> None:
    """Raises ConflictError unless the batch follows this head, within its segment: see `Store.commit`."""
    before = plan.head.size - len(lines)
    if before != head.size:
        raise ConflictError(
            f"batch starts at {before}, the log is at {head.size}", expected=before, found=head.size
        )
    room = room_in_segment(before, segment_entries)
    if len(lines) > room:
        raise ConflictError(f"a batch of {len(lines)} entries does not fit, {room} do")
