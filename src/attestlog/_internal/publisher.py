"""Publishing an open log by itself, and watching what another process publishes, for those who wait for it.

    with attestlog.open("audit") as log, attestlog.Publisher(log, "public"):
        receipt = log.append(..., wait="published")

What is published is what `storage.publishing` does, at once when somebody waits, and otherwise now and then.
One that fails in a way that may pass is tried again; evidence of another history ends it.
"""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self

from attestlog._internal.core.cosignature import verify_checkpoint_signature
from attestlog._internal.core.genesis import open_log_checkpoint
from attestlog._internal.core.merkle import prove_consistency, prove_root
from attestlog._internal.core.note import parse_note, verified_signatures
from attestlog._internal.core.trust import TrustPolicy, verify_quorum
from attestlog._internal.storage.published import open_published
from attestlog._internal.storage.publishing import open_publishing
from attestlog._internal.witness.collecting import collect_cosignatures
from attestlog.errors import AttestlogError, ConsistencyError, NotFoundError, QuorumError, StorageError

if TYPE_CHECKING:
    from attestlog._internal.log import Log

PUBLISH_EVERY_S: Final = 1.0
"""How long an entry that nobody waits for stays unpublished, by default."""

LOOK_EVERY_S: Final = 0.05
"""Between two looks at what another process publishes, while somebody waits."""

PARTIALS_KEPT_S: Final = 3_600.0
"""How long readers of an older checkpoint have to fetch its partial files, by default."""

RETRY_AFTER_S: Final = 0.5
"""After a failure that may pass: a store that is down is not asked more often."""

CLOSING_MAX_S: Final = 5.0
"""How long closing the log waits for the last publication."""


class _Runner:
    """One thread that does a step again and again, and tells the log's `Publication` how far it came."""

    def __init__(self, log: Log, name: str, *, awaited_s: float, idle_s: float | None) -> None:
        """`awaited_s`: between two steps while somebody waits. `idle_s`: otherwise; None: until then."""
        self._log, self._awaited_s, self._idle_s = log, awaited_s, idle_s
        self._publication = log.publication
        self._wake, self._closing, self._pid = threading.Event(), threading.Event(), os.getpid()
        self._last = b""
        self._failure: AttestlogError | None = None
        self._stack = ExitStack()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def failure(self) -> AttestlogError | None:
        """Why the last try came to nothing; None if it did not."""
        return self._failure

    def close(self) -> None:
        """Do it a last time, and end. May be called twice.

        The log's `close` does the same, and waits for some seconds only. Raises what kept the last try from
        succeeding. In a forked child it does nothing.
        """
        self._end(None)
        if self._failure is not None:
            raise self._failure

    def _begin(self) -> None:
        with self._stack as stack:
            self._publication.begin(self._wake.set, lambda: self._end(CLOSING_MAX_S))
            stack.callback(self._publication.end)
            self._stack = stack.pop_all()  # the thread closes it
        self._thread.start()

    def _end(self, wait_s: float | None) -> None:
        if os.getpid() != self._pid or threading.current_thread() is self._thread:
            return
        self._closing.set()
        self._wake.set()
        self._thread.join(wait_s)

    def _run(self) -> None:
        with self._stack:
            while True:
                is_last = self._closing.is_set()
                if not self._try() or is_last:
                    return
                if self._failure is not None:
                    self._closing.wait(RETRY_AFTER_S)
                elif self._publication.is_awaited:
                    self._closing.wait(self._awaited_s)
                else:
                    self._wake.wait(self._idle_s)
                # Before the next step, which sees all that those who wake it from here on wait for.
                self._wake.clear()

    def _try(self) -> bool:
        """Whether to go on."""
        try:
            self._step()
        except AttestlogError as error:
            self._failure = error
            if error.retryable or isinstance(error, QuorumError):
                self._publication.missed(error)
                return True
            self._publication.failed(error)
            return False
        self._failure = None
        return True

    def _step(self) -> None:
        raise NotImplementedError

    def _reached(self, size: int, note: bytes) -> None:
        self._last = note
        self._publication.reached(size, note)


