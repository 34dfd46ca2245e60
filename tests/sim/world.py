"""A writer, three replicas and two witnesses, whose messages and disks fail as a seed says.

Everything but the network, the disk and chance is the code that runs in production: senders, replicas and
witnesses. After every step the world checks that nothing was promised that does not hold.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Any

from tests.sim.disk import Disk, PowerCutError
from tests.support import rfc6962
from tests.support.logs import LogMaker, draft, drafts

from attestlog._internal.config import ReplicaAt
from attestlog._internal.core.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from attestlog._internal.core.cosignature import verify_checkpoint_signature
from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.hashes import leaf_hash
from attestlog._internal.core.merkle import Span
from attestlog._internal.core.note import VerifierKey, format_vkey, parse_note, verified_signatures
from attestlog._internal.core.replication import ReplicaAnswer, Shipment, log_id
from attestlog._internal.core.witness import format_add_checkpoint, parse_cosignatures
from attestlog._internal.replica import Replica
from attestlog._internal.replication.client import Held
from attestlog._internal.replication.sender import Sender, Work
from attestlog._internal.storage.resolve import open_source
from attestlog._internal.witness import Witness
from attestlog.errors import AttestlogError, ReplicationError, SplitViewError, StaleSizeError
from attestlog.testing import MemorySigner

ORIGIN = "example.com/simulated"
REPLICAS, WITNESSES = 3, 2


@dataclass
class Cosigner:
    """What the world remembers of what a replica or witness ever signed."""

    key: VerifierKey
    signed: list[Checkpoint] = field(default_factory=list)


class World:
    """One run. `step` does what chance says next; `heal` ends all faults."""

    def __init__(self, folder: Path, seed: int, *, forks: bool) -> None:
        self.folder, self.chance = folder, random.Random(seed)
        self.honest = LogMaker(folder / "log", origin=ORIGIN, segment_entries=16)
        self.honest.lay_out()
        self.boundaries = [(1, self.honest.head)]
        """Sizes at which a batch of the honest log ended, and its head there."""
        self.forks: list[LogMaker] = []
        self.may_fork = forks
        self.sites = [Site(self, number) for number in range(REPLICAS)]
        self.witnesses = [WitnessSite(self, number) for number in range(WITNESSES)]
        self.promised: dict[int, int] = {}
        """k → entries for which an append that waits for k copies returned."""
        self.lost_disks = 0
        self.is_healed = False

    # --- what may happen ---

    def step(self) -> None:
        chosen = self.chance.choices(
            [self.append, self.send, self.witness, self.break_disk, self.lose_disk, self.lie],
            [6, 10, 4, 3, 0.3, 2 if self.may_fork else 0],
        )[0]
        chosen()
        self.check()

    def append(self) -> None:
        """A batch of the honest log, durable."""
        start = len(self.honest.lines)
        count = min(self.chance.randint(1, 4), 16 - start % 16)
        self.honest.append(*drafts(range(start, start + count)))
        self.honest.lay_out()
        self.boundaries.append((start + count, self.honest.head))

    def send(self) -> None:
        """One round of one sender, through a network that may fail anywhere."""
        self.chance.choice(self.sites).send()
        for copies in range(1, REPLICAS + 1):
            held = sorted((site.sender.held for site in self.sites), reverse=True)[copies - 1]
            self.promised[copies] = max(self.promised.get(copies, 0), held)

    def witness(self) -> None:
        size = self.chance.randint(1, len(self.honest.lines))
        self.chance.choice(self.witnesses).ask(self.honest, size)

    def break_disk(self) -> None:
        disk = self.chance.choice(self.sites).disk
        disk.steps_left = self.chance.randint(0, 25) if self.chance.random() < 0.8 else None
        disk.is_full = self.chance.random() < 0.2

    def lose_disk(self) -> None:
        if self.lost_disks < REPLICAS - 1:
            self.lost_disks += 1
            self.chance.choice([site for site in self.sites if not site.is_lost]).lose()

    def lie(self) -> None:
        """The key holder tells somebody another history, with the log's own keys."""
        if not self.forks or self.chance.random() < 0.1:
            self._begin_fork()
        fork = self.chance.choice(self.forks)
        start = len(fork.lines)
        count = min(self.chance.randint(1, 3), 16 - start % 16)
        fork.append(*[draft(number + 1_000) for number in range(start, start + count)])
        size = self.chance.randint(1, len(fork.lines))
        if self.chance.random() < 0.5:
            self.chance.choice(self.sites).take(Shipment(0, fork.lines, note(fork, len(fork.lines))))
        else:
            self.chance.choice(self.witnesses).ask(fork, size)

    def _begin_fork(self) -> None:
        size, head = self.chance.choice(self.boundaries)
        fork = LogMaker(
            self.folder / "fork", origin=ORIGIN, segment_entries=16, first_id=10**6 * (1 + len(self.forks))
        )
        fork.lines, fork.head, fork.now_us = self.honest.lines[:size], head, self.honest.now_us
        self.forks.append(fork)

    def heal(self) -> None:
        """No more faults; every sender gets as many rounds as it asks for."""
        self.is_healed = True
        for site in self.sites:
            site.disk.steps_left, site.disk.is_full = None, False
            for _ in range(6):
                if site.send():
                    break

    # --- what must hold ---

    def check(self) -> None:
        for site in self.sites:
            if not site.is_lost:
                site.check()
        for cosigner in [site.cosigner for site in self.sites] + [site.cosigner for site in self.witnesses]:
            self._check_one_history(cosigner)
        for copies, size in self.promised.items():
            holding = [site for site in self.sites if site.durable_size(self.honest) >= size]
            assert len(holding) >= copies - self.lost_disks, f"{copies} copies of {size} were promised"

    def _check_one_history(self, cosigner: Cosigner) -> None:
        """All that one key ever cosigned lies on one history."""
        for log in (self.honest, *self.forks):
            roots = {size: log_root(log, size) for size in {item.size for item in cosigner.signed}}
            if all(roots[item.size] == item.root for item in cosigner.signed):
                return
        raise AssertionError(f"{cosigner.key.name} cosigned two histories")


