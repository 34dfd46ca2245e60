"""Replicas as tests meet them, and what is sent to them.

replica = new_replica(folder); replica.take(log, ship(made, 0, 9))       # in this process
with site(folder, "one") as one: Writer(made).sender(one.at)             # behind a network that fails
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.logs import ORIGIN, CheckpointKey, LogMaker, draft, drafts
from tests.support.network import Network, proxied
from tests.support.serving_app import served

from attestlog._internal.config import ReplicaAt
from attestlog._internal.core.checkpoint import Checkpoint, sign_checkpoint
from attestlog._internal.core.merkle import Span
from attestlog._internal.core.note import format_vkey
from attestlog._internal.core.policy_change import modify_rule_payload
from attestlog._internal.core.replication import (
    Shipment,
    log_id,
)
from attestlog._internal.replica import Replica
from attestlog._internal.replication import Work
from attestlog._internal.replication.sender import Sender
from attestlog._internal.server.replica import replica_app
from attestlog._internal.server.tokens import Scope, TokenFile
from attestlog._internal.storage.resolve import open_source
from attestlog.testing import MemorySigner

NAME = "replica.example.com/one"


def new_replica(folder: Path) -> Replica:
    return Replica(folder, NAME, MemorySigner("Ed25519"))


def log_to_ship(root: Path) -> LogMaker:
    """41 entries: the genesis entry, then batches of 8 and entries signed alone in turn; not laid out."""
    log = LogMaker(root, segment_entries=16)
    for start in range(0, 40, 8):
        log.append(*drafts(range(start, start + 8)), batched=start % 16 == 0)
    return log


def changing(root: Path, floors: Iterable[int]) -> LogMaker:
    """A log whose policy changes again and again, with an entry before each change; not laid out."""
    log = LogMaker(root)
    for number, floor in enumerate(floors):
        log.append(draft(number, action_payload={"action_type": "attestlog.set_policy"}))
        payload = modify_rule_payload(
            log.rules, "safety_floor", floor, proposal_id="p", change_description="another floor"
        )
        log.append(
            draft(0, event_type="CHANGE", action_type="attestlog.modify_policy_rule", action_payload=payload)
        )
    return log


def note(log: LogMaker, size: int | None = None, key: CheckpointKey | None = None) -> bytes:
    leaves = log.leaves()[:size]
    key = key or log.checkpoint_key
    checkpoint = Checkpoint(log.origin, len(leaves), Span().extended(leaves).root())
    return sign_checkpoint(checkpoint, [(key.verifier, key.sign)])


def ship(log: LogMaker, start: int, stop: int, *, signed: bool = False) -> Shipment:
    return Shipment(start, log.lines[start:stop], note(log, stop) if signed else b"")


def copy_of(replica: Replica, log: LogMaker) -> Path:
    return replica.path(log_id(log.origin))


@dataclass
class Site:
    """A replica, and how the writer reaches it."""

    replica: Replica
    at: ReplicaAt
    proxy: Network

    def held(self) -> int:
        log = log_id(ORIGIN)
        if log not in self.replica.logs():
            return 0
        with self.replica.holding(log) as holding:
            return holding.head().size

    @property
    def copy(self) -> Path:
        return self.replica.path(log_id(ORIGIN))


@contextmanager
def site(folder: Path, name: str) -> Iterator[Site]:
    replica = Replica(folder / name, f"replica.example.com/{name}", MemorySigner("Ed25519"))
    tokens = TokenFile(replica.directory)
    token = folder / f"{name}.token"
    token.write_text(tokens.mint("writer", [Scope.REPLICATE], ORIGIN))
    with served(replica_app(replica, tokens)) as url, proxied(url) as proxy:
        yield Site(
            replica, ReplicaAt(url=proxy.url, vkey=format_vkey(replica.vkey), token_file=str(token)), proxy
        )
    replica.close()


@dataclass
class Writer:
    """A log made by the core alone, as a sender sees it."""

    log: LogMaker
    kept: list[Any] = field(default_factory=list)
    recorded: list[dict[str, Any]] = field(default_factory=list)

    def append(self, count: int, *, batched: bool = True) -> None:
        start = len(self.log.lines)
        self.log.append(*drafts(range(start, start + count)), batched=batched)
        self.log.lay_out()

    def work(self) -> Work:
        return Work(
            open_source(self.log.root), ORIGIN, (self.log.root / "checkpoint").read_bytes,
            lambda text, lines: self.kept.append((text, lines)), self.recorded.append,
        )  # fmt: skip

    def sender(self, at: ReplicaAt, **options: Any) -> Sender:
        return Sender(at, self.work(), **options)


def soon(holds: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.01)
