"""The writer's side against a real replica, through a network that fails in every way it can."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.support.logs import ORIGIN, LogMaker, draft
from tests.support.replicas import Site, Writer, changing, site, soon

from attestlog._internal.config import ReplicaAt
from attestlog._internal.core.cosignature import open_signed_checkpoint
from attestlog._internal.core.note import format_vkey
from attestlog._internal.core.replication import Shipment, ends_batch, log_id
from attestlog._internal.core.report import Verdict
from attestlog._internal.places import replicas_dir
from attestlog._internal.replica import Replica, checking
from attestlog._internal.replication import Replicator
from attestlog._internal.replication import client as client_module
from attestlog._internal.replication import replicator as replicator_module
from attestlog._internal.replication import sender as sender_module
from attestlog._internal.replication.batches import shipments
from attestlog._internal.replication.cursor import load_cursor
from attestlog._internal.replication.settings import replica_at
from attestlog._internal.storage.files import layout
from attestlog._internal.storage.resolve import open_source
from attestlog._internal.verifying import judge_log
from attestlog.errors import MalformedConfigError, ReplicationError, SplitViewError
from attestlog.testing import MemorySigner


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path, "one") as made:
        yield made


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    made = Writer(LogMaker(tmp_path / "log", origin=ORIGIN, segment_entries=64))
    made.append(9)
    return made


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses short enough for a test."""
    monkeypatch.setattr(sender_module, "PAUSE_MIN_S", 0.01)
    monkeypatch.setattr(sender_module, "PAUSE_MAX_S", 0.2)
    monkeypatch.setattr(sender_module, "IDLE_S", 0.05)
    monkeypatch.setattr(sender_module, "COSIGN_EVERY_S", 0.0)


# --- what is sent ---


def test_only_what_is_durable_is_sent(writer: Writer) -> None:
    root = writer.log.root
    assert open_source(root).durable_size() == 10
    # A commit under way: the lines are there, their leaf hashes not yet.
    writer.log.append(draft(99))
    writer.log.write_entries()
    assert open_source(root).size() == 11
    assert open_source(root).durable_size() == 10
    layout.tree_path(root, 0).unlink()
    assert open_source(root).durable_size() == 0


def test_shipments_end_where_batches_end_and_cover_all(writer: Writer) -> None:
    for count in (1, 700, 1, 1024, 300):
        writer.append(count, batched=count > 1)
    sent = list(shipments(open_source(writer.log.root), 0, len(writer.log.lines)))
    assert [line for shipment in sent for line in shipment.lines] == writer.log.lines
    assert all(ends_batch(shipment.lines[-1]) for shipment in sent)
    assert [shipment.start for shipment in sent[1:]] == [shipment.stop for shipment in sent[:-1]]


def test_a_payload_that_looks_like_a_batch_is_none() -> None:
    line = (
        b'{"action_payload":{"hsm_signature":"00:0/5:"},"hsm_signature":"00",'
        b'"result_data":{"hsm_signature":"0:1/9:"},"signature_algorithm":"Ed25519"}'
    )
    assert ends_batch(line)


# --- one replica ---


def test_a_round_sends_all_and_has_it_cosigned(writer: Writer, one: Site) -> None:
    sender = writer.sender(one.at)
    sender.run_once()
    assert (sender.held, one.held(), sender.cursor.cosigned_size) == (10, 10, 10)
    ((text, lines),) = writer.kept
    assert text.startswith(f"{ORIGIN}\n10\n")
    assert lines[0].name == "replica.example.com/one"
    for name in ("entries/000000000000.jsonl",):
        assert (one.copy / name).read_bytes() == (writer.log.root / name).read_bytes()
    sender.run_once()
    assert len(writer.kept) == 1  # nothing new, nothing asked
    writer.append(200)
    sender.run_once()
    assert one.held() == 210
    assert load_cursor(open_source(writer.log.root).cursors(), one.at.url).cosigned_size == 210
    assert judge_log(one.copy, remember=False).verdict == Verdict.VERIFIED


