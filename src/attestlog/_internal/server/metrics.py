"""What Prometheus scrapes of a service, a replica, a witness, in its text format."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from attestlog._internal.core.checkpoint import parse_checkpoint
from attestlog._internal.core.entry import parse_timestamp
from attestlog._internal.core.note import parse_note
from attestlog._internal.core.report import Verdict
from attestlog._internal.replica import Replica
from attestlog._internal.replica.evidence import evidence
from attestlog._internal.replication.status import replica_status
from attestlog._internal.server.rates import Rates
from attestlog._internal.server.served import LATENCIES_S, ServedLog
from attestlog._internal.witness import Witness
from attestlog.errors import AttestlogError

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

HELP: Final = {
    "attestlog_entries": ("gauge", "Durable entries in the log."),
    "attestlog_checkpoint_entries": ("gauge", "Entries that the stored checkpoint covers."),
    "attestlog_last_entry_age_seconds": ("gauge", "Time since the timestamp of the last entry."),
    "attestlog_checkpoint_age_seconds": (
        "gauge",
        "How long the oldest entry without a checkpoint has stood without; 0 where all are covered.",
    ),
    "attestlog_verified": ("gauge", "Whether the last verification came out as VERIFIED."),
    "attestlog_verification_age_seconds": ("gauge", "Time since the end of the last verification."),
    "attestlog_verified_entries": ("gauge", "Entries that the log had when it was verified last."),
    "attestlog_free_bytes": ("gauge", "Free space for the log's directory."),
    "attestlog_appended_entries_total": ("counter", "Entries that were sent, by what became of them."),
    "attestlog_append_seconds": ("histogram", "Time of a request to append."),
    "attestlog_signer_failures_total": ("counter", "Requests that failed because nothing could be signed."),
    "attestlog_write_failures_total": ("counter", "Requests that failed because nothing could be written."),
    "attestlog_replica_lag_entries": ("gauge", "Durable entries that a replica has not said to hold."),
    "attestlog_rate_limited_total": (
        "counter",
        "Requests that were refused because their token sent too much.",
    ),
    "attestlog_up": ("gauge", "Whether the log could be read."),
}


REPLICA_HELP: Final = {
    "attestlog_replica_entries": ("gauge", "Entries that this replica holds of a log."),
    "attestlog_replica_last_entry_age_seconds": ("gauge", "Time since the timestamp of the last of them."),
    "attestlog_replica_split_views": ("gauge", "Split views that this replica has evidence of."),
}

WITNESS_HELP: Final = {
    "attestlog_witness_entries": ("gauge", "Entries of a log that this witness cosigned last."),
    "attestlog_witness_split_views": (
        "gauge",
        "Contradicting checkpoints that this witness has evidence of.",
    ),
}


class Sample(NamedTuple):
    """A value of a family, with its labels as they are written."""

    name: str
    labels: str
    value: float


def format_metrics(logs: Sequence[ServedLog], rates: Rates) -> bytes:
    """The page. A log that cannot be read has `attestlog_up 0` and nothing that is not known."""
    samples = [
        Sample(name, f'origin="{_escaped(served.origin)}"{"," if labels else ""}{labels}', value)
        for served in logs
        for name, labels, value in _samples(served)
    ]
    samples.append(Sample("attestlog_rate_limited_total", "", rates.refused))
    return format_samples(samples, HELP)


def format_samples(samples: Iterable[Sample], described: Mapping[str, tuple[str, str]]) -> bytes:
    """Samples in Prometheus' text format, family by family. `described`: type and text of each family."""
    families: dict[str, list[str]] = {name: [] for name in described}
    for name, labels, value in samples:
        family = name if name in families else name.rpartition("_")[0]
        families[family].append(f"{name}{{{labels}}} {value}" if labels else f"{name} {value}")
    lines = []
    for name, (kind, text) in described.items():
        if families[name]:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", *families[name]]
    return "\n".join(lines).encode() + b"\n"


def of_replica(replica: Replica) -> bytes:
    """The page of a replica: what it holds, and the split views it has evidence of."""
    samples = []
    for log in replica.logs():
        with replica.holding(log) as holding:
            label = f'origin="{_escaped(holding.origin)}"'
            head = holding.head()
            samples += [
                Sample("attestlog_replica_entries", label, head.size),
                Sample("attestlog_replica_last_entry_age_seconds", label, _age(head.timestamp_us)),
                Sample("attestlog_replica_split_views", label, len(list(evidence(holding.directory)))),
            ]
    return format_samples(samples, REPLICA_HELP)


def of_witness(witness: Witness) -> bytes:
    """The page of a witness: how far it cosigned each log, and the histories it refused."""
    samples, found = [], Counter(item.origin for item in witness.state.evidence())
    for origin in witness.state.origins():
        label, known = f'origin="{_escaped(origin)}"', witness.state.log(origin)
        samples.append(Sample("attestlog_witness_entries", label, 0 if known is None else known.seen.size))
        samples.append(Sample("attestlog_witness_split_views", label, found[origin]))
    return format_samples(samples, WITNESS_HELP)


def _samples(served: ServedLog) -> Iterator[tuple[str, str, float]]:
    try:
        size = served.source.durable_size()
        last = parse_timestamp(served.source.entry(size - 1).timestamp)
        note = served.source.checkpoint()
        covered = 0 if note is None else parse_checkpoint(parse_note(note).text).size
        waiting = _age(parse_timestamp(served.source.entry(covered).timestamp)) if covered < size else 0
        replicas = replica_status(served.source.where)
    except AttestlogError:
        yield "attestlog_up", "", 0
    else:
        yield "attestlog_up", "", 1
        yield "attestlog_entries", "", size
        yield "attestlog_checkpoint_entries", "", covered
        yield "attestlog_last_entry_age_seconds", "", _age(last)
        yield "attestlog_checkpoint_age_seconds", "", waiting
        yield "attestlog_free_bytes", "", served.free_bytes()
        for replica in replicas:
            yield "attestlog_replica_lag_entries", f'replica="{_escaped(replica.url)}"', replica.lag
    if (verified := served.verified) is not None:
        yield "attestlog_verified", "", int(verified.verdict is Verdict.VERIFIED)
        yield "attestlog_verification_age_seconds", "", _age(int(verified.at * 1e6))
        yield "attestlog_verified_entries", "", verified.size
    figures = served.figures
    for outcome, count in sorted(figures.outcomes.items()):
        yield "attestlog_appended_entries_total", f'outcome="{_escaped(outcome)}"', count
    below = 0
    for bound, count in zip([*LATENCIES_S, "+Inf"], figures.latencies, strict=True):
        below += count
        yield "attestlog_append_seconds_bucket", f'le="{bound}"', below
    yield "attestlog_append_seconds_sum", "", round(figures.latency_sum_s, 6)
    yield "attestlog_append_seconds_count", "", below
    yield "attestlog_signer_failures_total", "", figures.signer_failures
    yield "attestlog_write_failures_total", "", figures.write_failures


def _age(at_us: int) -> float:
    return max(0.0, round(time.time() - at_us / 1e6, 3))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
