"""What Prometheus scrapes of a service, in its text format."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from attestlog._internal.core.checkpoint import parse_checkpoint
from attestlog._internal.core.entry import parse_timestamp
from attestlog._internal.core.note import parse_note
from attestlog._internal.replication.status import replica_status
from attestlog._internal.server.rates import Rates
from attestlog._internal.server.served import LATENCIES_S, ServedLog
from attestlog.errors import AttestlogError

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_HELP = {
    "attestlog_entries": ("gauge", "Durable entries in the log."),
    "attestlog_checkpoint_entries": ("gauge", "Entries that the stored checkpoint covers."),
    "attestlog_last_entry_age_seconds": ("gauge", "Time since the timestamp of the last entry."),
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


def format_metrics(logs: Sequence[ServedLog], rates: Rates) -> bytes:
    """The page. A log that cannot be read has `attestlog_up 0` and nothing that is not known."""
    samples: dict[str, list[str]] = {name: [] for name in _HELP}
    for served in logs:
        label = f'origin="{_escaped(served.origin)}"'
        for name, labels, value in _samples(served):
            family = name if name in samples else name.rpartition("_")[0]
            samples[family].append(f"{name}{{{label}{',' if labels else ''}{labels}}} {value}")
    samples["attestlog_rate_limited_total"].append(f"attestlog_rate_limited_total {rates.refused}")
    lines = []
    for name, (kind, text) in _HELP.items():
        if samples[name]:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", *samples[name]]
    return "\n".join(lines).encode() + b"\n"


def _samples(served: ServedLog) -> Iterator[tuple[str, str, float]]:
    try:
        size = served.source.durable_size()
        last = parse_timestamp(served.source.entry(size - 1).timestamp)
        note = served.source.checkpoint()
        covered = 0 if note is None else parse_checkpoint(parse_note(note).text).size
        replicas = replica_status(served.source.where)
    except AttestlogError:
        yield "attestlog_up", "", 0
    else:
        yield "attestlog_up", "", 1
        yield "attestlog_entries", "", size
        yield "attestlog_checkpoint_entries", "", covered
        yield "attestlog_last_entry_age_seconds", "", max(0.0, round(time.time() - last / 1e6, 3))
        yield "attestlog_free_bytes", "", served.free_bytes()
        for replica in replicas:
            yield "attestlog_replica_lag_entries", f'replica="{_escaped(replica.url)}"', replica.lag
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


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
