"""A log that is published by itself, each checkpoint cosigned first: who waits, waits for both."""

import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.logs import MINIMAL
from tests.support.proxy import Proxy
from tests.support.serving_app import served

from attestlog import Log, PublishedWatch, Publisher, TrustPolicy
from attestlog._internal import publisher as room
from attestlog._internal.core.note import format_vkey, parse_vkey
from attestlog._internal.core.trust import open_trusted_checkpoint, parse_trust_policy
from attestlog._internal.server.witness import witness_app
from attestlog._internal.storage.publishing import publish_log
from attestlog._internal.witness import Witness, collecting
from attestlog.errors import PublicationError, QuorumError
from attestlog.testing import MemorySigner

FOR_EVER = 3_600.0


class Kit:
    """Two witnesses of a log, each behind a proxy, and the policy that asks for both."""

    def __init__(self, log: Log, folder: Path, undo: ExitStack) -> None:
        keys = [parse_vkey(vkey) for vkey in log.vkeys]
        lines = [f"log {vkey}" for vkey in log.vkeys]
        self.proxies = []
        for name in ("a", "b"):
            signer = MemorySigner("Ed25519")
            witness = Witness.begin(folder / name, f"witness.example.com/{name}", [signer], keys)
            undo.callback(witness.close)
            url = undo.enter_context(served(witness_app(witness)))
            self.proxies.append(undo.enter_context(Proxy(int(url.rpartition(":")[2]))))
            lines.append(f"witness {name} {format_vkey(witness.keys[0])} {self.proxies[-1].url}")
        lines += ["group both 2 a b", "quorum both", ""]
        self.policy: TrustPolicy = parse_trust_policy("\n".join(lines).encode())

    def cosigners(self, note: bytes) -> list[str]:
        return [name for name, _ in open_trusted_checkpoint(note, self.policy).witnesses]


def test_what_is_waited_for_is_cosigned(log: Log, tmp_path: Path) -> None:
    public = tmp_path / "public"
    with ExitStack() as undo:
        kit = Kit(log, tmp_path, undo)
        with Publisher(log, public, every_s=FOR_EVER, trust_policy=kit.policy):
            for size in (2, 3, 4):
                receipt = log.append(**MINIMAL, wait="published")
                note = log.wait_published(receipt)
                assert (public / "checkpoint").read_bytes() == note
                assert note.split(b"\n")[1] == b"%d" % size
                assert kit.cosigners(note) == ["a", "b"]


def test_without_the_quorum_nothing_is_published(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "RETRY_AFTER_S", 0.01)
    public = tmp_path / "public"
    with ExitStack() as undo:
        kit = Kit(log, tmp_path, undo)
        publisher = undo.enter_context(Publisher(log, public, every_s=FOR_EVER, trust_policy=kit.policy))
        log.append(**MINIMAL, wait="published")
        before = (public / "checkpoint").read_bytes()
        collect, tried, is_away = collecting.collect_cosignatures, threading.Event(), threading.Event()
        is_away.set()

        def asked(*given: object, **options: object) -> object:
            if is_away.is_set():
                tried.set()
                raise QuorumError("the quorum 'both' has not cosigned: b is away")
            return collect(*given, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(room, "collect_cosignatures", asked)
        receipt = log.append(**MINIMAL)
        pending = log.publication.promise([receipt], FOR_EVER)
        for _ in range(2):  # the second begins when the first is reported
            assert tried.wait(60)
            tried.clear()
        with pytest.raises(PublicationError, match="b is away") as caught:
            log.wait_published(receipt, timeout_s=0.0)
        assert caught.value.failure == QuorumError.code
        assert isinstance(publisher.failure, QuorumError)
        assert (public / "checkpoint").read_bytes() == before
        is_away.clear()
        assert kit.cosigners(pending.result(60)) == ["a", "b"]


def test_a_watch_waits_for_the_quorum(log: Log, tmp_path: Path) -> None:
    public = tmp_path / "public"
    with ExitStack() as undo:
        kit = Kit(log, tmp_path, undo)
        watch = PublishedWatch(log, public, every_s=0.01, trust_policy=kit.policy)
        undo.enter_context(watch)
        receipt = log.append(**MINIMAL)
        pending = log.publication.promise([receipt], FOR_EVER)
        note = log.checkpoint()
        publish_log(log.path, public)  # not cosigned: it does not count
        done = collecting.collect_cosignatures(note, kit.policy, lambda _old: b"")
        assert not pending.done()
        (public / "checkpoint").write_bytes(done.note)
        assert pending.result(60) == done.note
