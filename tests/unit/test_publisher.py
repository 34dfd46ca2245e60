"""Those who wait for publication: told when it is so, when it is not, and when nobody knows."""

import asyncio
import os
import threading
from concurrent.futures import Future, wait
from pathlib import Path

import pytest
from tests.support.logs import MINIMAL, ORIGIN, create

import attestlog
from attestlog import Log, PublishedWatch, Publisher, Receipt
from attestlog._internal import publisher as room
from attestlog._internal.core.report import Verdict
from attestlog._internal.log import publication
from attestlog._internal.storage.published_folder import PublishedFolder
from attestlog.errors import (
    BusyError,
    ConsistencyError,
    MalformedEntryError,
    PublicationError,
    StorageError,
)

FOR_EVER = 3_600.0


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "RETRY_AFTER_S", 0.01)
    monkeypatch.setattr(room, "CLOSING_MAX_S", 120.0)  # a busy machine


def size_of(note: bytes) -> int:
    return int(note.split(b"\n")[1])


def published_size(folder: Path) -> int:
    return size_of((folder / "checkpoint").read_bytes())


def test_appends_that_wait_return_when_they_are_published(log: Log, tmp_path: Path) -> None:
    public = tmp_path / "public"
    with Publisher(log, public, every_s=FOR_EVER) as publisher:
        assert publisher.where == str(public)
        receipts = []
        for number in range(1, 4):
            receipts.append(log.append(**MINIMAL, wait="published"))
            assert receipts[-1].sequence_number == number
            assert published_size(public) > number
        (*_, last) = log.append_many([MINIMAL] * 3, wait="published")
        assert published_size(public) > last.sequence_number
        assert log.append_many([], wait="published") == []
        assert log.submit(**MINIMAL, wait="published").result().sequence_number == 7
        assert published_size(public) == 8
        note = log.wait_published(receipts[0])
        assert note == (public / "checkpoint").read_bytes()
    report = attestlog.judge_published(public, trust=log.vkeys, full=True, remember=False)
    assert (report.verdict, report.size) == (Verdict.VERIFIED, 8)


def test_tasks_wait_as_threads_do(log: Log, tmp_path: Path) -> None:
    public = tmp_path / "public"

    async def work() -> list[Receipt]:
        receipts = await asyncio.gather(*(log.append_async(**MINIMAL, wait="published") for _ in range(20)))
        assert published_size(public) == 21
        late = await log.append_async(**MINIMAL)
        assert size_of(await log.published(late)) == 22
        return receipts

    with Publisher(log, public, every_s=FOR_EVER):
        assert {receipt.sequence_number for receipt in asyncio.run(work())} == set(range(1, 21))


def test_many_threads_share_publications(log: Log, tmp_path: Path) -> None:
    with Publisher(log, tmp_path / "public", every_s=FOR_EVER):
        waiting = [log.submit(**MINIMAL, wait="published") for _ in range(200)]
        assert {future.result().sequence_number for future in waiting} == set(range(1, 201))


def test_without_anybody_waiting_it_is_published_now_and_then_and_on_closing(tmp_path: Path) -> None:
    log = create(tmp_path / "log")
    public, changed = tmp_path / "public", threading.Event()
    with Publisher(log, public, every_s=0.01) as publisher:
        reached = log.publication.reached
        log.publication.reached = lambda size, note: (reached(size, note), changed.set())  # type: ignore[method-assign,assignment,func-returns-value]
        changed.clear()
        log.append(**MINIMAL)
        assert changed.wait(60)
        assert publisher.failure is None
    with Publisher(log, public, every_s=FOR_EVER):
        log.append(**MINIMAL)
    assert published_size(public) == 3
    Publisher(log, public, every_s=FOR_EVER)
    log.append(**MINIMAL)
    log.close()
    assert published_size(public) == 4