class Client:
    """The network between a sender and a replica: each message may be lost, late or doubled."""

    def __init__(self, site: "Site") -> None:
        self.site = site

    def held(self) -> Held:
        self._maybe_lost()
        held = self.site.held()
        self._maybe_lost()
        return held

    def send(self, shipment: Shipment) -> ReplicaAnswer:
        chance = self.site.world.chance
        self._maybe_lost()
        if not self.site.world.is_healed and chance.random() < 0.1:
            self.site.late.append(shipment)  # delivered some time, after others
            self._lose()
        if self.site.late and chance.random() < 0.5:
            self.site.take(self.site.late.pop(chance.randrange(len(self.site.late))))
        if chance.random() < 0.1:
            self.site.take(shipment)
        answer = self.site.take(shipment, told=True)
        self._maybe_lost()
        assert answer is not None
        return answer

    def close(self) -> None:
        """Nothing is held open."""

    def _maybe_lost(self) -> None:
        if not self.site.world.is_healed and self.site.world.chance.random() < 0.1:
            self._lose()

    def _lose(self) -> None:
        raise ReplicationError("the network lost it", retryable=True)


class Site:
    """A replica on its disk, and the sender that speaks to it."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.number = world, number
        self.folder = world.folder / f"replica-{number}"
        self.signer = MemorySigner("Ed25519")
        self.disk = Disk(self.folder, world.chance)
        self.replica = self._open()
        self.cosigner = Cosigner(self.replica.vkey)
        self.late: list[Shipment] = []
        self._read: list[bytes] | None = None
        self.is_lost = False
        at = ReplicaAt(url=f"http://{number}", vkey=format_vkey(self.replica.vkey), token_file="")
        work = Work(
            open_source(world.honest.root), ORIGIN, lambda: note(world.honest, len(world.honest.lines)),
            lambda _text, _lines: None, lambda _members: None,
        )  # fmt: skip
        self.sender = Sender(at, work, connect=lambda _at, _origin: Client(self))  # type: ignore[arg-type,return-value]

    def send(self) -> bool:
        """One round; whether it went through."""
        try:
            self.sender.run_once()
        except AttestlogError:
            return False
        return True

    def held(self) -> Held:
        if self.is_lost or log_id(ORIGIN) not in self.replica.logs():
            return Held(size=0)
        held: Held = self._working(self._describe)
        return held

    def take(self, shipment: Shipment, *, told: bool = False) -> ReplicaAnswer | None:
        """What the replica makes of it. A power cut on the way is a lost answer, and a restart."""
        try:
            answer: ReplicaAnswer = self._working(lambda: self.replica.take(log_id(ORIGIN), shipment))
        except AttestlogError:
            if told:
                raise
            return None
        for line in answer.cosignatures:
            text = parse_note(shipment.checkpoint).text
            verify_checkpoint_signature(text, line, self.cosigner.key)
            self.cosigner.signed.append(parse_checkpoint(text))
        return answer

    def lose(self) -> None:
        """The disk and all on it, for good."""
        self.is_lost = True

    def check(self) -> None:
        """What is held is a prefix of what was said: of the one history or of the other."""
        held = self._lines()
        said = [self.world.honest, *self.world.forks]
        assert any(log.lines[: len(held)] == held for log in said), f"{self.number} holds what nobody said"

    def durable_size(self, log: LogMaker) -> int:
        """How many of the first entries of `log` are here."""
        held = [] if self.is_lost else self._lines()
        same = (ours == theirs for ours, theirs in zip(held, log.lines, strict=False))
        return sum(takewhile(bool, same))

    def _lines(self) -> list[bytes]:
        """What is held, read again if anything was done to it."""
        if self._read is None:
            path = self.replica.path(log_id(ORIGIN))
            self._read = list(open_source(path).lines())[: self._size()] if path.exists() else []
        return self._read

    def _describe(self) -> Held:
        with self.replica.holding(log_id(ORIGIN)) as holding:
            head = holding.head()
            return Held(size=head.size, root=head.edge.root().hex())

    def _size(self) -> int:
        with self.replica.holding(log_id(ORIGIN)) as holding:
            return holding.head().size

    def _working(self, work: Callable[[], Any]) -> Any:
        if self.is_lost:
            raise ReplicationError("nobody answers", retryable=True)
        self._read = None
        try:
            with self.disk.inserted():
                return work()
        except PowerCutError:
            self.replica = self._open()
            raise ReplicationError("the power failed", retryable=True) from None

    def _open(self) -> Replica:
        return Replica(self.folder, f"replica.example.com/{self.number}", self.signer)


class WitnessSite:
    """A witness; whoever asks it may not hear its answer."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        name = f"witness.example.com/{number}"
        log = world.honest.checkpoint_key.verifier
        self.witness = Witness.begin(
            world.folder / f"witness-{number}", name, [MemorySigner("Ed25519")], [log]
        )
        self.cosigner = Cosigner(self.witness.keys[0])

    def ask(self, log: LogMaker, size: int) -> None:
        old = self.world.chance.choice([0, self._last(log, size)])
        proof = b"".join(consistency(log, old, size))
        signed = note(log, size)
        try:
            answer = self.witness.add_checkpoint(format_add_checkpoint(old, proof, signed))
        except (StaleSizeError, SplitViewError, AttestlogError):
            return
        text = parse_note(signed).text
        for line in parse_cosignatures(answer):
            verify_checkpoint_signature(text, line, self.cosigner.key)
        assert verified_signatures(parse_note(signed), [log.checkpoint_key.verifier])
        self.cosigner.signed.append(parse_checkpoint(text))

    def _last(self, log: LogMaker, size: int) -> int:
        state = self.witness.state.log(log.origin)
        assert state is not None
        return min(state.seen.size, size)


@lru_cache(maxsize=65_536)
def entry_hash(line: bytes) -> bytes:
    return bytes.fromhex(decode_line(line).entry_hash)


def note(log: LogMaker, size: int) -> bytes:
    checkpoint = Checkpoint(log.origin, size, log_root(log, size))
    return sign_checkpoint(checkpoint, [(log.checkpoint_key.verifier, log.checkpoint_key.sign)])


def log_root(log: LogMaker, size: int) -> bytes:
    if size > len(log.lines):
        return b""
    return Span().extended([leaf_hash(entry_hash(line)) for line in log.lines[:size]]).root()


def consistency(log: LogMaker, old: int, size: int) -> Sequence[bytes]:
    """RFC 6962's proof, from its own text."""
    return rfc6962.proof(old, [entry_hash(line) for line in log.lines[:size]]) if 0 < old < size else []
