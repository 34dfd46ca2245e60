"""Which replicas the configuration names: adding one, and taking one out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from attestlog._internal.config import LogConfig, ReplicaAt, change_config
from attestlog._internal.core.note import COSIGNATURE_ED25519, COSIGNATURE_ML_DSA_44, format_vkey, parse_vkey
from attestlog._internal.replication.client import parse_replica_url
from attestlog._internal.storage.contract import Store
from attestlog._internal.storage.resolve import LogName, open_source
from attestlog.errors import ExistsError, MalformedConfigError, MalformedNoteError, NotFoundError

REPLICAS_MAX: Final = 32
"""Every entry records their URLs; and each has a thread of its own."""


def replica_at(url: str, vkey: str, token_file: Path, ca_file: Path | None) -> ReplicaAt:
    """Checked, and with paths that hold from anywhere. Raises MalformedConfigError."""
    parse_replica_url(url)
    try:
        key = parse_vkey(vkey)
    except MalformedNoteError as error:
        raise MalformedConfigError(f"replica's vkey: {error}", member="replicas") from None
    if key.kind not in {COSIGNATURE_ED25519, COSIGNATURE_ML_DSA_44}:
        raise MalformedConfigError("replica's vkey is not one of cosignatures", member="replicas")
    return ReplicaAt(
        url=url.rstrip("/"), vkey=format_vkey(key), token_file=str(token_file.absolute()),
        ca_file="" if ca_file is None else str(ca_file.absolute()),
    )  # fmt: skip


def add_replica(log: LogName | Store, at: ReplicaAt) -> None:
    """Raises ExistsError if its URL or key is there already, MalformedConfigError for too many."""

    def with_it(config: LogConfig) -> LogConfig:
        if any(at.url == other.url or at.vkey == other.vkey for other in config.replicas):
            raise ExistsError(
                f"a replica of this URL or key is there already: {at.url}", url=at.url, what="replica"
            )
        if len(config.replicas) >= REPLICAS_MAX:
            raise MalformedConfigError(f"the log has {REPLICAS_MAX} replicas, no more fit", member="replicas")
        return msgspec.structs.replace(config, replicas=[*config.replicas, at])

    _change(log, with_it)


def remove_replica(log: LogName | Store, url: str) -> None:
    """Raises NotFoundError if none has this URL."""

    def without(config: LogConfig) -> LogConfig:
        kept = [at for at in config.replicas if at.url != url.rstrip("/")]
        if len(kept) == len(config.replicas):
            raise NotFoundError(f"the log has no replica {url}", url=url)
        return msgspec.structs.replace(config, replicas=kept)

    _change(log, without)


def _change(log: LogName | Store, change: Callable[[LogConfig], LogConfig]) -> None:
    change_config(open_source(log), change)