def test_nothing_is_written_where_nobody_publishes(log: Log, tmp_path: Path) -> None:
    for append in (log.append, log.submit):
        with pytest.raises(PublicationError, match="nothing was written") as caught:
            append(**MINIMAL, wait="published")
        assert not caught.value.receipts
    with pytest.raises(PublicationError, match="nothing was written"):
        log.append_many([MINIMAL], wait="published")
    with pytest.raises(PublicationError, match="nothing was written"):
        asyncio.run(log.append_async(**MINIMAL, wait="published"))
    with pytest.raises(ValueError, match="'cosigned'"):
        log.append(**MINIMAL, wait="cosigned")  # type: ignore[call-overload]
    assert log.head().size == 1
    receipt = log.append(**MINIMAL)
    with pytest.raises(PublicationError, match="is in the log; nobody") as caught:
        log.wait_published(receipt)
    assert [item.sequence_number for item in caught.value.receipts] == [1]


def test_a_draft_that_is_refused_is_refused_as_ever(log: Log, tmp_path: Path) -> None:
    with Publisher(log, tmp_path / "public", every_s=FOR_EVER):
        with pytest.raises(MalformedEntryError):
            log.append(**{**MINIMAL, "event_type": "NONE"}, wait="published")
        failed: Future[Receipt] = Future()
        failed.set_exception(StorageError("no room"))
        both = log._publication_of(failed, "published", lambda function: function())
        with pytest.raises(StorageError, match="no room"):
            both.result()


