"""Somebody who sends a replica what they should not, or who operates one."""

from __future__ import annotations

from tests.attacks.kit import PREVENTED, REPLICA, Ground, attempt
from tests.support.logs import CheckpointKey, Key, LogMaker, drafts
from tests.support.replicas import copy_of, log_to_ship, new_replica, note, ship

from attestlog._internal.core.replication import Shipment, log_id


def taken(ground: Ground, made: LogMaker, *shipments: Shipment) -> None:
    """A replica that has the first 9 entries of a log, with their checkpoint, is sent these."""
    replica, true = new_replica(ground.folder / "replica"), log_to_ship(ground.folder / "made")
    log = log_id(made.origin)
    try:
        replica.take(log, ship(true, 0, 9, signed=True))
        ground.sound.append(copy_of(replica, true))
        for shipment in shipments:
            replica.take(log, shipment)
    finally:
        replica.close()


def another(ground: Ground, key: Key | None = None) -> LogMaker:
    """Another history of the same origin, by the same keys."""
    log = LogMaker(ground.folder / "another", segment_entries=16, first_id=500, key=key)
    for start in range(0, 40, 8):
        log.append(*drafts(range(start, start + 8)), batched=start % 16 == 0)
    return log


@attempt(REPLICA, PREVENTED, "VerificationError")
def is_sent_a_second_history(ground: Ground) -> None:
    """The end of another history, by the log's own key."""
    made = another(ground)
    taken(ground, made, ship(made, 9, 17))


@attempt(REPLICA, PREVENTED, "SplitViewError")
def is_sent_a_checkpoint_of_a_second_history(ground: Ground) -> None:
    """No entries, and a signed checkpoint over other ones: both are kept as evidence."""
    made = another(ground)
    taken(ground, made, Shipment(9, [], note(made, 9)))


@attempt(REPLICA, PREVENTED, "VerificationError")
def is_sent_a_changed_entry(ground: Ground) -> None:
    """One byte of a payload."""
    made = log_to_ship(ground.folder / "other")
    lines = [line.replace(b"T-1", b"T-9") for line in made.lines[9:17]]
    assert lines != made.lines[9:17]
    taken(ground, made, Shipment(9, lines))


@attempt(REPLICA, PREVENTED, "VerificationError")
def is_sent_what_leaves_entries_out(ground: Ground) -> None:
    """The entries after those that are due."""
    made = log_to_ship(ground.folder / "other")
    taken(ground, made, Shipment(9, made.lines[17:25]))


@attempt(REPLICA, PREVENTED, "VerificationError")
def is_sent_entries_by_another_key(ground: Ground) -> None:
    """Entries that continue the copy, signed by a stranger."""
    made = log_to_ship(ground.folder / "other")
    made.reseal(9, key=Key(9))
    taken(ground, made, Shipment(9, made.lines[9:17]))


@attempt(REPLICA, PREVENTED, "TrustError")
def is_sent_a_checkpoint_by_another_key(ground: Ground) -> None:
    """The right entries, with a checkpoint that a stranger signed."""
    made = log_to_ship(ground.folder / "other")
    stranger = CheckpointKey(9, name=made.origin)
    taken(ground, made, Shipment(9, made.lines[9:17], note(made, 17, stranger)))


@attempt(REPLICA, PREVENTED, "MalformedShipmentError", "")
def is_sent_a_log_under_anothers_name(ground: Ground) -> None:
    """The entries of one log, as those of another one."""
    made = LogMaker(ground.folder / "other", origin="example.com/another", segment_entries=16)
    replica = new_replica(ground.folder / "replica")
    try:
        replica.take(log_id("example.com/made"), ship(made, 0, 1))
    finally:
        replica.close()


@attempt(REPLICA, PREVENTED, "VerificationError")
def is_sent_half_a_batch(ground: Ground) -> None:
    """Some entries of those under one signature, and a checkpoint over them."""
    made = log_to_ship(ground.folder / "other")
    taken(ground, made, ship(made, 9, 21, signed=True))