class Publisher(_Runner):
    """Publishes an open log to one place, in a thread, until it or the log is closed."""

    def __init__(
        self,
        log: Log,
        where: str | os.PathLike[str],
        *,
        every_s: float = PUBLISH_EVERY_S,
        trust_policy: TrustPolicy | None = None,
        remove_partials_after_s: float | None = PARTIALS_KEPT_S,
    ) -> None:
        """Begin to publish.

        `where`: a folder, or `s3://BUCKET/PREFIX`. `every_s`: an entry that nobody waits for is published at
        the latest so long after it was appended. `trust_policy`: its quorum must cosign each checkpoint
        before it is published. `remove_partials_after_s`: as of `attestlog.publish`.

        Raises PublicationError if the log is published from here already, and as `attestlog.publish`.
        """
        super().__init__(log, "attestlog-publisher", awaited_s=0.0, idle_s=every_s)
        self._trust_policy, self._kept_s = trust_policy, remove_partials_after_s
        with ExitStack() as stack:
            self._publishing = stack.enter_context(open_publishing(where))
            self._stack = stack.pop_all()
        self._begin()

    @property
    def where(self) -> str:
        """A path or URL."""
        return self._publishing.where

    def _step(self) -> None:
        work = self._publication.work()
        note = work.checkpoint()
        if self._last and parse_note(note).text == parse_note(self._last).text:
            return
        if self._trust_policy is not None:
            size = open_log_checkpoint(note, self._log.genesis).size
            done = collect_cosignatures(
                note, self._trust_policy, lambda old: prove_consistency(old, size, work.log.hashes),
                previous=self._last or None,
            )  # fmt: skip
            # What is published is this note, whichever one the log has stored by now.
            note = done.note
            work.keep(parse_note(note).text, parse_note(note).signatures)
        published = self._publishing.publish(work.log, note=note)
        self._reached(published.size, note)
        if self._kept_s is not None:
            self._publishing.remove_superseded(published.size, self._kept_s)


class PublishedWatch(_Runner):
    """Looks at what another process publishes of an open log, while somebody waits for it."""

    def __init__(
        self,
        log: Log,
        where: str | os.PathLike[str],
        *,
        every_s: float = LOOK_EVERY_S,
        trust_policy: TrustPolicy | None = None,
    ) -> None:
        """Begin to look.

        `where`: a folder, or a URL of a web server or bucket. `every_s`: between two looks. `trust_policy`:
        only a checkpoint that its quorum has cosigned counts.
        A checkpoint counts if the log's key signed it, and it covers the entries that the log has here.
        Raises PublicationError if the log is published or watched from here already, MalformedConfigError.
        """
        super().__init__(log, "attestlog-published-watch", awaited_s=every_s, idle_s=None)
        self._trust_policy = trust_policy
        with ExitStack() as stack:
            self._reader = stack.enter_context(open_published(os.fspath(where)))
            self._stack = stack.pop_all()
        self._begin()

    def _step(self) -> None:
        if not self._publication.is_awaited:
            return
        source = self._publication.work().log
        try:
            note = self._reader.checkpoint()
        except NotFoundError as error:
            raise StorageError(error.message, retryable=True) from None  # not yet
        if note == self._last:
            return
        checkpoint = open_log_checkpoint(note, self._log.genesis)
        if self._trust_policy is not None:
            verify_quorum(self._trust_policy, _cosigners(note, self._trust_policy))
        found = prove_root(checkpoint.size, source.hashes)
        if found != checkpoint.root:
            raise ConsistencyError(
                f"the {checkpoint.size} entries that are published are not those of the log",
                expected=checkpoint.root.hex(), found=found.hex(),
            )  # fmt: skip
        self._reached(checkpoint.size, note)


def _cosigners(note: bytes, trust_policy: TrustPolicy) -> list[str]:
    keys = {witness.key: witness.name for witness in trust_policy.witnesses}
    found = verified_signatures(parse_note(note), list(keys), verify_checkpoint_signature)
    return [keys[key] for key, _ in found]