def test_the_deadline_passes_and_it_is_published_later(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public, is_down = tmp_path / "public", threading.Event()
    tried = threading.Event()
    settle = PublishedFolder.settle

    def fails(self: PublishedFolder) -> None:
        settle(self)
        if is_down.is_set():
            tried.set()
            raise StorageError("the store is down", retryable=True)

    monkeypatch.setattr(PublishedFolder, "settle", fails)
    with Publisher(log, public, every_s=FOR_EVER) as publisher:
        log.append(**MINIMAL, wait="published")
        is_down.set()
        receipt = log.append(**MINIMAL)
        pending = log.publication.promise([receipt], FOR_EVER)
        assert tried.wait(60)
        tried.clear()
        assert tried.wait(60)  # so the first failure was reported
        monkeypatch.setattr(publication, "PUBLISHED_TIMEOUT_S", 0.0)
        with pytest.raises(PublicationError, match="is not known in 0 s: the store is down") as caught:
            log.wait_published(receipt, timeout_s=0.0)
        error = caught.value
        assert (error.retryable, error.published_size, error.failure) == (True, None, "storage")
        assert [item.sequence_number for item in error.receipts] == [2]
        assert isinstance(publisher.failure, StorageError)
        assert published_size(public) == 2
        is_down.clear()
        assert size_of(pending.result(60)) == 3
    assert publisher.failure is None


def test_a_deadline_without_a_failure_says_what_is_published(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, asked = threading.Event(), threading.Event()
    settle = PublishedFolder.settle

    def slowly(self: PublishedFolder) -> None:
        settle(self)
        asked.set()
        assert go_on.wait(60)

    monkeypatch.setattr(PublishedFolder, "settle", slowly)
    with Publisher(log, tmp_path / "public", every_s=FOR_EVER):
        assert asked.wait(60)
        receipt = log.append(**MINIMAL)
        with pytest.raises(PublicationError, match="the last covers 0") as caught:
            log.wait_published(receipt, timeout_s=0.0)
        assert (caught.value.retryable, caught.value.published_size) == (True, 0)
        go_on.set()
        assert size_of(log.wait_published(receipt)) == 2


def test_closing_fails_what_is_still_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "CLOSING_MAX_S", 0.01)
    go_on, asked = threading.Event(), threading.Event()
    settle = PublishedFolder.settle

    def slowly(self: PublishedFolder) -> None:
        settle(self)
        asked.set()
        assert go_on.wait(60)

    monkeypatch.setattr(PublishedFolder, "settle", slowly)
    log = create(tmp_path / "log")
    publisher = Publisher(log, tmp_path / "public", every_s=FOR_EVER)
    assert asked.wait(60)
    pending = log.publication.promise([log.append(**MINIMAL)], FOR_EVER)
    log.close()
    with pytest.raises(PublicationError, match="before it was closed"):
        pending.result(60)
    go_on.set()
    publisher._thread.join()


def test_evidence_of_another_history_ends_it(log: Log, tmp_path: Path) -> None:
    public = tmp_path / "public"
    with Publisher(log, public, every_s=FOR_EVER):
        log.append(**MINIMAL, wait="published")
    # The same name and keys, another history.
    tile = public / "tile" / "entries" / "000.p" / "3"
    tile.write_bytes(b"another")
    publisher = Publisher(log, public, every_s=FOR_EVER)
    receipt = log.append(**MINIMAL)
    with pytest.raises(PublicationError, match=r"it is not published: .* another content") as caught:
        log.wait_published(receipt)
    assert (caught.value.retryable, caught.value.failure) == (False, ConsistencyError.code)
    with pytest.raises(PublicationError, match=r"nothing was written: .* another content"):
        log.append(**MINIMAL, wait="published")
    assert log.head().size == 3
    with pytest.raises(ConsistencyError):
        publisher.close()
    tile.unlink()
    with Publisher(log, public):
        assert size_of(log.wait_published(receipt)) == 3


def test_one_publisher_a_log_and_one_a_place(log: Log, tmp_path: Path) -> None:
    other = create(tmp_path / "other")
    with Publisher(log, tmp_path / "public", every_s=FOR_EVER):
        with pytest.raises(PublicationError, match="published from here already"):
            Publisher(log, tmp_path / "elsewhere")
        with pytest.raises(BusyError):
            Publisher(other, tmp_path / "public")
    with Publisher(log, tmp_path / "elsewhere", every_s=FOR_EVER):
        log.append(**MINIMAL, wait="published")
    other.close()


def test_a_forked_child_publishes_nothing(tmp_path: Path) -> None:
    log = create(tmp_path / "log")
    publisher = Publisher(log, tmp_path / "public", every_s=FOR_EVER)
    log.append(**MINIMAL, wait="published")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            publisher.close()
            log.append(**MINIMAL, wait="published")
        except PublicationError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        assert b"nobody publishes this log from here" in answer.read()
    os.waitpid(child, 0)
    assert log.append(**MINIMAL, wait="published").sequence_number == 2
    log.close()


# --- what another process publishes ---


def test_what_another_publishes_is_waited_for(log: Log, tmp_path: Path) -> None:
    public = tmp_path / "public"
    with PublishedWatch(log, public, every_s=0.01):
        waiting = [log.submit(**MINIMAL, wait="published") for _ in range(5)]
        assert wait(waiting, timeout=0.05).done == set()
        log.checkpoint()
        attestlog.publish(log.path, public)
        assert {future.result(60).sequence_number for future in waiting} == {1, 2, 3, 4, 5}


def test_a_watch_believes_nothing_that_is_not_the_logs(log: Log, tmp_path: Path) -> None:
    public, other = tmp_path / "public", create(tmp_path / "other")
    other.append_many([MINIMAL] * 3)
    other.close()
    attestlog.publish(tmp_path / "other", public)
    with PublishedWatch(log, public, every_s=0.01) as watch:
        receipt = log.append(**MINIMAL)
        with pytest.raises(PublicationError, match="it is not published"):
            log.wait_published(receipt)
        assert watch.failure is not None
        watch._failure = None


def test_a_watch_refuses_another_history_under_the_same_key(log: Log, tmp_path: Path) -> None:
    public = tmp_path / "public"
    log.append(**MINIMAL)
    log.checkpoint()
    attestlog.publish(log.path, public)
    note = (public / "checkpoint").read_bytes()
    with PublishedWatch(log, public, every_s=0.01) as watch:
        # A signature is over the whole text: with it another root is no checkpoint of the log's.
        (public / "checkpoint").write_bytes(note.replace(b"\n2\n", b"\n9\n"))
        with pytest.raises(PublicationError, match="it is not published"):
            log.wait_published(log.append(**MINIMAL))
        watch._failure = None
    assert ORIGIN.encode() in note