def test_a_policy_that_changes_often_is_taken_in_parts(
    one: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One round goes on from where the replica has read enough, until it has all of it."""
    made = changing(tmp_path / "changing", range(8))
    made.lay_out()
    monkeypatch.setattr(checking, "POLICY_SIZE_MAX_BYTES", 1)
    monkeypatch.setattr(checking, "POLICIES_READ_MAX_BYTES", 2)  # as if each were as large as can be
    sender = Writer(made).sender(one.at)
    sender.run_once()
    assert (sender.held, one.held()) == (17, 17)
    assert load_cursor(open_source(made.root).cursors(), one.at.url).cosigned_size == 17


def cursor_file(writer: Writer) -> Path:
    """Where it is kept how far the one replica is."""
    (path,) = replicas_dir(open_source(writer.log.root).entry(0).entry_hash).glob("*.json")
    return path


def test_a_lost_cursor_costs_a_question(writer: Writer, one: Site) -> None:
    writer.sender(one.at).run_once()
    cursor_file(writer).write_bytes(b"nonsense")
    writer.append(5)
    again = writer.sender(one.at)
    assert again.held == 0
    again.run_once()
    assert (again.held, one.held()) == (15, 15)


@pytest.mark.parametrize("fault", ["refused", "cut", "cut_answer", "partition"])
def test_what_the_network_loses_is_sent_again_and_nothing_twice(
    fault: str, writer: Writer, one: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "SILENCE_MAX_S", 1.0)
    monkeypatch.setattr(client_module, "CONNECT_MAX_S", 1.0)
    sender = writer.sender(one.at)
    sender.start()
    try:
        soon(lambda: one.held() == 10)
        one.proxy.is_refusing = fault == "refused"
        one.proxy.is_partitioned = fault == "partition"
        one.proxy.cut_after_bytes = 3_000 if fault == "cut" else None
        one.proxy.cut_answer_after_bytes = 20 if fault == "cut_answer" else None
        one.proxy.drop_all()
        writer.append(20)
        sender.notify()
        soon(lambda: sender.cursor.error)
        assert "cannot be reached" in sender.cursor.error
        assert sender.cursor.failing_since
        one.proxy.is_refusing = one.proxy.is_partitioned = False
        one.proxy.cut_after_bytes = one.proxy.cut_answer_after_bytes = None
        one.proxy.drop_all()
        soon(lambda: sender.held == 30 and not sender.cursor.error)
    finally:
        sender.stop(60)
    assert one.held() == 30
    assert judge_log(one.copy, remember=False).verdict == Verdict.VERIFIED


def test_a_long_outage_and_its_end_are_entries(writer: Writer, one: Site) -> None:
    sender = writer.sender(one.at, lost_after_s=0.1)
    sender.start()
    try:
        soon(lambda: sender.held == 10)
        one.proxy.is_refusing = True
        one.proxy.drop_all()
        writer.append(1)
        sender.notify()
        soon(lambda: writer.recorded)
        time.sleep(0.5)
        one.proxy.is_refusing = False
        soon(lambda: len(writer.recorded) == 2)
    finally:
        sender.stop(60)
    lost, back = writer.recorded
    assert (lost["action_type"], back["action_type"]) == ("replica_lost", "replica_back")
    assert lost["action_payload"]["url"] == one.at.url
    assert lost["action_payload"]["held_size"] == 10


def test_another_history_is_refused_said_once_and_not_insisted_on(
    writer: Writer, one: Site, tmp_path: Path
) -> None:
    writer.sender(one.at).run_once()
    writer.log.reseal(4, action_type="rewritten")
    writer.log.lay_out()
    rewritten = writer.sender(one.at)
    cursor_file(writer).unlink()
    with pytest.raises(SplitViewError):
        rewritten.run_once()  # the same size, and another root
    writer.append(3)
    writer.log.reseal(4, action_type="rewritten")
    writer.log.lay_out()
    with pytest.raises(SplitViewError):
        rewritten.run_once()  # more entries, and those that are held are not among them
    sender = writer.sender(one.at, lost_after_s=0.1)
    sender.start()
    soon(lambda: writer.recorded)
    time.sleep(0.5)
    sender.stop(60)
    assert [entry["action_type"] for entry in writer.recorded] == ["replica_refused"]
    assert one.held() == 10


def test_a_log_that_was_cut_is_not_continued_over_a_longer_copy(writer: Writer, one: Site) -> None:
    writer.append(30)
    writer.sender(one.at).run_once()
    del writer.log.lines[20:]
    writer.log.lay_out()
    sender = writer.sender(one.at)
    cursor_file(writer).unlink()
    with pytest.raises(ReplicationError, match="holds 40 entries, the log has 20") as caught:
        sender.run_once()
    assert not caught.value.retryable
    assert one.held() == 40


def test_a_cosignature_by_another_key_is_not_believed(writer: Writer, one: Site) -> None:
    stranger = MemorySigner("Ed25519")
    vkey = Replica(one.replica.directory, "replica.example.com/one", stranger).vkey
    at = ReplicaAt(url=one.at.url, vkey=format_vkey(vkey), token_file=one.at.token_file)
    sender = writer.sender(at)
    with pytest.raises(Exception, match="no known key"):
        sender.run_once()
    assert writer.kept == []
    assert sender.cursor.cosigned_size == 0


@pytest.mark.parametrize("token", ["", "two words", "none"])
def test_a_token_that_is_none_is_the_writers_mistake(
    token: str, writer: Writer, one: Site, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    if token != "none":
        path.write_text(token)
    at = ReplicaAt(url=one.at.url, vkey=one.at.vkey, token_file=str(path))
    with pytest.raises(MalformedConfigError):
        writer.sender(at).run_once()


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1:8470", "http://user:x@127.0.0.1", "ftp://127.0.0.1", "https://a/?b"]
)
def test_a_token_is_sent_to_no_url_that_gives_it_away(
    url: str, writer: Writer, one: Site, tmp_path: Path
) -> None:
    with pytest.raises(MalformedConfigError):
        replica_at(url, one.at.vkey, Path(one.at.token_file), None)
    # A configuration that names it all the same: nothing is sent, and the token is not even read.
    at = ReplicaAt(url=url, vkey=one.at.vkey, token_file=str(tmp_path / "missing"))
    with pytest.raises(MalformedConfigError, match="the replica's URL"):
        writer.sender(at).run_once()


def test_a_wrong_token_is_refused_and_said(writer: Writer, one: Site, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("wrong")
    sender = writer.sender(ReplicaAt(url=one.at.url, vkey=one.at.vkey, token_file=str(path)))
    with pytest.raises(ReplicationError, match="401") as caught:
        sender.run_once()
    assert not caught.value.retryable
    assert "wrong" not in str(caught.value)


# --- several ---


def test_promises_of_copies_are_kept_by_as_many_as_were_asked_for(writer: Writer, tmp_path: Path) -> None:
    with site(tmp_path, "a") as a, site(tmp_path, "b") as b, site(tmp_path, "c") as c:
        c.proxy.is_refusing = True
        replicator = Replicator([a.at, b.at, c.at], writer.work())
        try:
            replicator.promise(10, 2, 60).result()
            assert (a.held(), b.held(), c.held()) == (10, 10, 0)
            with pytest.raises(ReplicationError, match="2 of 3 copies") as caught:
                replicator.promise(10, 3, 0.3).result()
            assert (caught.value.have, caught.value.need) == (2, 3)
            promise = replicator.promise(10, 3, 60)
            assert not promise.done()
            c.proxy.is_refusing = False
            assert promise.result(60) == 3
            with pytest.raises(ValueError, match="4 copies"):
                replicator.promise(10, 4, 20)
            open_promise = replicator.promise(11, 1, 600)
        finally:
            replicator.close()
        with pytest.raises(ReplicationError, match="before it was closed"):
            open_promise.result(60)
        assert replicator.promise(10, 3, 60).result(60) == 3, "what is there is there"
        with pytest.raises(ReplicationError, match="before it was closed"):
            replicator.promise(11, 1, 600).result(60)


def test_each_promise_ends_in_its_own_time(
    writer: Writer, one: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(replicator_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    one.proxy.is_refusing = True
    replicator = Replicator([one.at], writer.work())
    ended: list[float] = []
    try:
        promises = []
        for timeout_s in (600, 0.3, 0.1, 0.2):
            promises.append(replicator.promise(10, 1, timeout_s, receipts=[timeout_s]))
            promises[-1].add_done_callback(lambda done, timeout_s=timeout_s: ended.append(timeout_s))  # type: ignore[misc]
        for count, timeout_s in enumerate((0.1, 0.2, 0.3), start=1):
            now[0] = 100.0 + timeout_s
            soon(lambda count=count: len(ended) >= count)  # type: ignore[misc]
            assert ended == [0.1, 0.2, 0.3][:count]
        for promise in promises[1:]:
            with pytest.raises(ReplicationError, match="0 of 1 copies were confirmed in 0"):
                promise.result(0)
        assert not promises[0].done()
    finally:
        replicator.close()
    with pytest.raises(ReplicationError) as caught:
        promises[0].result(60)
    assert caught.value.receipts == [600]


def test_two_processes_of_one_log_send_once_and_both_know(writer: Writer, one: Site) -> None:
    senders = [writer.sender(one.at) for _ in range(2)]
    for sender in senders:
        sender.start()
    try:
        soon(lambda: all(sender.held == 10 for sender in senders))
        writer.append(50)
        for sender in senders:
            sender.is_awaited = True
            sender.notify()
        soon(lambda: all(sender.held == 60 for sender in senders))
        senders[0].stop(10)
        senders[1].notify()
        writer.append(5)
        soon(lambda: senders[1].held == 65)
    finally:
        for sender in senders:
            sender.stop(60)
    with one.replica.holding(log_id(ORIGIN)) as holding:
        note = holding.checkpoint()
    assert note is not None
    keys = [writer.log.checkpoint_key.verifier, one.replica.vkey]
    assert open_signed_checkpoint(note, keys).checkpoint.size <= 65


def test_a_shipment_sent_twice_at_once_is_held_once(writer: Writer, one: Site) -> None:
    results: list[object] = []

    def send() -> None:
        results.append(one.replica.take(log_id(ORIGIN), Shipment(0, writer.log.lines)))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert one.held() == 10
