"""Each system call of a log's whole life fails once, in each way it can: what is said then is true.

Either nothing of the batch is left and the log goes on, or nobody can know and it
stops until it is reopened. What was acknowledged is there afterwards, either way.
"""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.descriptors import open_below
from tests.support.faults import FAULTS, Faults, injected
from tests.support.logs import create, draft, drafts
from tests.support.tally import tally

from attestlog._internal.log import Log, Receipt
from attestlog.errors import (
    AttestlogError,
    ClosedError,
    FullError,
    StorageError,
    UncertainCommitError,
    WriteFailedError,
)
from attestlog.testing import MemorySigner, check_log


class Life:
    """A log is made, written over two segments, checkpointed, closed, opened, written and closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log: Log | None = None
        self.acknowledged: list[Receipt] = []
        self.refused: list[int] = []
        """Numbers of drafts of which nothing may be left."""
        self.unknown: list[int] = []
        self.errors: list[AttestlogError] = []
        self.next = 1

    def lead(self) -> None:
        try:
            self.log = create(self.path, segment_entries=4)
        except StorageError as error:
            self.errors.append(error)
            return
        for step in (1, 5, 0, 2, 1):
            self.step(step)
        self.close()
        self.reopen()
        for step in (3, 1, 0):
            self.step(step)
        self.close()

    def step(self, count: int) -> None:
        """Append so many, or checkpoint for 0."""
        if self.log is None:
            return
        numbers = list(range(self.next, self.next + count))
        self.next += count
        try:
            if count:
                self.acknowledged += self.log.append_many(drafts(numbers))
            else:
                self.log.checkpoint()
        except AttestlogError as error:
            self.errors.append(error)
            committed = error.evidence().get("committed", 0)
            # A long list goes in batches: those before the one that failed are committed.
            left = numbers[committed:]
            if isinstance(error, UncertainCommitError):
                self.unknown += left
            else:
                self.refused += left
            self.after(error)

    def after(self, error: AttestlogError) -> None:
        """Stopped, or going on as if nothing had been."""
        assert self.log is not None
        if isinstance(error, UncertainCommitError):
            with pytest.raises(ClosedError, match="reopen"):
                self.log.append(draft(-1))
        if isinstance(error, UncertainCommitError | ClosedError):
            self.close()
            self.reopen()

    def close(self) -> None:
        if self.log is not None:
            try:
                self.log.close()
            except StorageError as error:
                self.errors.append(error)
            with pytest.raises(ClosedError):
                self.log.append(draft(-1))
        self.log = None

    def reopen(self) -> None:
        assert self.log is None
        try:
            self.log = Log.open(self.path)
        except StorageError as error:
            self.errors.append(error)

    def check(self) -> None:
        """Without faults: the log opens, and holds what it must and nothing it must not."""
        if not self.path.exists():
            assert not self.acknowledged
            return
        with Log.open(self.path) as log:
            receipt = log.append(draft(1_000))
        entries = check_log(self.path, [*self.acknowledged, receipt])
        numbers = [
            entry.action_payload["number"]
            for entry in entries[1:]
            if entry.action_payload is not None
        ]  # fmt: skip
        assert numbers == sorted(numbers)
        assert not set(numbers) & set(self.refused), "something is left of what was refused"
        expected = {entry.sequence_number: entry.entry_hash for entry in entries}
        assert {
            receipt.sequence_number: receipt.entry_hash for receipt in self.acknowledged
        }.items() <= expected.items()
        assert len(entries) <= 2 + len(self.acknowledged) + len(self.unknown) + self.halves()

    def halves(self) -> int:
        """Entries of lists whose first batches were committed before a later one failed."""
        return sum(error.evidence().get("committed", 0) for error in self.errors)


def calls_of_a_life(path: Path) -> dict[str, int]:
    create(path.with_name("first")).close()  # makes the directories that every log shares
    with injected(Faults()) as faults:
        life = Life(path)
        life.lead()
    assert life.errors == []
    assert len(life.acknowledged) == 13
    life.check()
    return faults.counts


@pytest.fixture
def little_garbage() -> Iterator[None]:
    """What the tests before left is collected once, and looked at no more: `descriptors` collects often."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def descriptors(path: Path) -> list[str]:
    gc.collect()  # a log whose making failed is closed now
    return open_below(path, Path(os.environ["ATTESTLOG_STATE"]))


