"""A proof file verified and shown: what it shows, by whose word, and what it does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from attestlog._internal.cli.exits import BY_VERDICT
from attestlog._internal.cli.output import Output, Piece, hint
from attestlog._internal.cli.reports import STYLES, cosigner_figures, show_findings
from attestlog._internal.core.report import ProofReport, Verdict

_NOT_SHOWN: Final = {
    "tlog-proof": "that the log still holds the entry, what else it holds, that what was recorded is true",
    "consistency": "what the log holds, and that anybody saw its old root, unless --since names where",
}

_HINTS: Final = {
    Verdict.TAMPERED: "the file shows nothing; keep it as it is: it is evidence of whoever made it",
    Verdict.FORKED: "the file is sound perhaps, and not by those asked for: see whose key was meant",
    Verdict.MALFORMED: "attestlog prove LOG N -o FILE makes a proof of an entry",
    Verdict.UNKNOWN: "--trust VKEY, the log's checkpoint key (attestlog keys list LOG shows it), judges it",
}


def verify_proof_file(
    out: Output,
    subject: str,
    *,
    trust: Sequence[str],
    policy: Path | None,
    since: Path | None,
    remember: bool,
) -> int:
    """Verify, show, and say the exit code."""
    from attestlog._internal.verifying import judge_proof

    report = judge_proof(subject, trust=trust, policy=policy, held=since, remember=remember)
    code = BY_VERDICT[report.verdict]
    if out.as_json:
        out.emit("proof_report", {**msgspec.to_builtins(report), "exit_code": code})
        return code
    _show(out, report)
    out.flush()
    if report.verdict in _HINTS:
        hint(_HINTS[report.verdict])
    return code


def _show(out: Output, report: ProofReport) -> None:
    out.text(*_headline(report))
    out.text()
    for label, value in _figures(report):
        out.text(f"  {label:<11} {value}")
    show_findings(out, report.findings, 0, whole="proof")
    if report.verdict == Verdict.VERIFIED:
        out.text()
        out.text(f"not shown: {_NOT_SHOWN[report.format]}")


def _headline(report: ProofReport) -> Iterator[Piece]:
    yield report.verdict, STYLES[report.verdict]
    if report.verdict != Verdict.VERIFIED:
        return
    if report.format == "consistency":
        yield f": the old root is that of the first {report.old_size:,} of {report.size:,} entries"
        yield f" of {report.origin}"
    else:
        yield f": entry {report.sequence_number} is in the log {report.origin}"


def _figures(report: ProofReport) -> Iterator[tuple[str, str]]:
    yield "subject", report.subject
    if report.entry is not None:
        yield from _entry_figures(report, report.entry)
    if report.old_size is not None:
        yield "old", f"{report.old_size:,} entries, root {report.old_root}"
    if report.origin is not None:
        yield "checkpoint", f"{report.origin}, {report.size:,} entries, root {report.root}"
    for vkey in report.signed_by:
        yield "signed by", f"{vkey} (trusted)"
    yield from cosigner_figures(report.cosigned_by)


def _entry_figures(report: ProofReport, entry: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "entry", f"{entry['event_type']} {entry['action_type']}, {entry['execution_status']}"
    yield "actor", f"{entry['actor_type']} {entry['actor_id']}"
    yield "when", f"{entry['timestamp']} by the writer's clock"
    yield "entry_hash", entry["entry_hash"]
    here = "here, as it was recorded"
    yield "payload", here if report.has_payload else f"not here, its hash is {entry['action_hash']}"
    judged = "trusted, and it signed the entry" if report.is_entry_key_trusted else "not given, so not judged"
    yield "entry key", f"{report.entry_key_id} ({judged})"
