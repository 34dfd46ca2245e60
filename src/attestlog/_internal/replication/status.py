"""How far the replicas are, by what they answered last; for people and for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from attestlog._internal.config import ReplicaAt, find_config
from attestlog._internal.replication.client import ReplicaClient
from attestlog._internal.replication.cursor import load_cursor
from attestlog._internal.storage.contract import LogSource
from attestlog._internal.storage.resolve import LogName, open_source


class ReplicaStatus(Struct, frozen=True, kw_only=True):
    """One replica's. `lag`: durable entries that it has not said to hold."""

    url: str
    size: int
    lag: int
    cosigned_size: int
    cosigned_at: str
    error: str
    failing_since: str
    state: str
    """`good`, `failing`, `lost` (an entry says so), or `refused`: it holds another history."""

    def members(self) -> dict[str, Any]:
        """As plain members."""
        return msgspec.structs.asdict(self)


def replica_status(name: LogName) -> list[ReplicaStatus]:
    """One for each configured replica. Raises StorageError or MalformedConfigError."""
    log = open_source(name)
    durable, cursors = log.durable_size(), log.cursors()
    found = []
    for at in _replicas(log):
        cursor = load_cursor(cursors, at.url)
        state = "failing" if cursor.error else "good"
        state = "refused" if cursor.is_refused else "lost" if cursor.is_lost else state
        found.append(
            ReplicaStatus(
                url=at.url, size=cursor.size, lag=max(0, durable - cursor.size),
                cosigned_size=cursor.cosigned_size, cosigned_at=cursor.cosigned_at,
                error=cursor.error, failing_since=cursor.failing_since, state=state,
            )
        )  # fmt: skip
    return found


def unerased_at(name: LogName) -> Iterator[tuple[str, list[int]]]:
    """Each replica, and the payloads erased in the log that it still holds. Raises ReplicationError."""
    log = open_source(name)
    origin = log.genesis().origin
    for at in _replicas(log):
        client = ReplicaClient(at, origin)
        try:
            yield at.url, client.unerased()
        finally:
            client.close()


def _replicas(log: LogSource) -> list[ReplicaAt]:
    config = find_config(log)
    return [] if config is None else config.replicas


_METRICS: Final[dict[str, tuple[str, Callable[[ReplicaStatus], int]]]] = {
    "attestlog_replica_held_entries": ("Entries the replica holds durably.", lambda item: item.size),
    "attestlog_replica_lag_entries": ("Durable entries it has not said to hold.", lambda item: item.lag),
    "attestlog_replica_cosigned_entries": (
        "Entries its last cosignature covers.",
        lambda item: item.cosigned_size,
    ),
    "attestlog_replica_good": ("1 unless it fails, is lost or refuses.", lambda item: item.state == "good"),
}


def as_metrics(found: Sequence[ReplicaStatus]) -> str:
    """Prometheus text format 0.0.4."""
    lines = []
    for name, (meaning, value) in _METRICS.items():
        lines += [f"# HELP {name} {meaning}", f"# TYPE {name} gauge"]
        lines += [f'{name}{{replica="{_escaped(item.url)}"}} {int(value(item))}' for item in found]
    return "\n".join([*lines, ""])


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