@pytest.mark.usefixtures("little_garbage")
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize("name, kind", [(name, kind) for name, kinds in FAULTS.items() for kind in kinds])
def test_every_call_fails(tmp_path: Path, name: str, kind: str, lasting: bool) -> None:
    counts = calls_of_a_life(tmp_path / "whole")
    if name == "ftruncate":
        assert name not in counts, "only called to take back: see below"
        return
    assert counts[name] > 0
    struck = 0
    for nth in range(1, counts[name] + 1):
        path = tmp_path / f"{nth}" / "log"
        with injected(Faults(name, nth, kind, lasting)) as faults:
            life = Life(path)
            life.lead()
            if life.log is not None:
                life.close()
        assert faults.struck
        tally(f"calls failed within the process: {name}")
        assert faults.synced_again == [], "a failed sync is never called again on the same descriptor"
        # What closes a full segment holds nobody up: the next checkpoint is signed, or says why not.
        is_entries = any("entries" in path for path in faults.failed_paths)
        assert life.errors or name != "fdatasync" or not is_entries
        struck += bool(life.errors)
        if not path.exists():
            assert list(path.parent.iterdir() if path.parent.exists() else []) == [], "nothing is left behind"
        life.check()
        assert descriptors(tmp_path) == [], "every descriptor is closed again"
    # A stored hash that could not be written once is written later, and nobody is the wiser.
    assert struck or (name, lasting) == ("pwrite", False)


@pytest.mark.parametrize("cut", ["EIO", "ENOSPC"])
def test_a_write_that_cannot_be_taken_back_stops_the_log(tmp_path: Path, cut: str) -> None:
    path = tmp_path / "log"
    log = create(path)
    kept = log.append(draft(1))
    with injected(Faults("write", 1, "short")) as faults, pytest.MonkeyPatch.context() as patch:

        def ftruncate(descriptor: int, size_bytes: int) -> None:
            raise OSError(5, "Input/output error")

        patch.setattr(os, "ftruncate", ftruncate)
        with pytest.raises(UncertainCommitError, match="could not be cut back"):
            log.append_many(drafts([2, 3, 4]))
    assert faults.struck
    with pytest.raises(ClosedError, match="reopen"):
        log.append(draft(5))
    log.close()
    with Log.open(path) as reopened:
        assert len(reopened.recovered) == 1
        later = reopened.append(draft(6))
    assert len(check_log(path, [kept, later])) == 3


@pytest.mark.parametrize(
    "name, kind, error",
    [
        ("write", "ENOSPC", FullError), ("write", "EDQUOT", FullError), ("write", "short", FullError),
        ("write", "EIO", WriteFailedError), ("fdatasync", "EIO", UncertainCommitError),
        ("fdatasync", "ENOSPC", UncertainCommitError),
    ],
)  # fmt: skip
def test_what_a_failed_append_raises(tmp_path: Path, name: str, kind: str, error: type[StorageError]) -> None:
    log = create(tmp_path / "log")
    with injected(Faults(name, 1, kind)), pytest.raises(error) as caught:
        log.append(draft(1))
    assert type(caught.value) is error
    log.close()


def test_every_caller_in_the_batch_learns_that_the_outcome_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = create(path)
    futures = []
    with injected(Faults("fdatasync", 1, "EIO", lasting=True)) as faults:
        futures = [log.submit(draft(number)) for number in range(1, 40)]
        errors = [future.exception(60) for future in futures]
    assert faults.counts["fdatasync"] == 1
    uncertain = [error for error in errors if isinstance(error, UncertainCommitError)]
    closed = [error for error in errors if isinstance(error, ClosedError)]
    assert uncertain
    assert len(uncertain) + len(closed) == 39, "who was not in the batch is told that nothing was written"
    log.close()
    with Log.open(path) as reopened:
        receipt = reopened.append(draft(100))
    entries = check_log(path, [receipt])
    assert len(entries) in {2, 2 + len(uncertain)}


def test_a_tree_that_cannot_be_written_holds_no_append_up(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = create(path)
    with injected(Faults("pwrite", 1, "ENOSPC", lasting=True)):
        receipts = log.append_many(drafts([1, 2, 3]))
        with pytest.raises(StorageError):
            log.checkpoint()
        receipts.append(log.append(draft(4)))
    log.checkpoint()
    log.close()
    check_log(path, receipts)


def test_a_tree_that_cannot_be_made_durable_stops_the_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    signer = MemorySigner()
    log = create(path, signer=signer)
    receipt = log.append(draft(1))
    with injected(Faults("fsync", 1, "EIO")) as faults:
        with pytest.raises(WriteFailedError, match="tree"):
            log.checkpoint()
        with pytest.raises(ClosedError, match="reopen"):
            log.append(draft(2))
        with pytest.raises(ClosedError, match="reopen"):
            log.checkpoint()
        log.close()
        assert faults.synced_again == []
    with Log.open(path) as reopened:
        reopened.checkpoint()
    check_log(path, [receipt])
