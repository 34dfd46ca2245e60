"""A verifier's report, of a log or of a proof file, as text: verdict, what it rests on, every finding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from attestlog._internal.cli.output import Output, Piece, notice
from attestlog._internal.core.entry import format_timestamp
from attestlog._internal.core.report import Cosigner, ExportReport, Finding, ProofReport, Report, Verdict

FINDINGS_SHOWN_MAX: Final = 50
"""Findings listed for people; JSON has them all."""

_SHORT: Final = 24
"""Characters of an expected or found value that are shown: enough to tell hashes apart."""

_YEAR_10000: Final = 253_402_300_800
"""POSIX seconds: a witness may state any time up to 2^63 - 1."""

STYLES: Final = dict.fromkeys(Verdict, "bold red") | {
    Verdict.VERIFIED: "bold green", Verdict.INCOMPLETE: "bold yellow", Verdict.UNKNOWN: "bold yellow",
}  # fmt: skip

_HINTS: Final = {
    Verdict.TAMPERED: "keep this copy as it is, it is evidence; another copy shows what stood there",
    Verdict.TRUNCATED: "the log had more entries before: keep this copy, and look for a later one",
    Verdict.FORKED: "this differs from the log that was verified here before, or asked for: keep this copy as"
    " evidence",
    Verdict.INCOMPLETE: "a crash leaves this; appending, or attestlog repair LOG --yes, sets it aside",
    Verdict.MALFORMED: "is this the log's own directory, or a legacy JSON-lines file?",
    Verdict.UNKNOWN: "this says nothing about the log: verify again where everything can be read",
}

_NOT_SHOWN: Final = {
    "tlog-proof": "that the log still holds the entry, what else it holds, that what was recorded is true",
    "consistency": "what the log holds, and that anybody saw its old root, unless --since gives it",
}

_PROOF_HINTS: Final = {
    Verdict.TAMPERED: "the file proves nothing; keep it as it is: it is evidence against its maker",
    Verdict.FORKED: "the file may be sound, but no trusted key signed it: check whose key was meant",
    Verdict.MALFORMED: "attestlog prove LOG N -o FILE makes a proof of an entry",
    Verdict.UNKNOWN: "pass --trust VKEY, the log's checkpoint key (attestlog keys list LOG shows it)",
}

_EXPORT_HINTS: Final = {
    Verdict.TAMPERED: "keep this file as it is, it is evidence; the log shows what stood there",
    Verdict.FORKED: "the file may be sound, but no trusted key signed it: check whose key was meant",
    Verdict.INCOMPLETE: "get the file again: this copy ends too early",
    Verdict.UNKNOWN: "pass --trust KEY: a key that signed what is in the file (attestlog keys list LOG)",
}

_HINTS_OF_CODES: Final = {
    "key.revoked": "an earlier checkpoint, remembered or cosigned, or --trust of a later key can settle it",
    "entry.unverified": "pip install 'cryptography>=48' here, or verify elsewhere",
}
"""What settles an UNKNOWN with a known cause."""


def _verdict_pieces(report: Report) -> list[Piece]:
    """The verdict, and for a good one who confirms it."""
    pieces: list[Piece] = [(report.verdict, STYLES[report.verdict])]
    if report.verdict == Verdict.VERIFIED and report.format != "legacy":
        if report.self_attested:
            return [
                *pieces,
                ", ",
                ("SELF-ATTESTED", "bold yellow"),
                ": nothing outside the log vouches for its keys",
            ]
        witnesses = [f"witness {cosigner.name}" for cosigner in report.cosigned_by]
        return [*pieces, f", confirmed by {', '.join([*report.trusted_by, *witnesses])}"]
    return pieces


AnyReport = Report | ProofReport | ExportReport


def show_report(out: Output, report: AnyReport) -> None:
    """The whole report as text."""
    if isinstance(report, ExportReport):
        _show_export_report(out, report)
        return
    if isinstance(report, ProofReport):
        _show_proof_report(out, report)
        return
    out.text(*_verdict_pieces(report))
    out.text()
    for label, value in _figures(report):
        out.text(f"  {label:<11} {value}")
    show_findings(out, report.findings, sum(report.finding_counts.values()) - len(report.findings))


def show_findings(out: Output, findings: Iterable[Finding], not_kept: int, **names: str) -> None:
    """The findings that count against the verdict, then the notes; `not_kept`, `names`: see `show_faults`."""
    notices: list[Finding] = []
    faults: list[Finding] = []
    for finding in findings:
        (notices if finding.verdict == Verdict.VERIFIED else faults).append(finding)
    if faults:
        out.text()
        show_faults(out, faults, not_kept, **names)
    if notices:
        out.text()
    for finding in notices[:FINDINGS_SHOWN_MAX]:
        out.text(("note", "yellow"), f" {finding.code}  {finding.message}")


def hints(report: AnyReport) -> Iterator[str]:
    """What the user can do about the verdict."""
    if isinstance(report, ExportReport):
        if report.verdict in _EXPORT_HINTS:
            yield _EXPORT_HINTS[report.verdict]
        return
    if isinstance(report, ProofReport):
        if report.verdict in _PROOF_HINTS:
            yield _PROOF_HINTS[report.verdict]
        elif report.self_attested:
            yield "its key is only remembered: pass --trust VKEY, from somewhere else than this log"
        return
    causes = [advice for code, advice in _HINTS_OF_CODES.items() if code in report.finding_counts]
    if report.verdict is Verdict.UNKNOWN and causes:
        yield from causes
    elif report.verdict in _HINTS:
        yield _HINTS[report.verdict]
    elif report.self_attested and report.genesis_hash and report.format == "attestlog":
        yield "pass --trust KEY with a key that you got from somewhere else than this log"
    if "segment.absent" in report.finding_counts:
        yield "attestlog archive restore LOG brings archived segments back"
    if report.verdict in {Verdict.TRUNCATED, Verdict.FORKED} and report.origin and report.genesis_hash:
        from attestlog._internal.places import state_dir
        from attestlog._internal.verifying.memory import memory_path

        path = memory_path(state_dir(), report.origin, report.genesis_hash)
        yield f"what is remembered of {report.origin} is in {path}"
        if "memory.genesis" in report.finding_counts:
            yield f"if you made a new log of the same name: attestlog memory forget {report.origin}"


def emit_report(out: Output, report: AnyReport, exit_code: int) -> None:
    """The whole report as one JSON object."""
    members: dict[str, Any] = {**msgspec.to_builtins(report), "exit_code": exit_code}
    if isinstance(report, ExportReport):
        out.emit("export_report", members)
    elif isinstance(report, ProofReport):
        out.emit("proof_report", {**members, "self_attested": report.self_attested})
    else:
        out.emit("report", {**members, "self_attested": report.self_attested})


def _figures(report: Report) -> Iterator[tuple[str, str]]:
    yield "subject", report.subject + (f" ({report.origin})" if report.origin else "")
    if report.continues is not None:
        yield "continues", f"{report.continues['origin']}, {report.continues['size']:,} entries of it"
    yield (
        "entries",
        f"{report.size:,}" + (f", {report.erased_payloads:,} erased" if report.erased_payloads else ""),
    )
    if report.head_hash:
        yield "head", report.head_hash
    if report.genesis_hash:
        yield "genesis", report.genesis_hash
    for key in report.signing_keys:
        yield "signed by", key
    if report.format != "legacy" and report.size:
        yield "checkpoint", _covered(report.checkpoint_size, report.size)
        yield "remembered", _covered(report.remembered_size, report.size)
        if report.held_size is not None:
            yield "held", _covered(report.held_size, report.size)
    if report.timestamped_size is not None:
        yield "timestamped", f"{_covered(report.timestamped_size, report.size)}, at {report.timestamped_at}"
    yield from cosigner_figures(report.cosigned_by)
    yield "took", f"{report.duration_s:.2f} s"


def cosigner_figures(cosigners: Iterable[Cosigner]) -> Iterator[tuple[str, str]]:
    """Who cosigned, and when."""
    for cosigner in cosigners:
        seconds = cosigner.timestamp or 0
        is_said = 0 < seconds < _YEAR_10000
        when = f" at {format_timestamp(seconds * 1_000_000)} by its clock" if is_said else ""
        yield "cosigned by", f"{cosigner.name}{when}, {cosigner.vkey}"


def _covered(size: int | None, of: int) -> str:
    if size is None:
        return "nothing"
    return f"all {size:,} entries" if size == of else f"the first {size:,} entries"


def show_faults(out: Output, faults: list[Finding], not_kept: int, *, whole: str = "log") -> None:
    """The faults, one by one. `not_kept`: how many more the report counted but did not keep."""
    for fault in faults[:FINDINGS_SHOWN_MAX]:
        where = whole if fault.sequence_number is None else f"entry {fault.sequence_number}"
        out.text(f"  {where:<11} ", (f"{fault.code:<21}", "red"), f" {fault.message}")
        known = {"expected": fault.expected, "found": fault.found}
        said = ", ".join(f"{name} {_short(value)}" for name, value in known.items() if value is not None)
        if said:
            out.text(f"{'':<36}{said}")
    more = max(0, len(faults) - FINDINGS_SHOWN_MAX) + not_kept
    if more:
        notice(f"{more:,} more findings are not shown; --json has the first 10,000")


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value, enc_hook=str).decode()
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"


def _show_proof_report(out: Output, report: ProofReport) -> None:
    out.text(*_proof_headline(report))
    out.text()
    for label, value in _proof_figures(report):
        out.text(f"  {label:<11} {value}")
    show_findings(out, report.findings, 0, whole="proof")
    if report.verdict == Verdict.VERIFIED:
        out.text()
        out.text(f"not shown: {_NOT_SHOWN[report.format]}")


def _proof_headline(report: ProofReport) -> Iterator[Piece]:
    yield report.verdict, STYLES[report.verdict]
    if report.verdict != Verdict.VERIFIED:
        return
    if report.self_attested:
        yield ", "
        yield "SELF-ATTESTED", "bold yellow"
    if report.format == "consistency":
        yield f": the old root is that of the first {report.old_size:,} of {report.size:,} entries"
        yield f" of {report.origin}"
    else:
        yield f": entry {report.sequence_number} is in the log {report.origin}"


def _proof_figures(report: ProofReport) -> Iterator[tuple[str, str]]:
    yield "subject", report.subject
    if report.entry is not None:
        yield from _entry_figures(report, report.entry)
    if report.old_size is not None:
        yield "old", f"{report.old_size:,} entries, root {report.old_root}"
    if report.origin is not None:
        yield "checkpoint", f"{report.origin}, {report.size:,} entries, root {report.root}"
    for vkey in report.signed_by:
        yield "signed by", f"{vkey} ({_how_known(report)})"
    yield from cosigner_figures(report.cosigned_by)


def _how_known(report: ProofReport) -> str:
    if not report.is_key_remembered:
        return "trusted"
    return "remembered, self-attested" if report.self_attested else "remembered, trusted then"


def _entry_figures(report: ProofReport, entry: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "entry", f"{entry['event_type']} {entry['action_type']}, {entry['execution_status']}"
    yield "actor", f"{entry['actor_type']} {entry['actor_id']}"
    yield "when", f"{entry['timestamp']} by the writer's clock"
    yield "entry_hash", entry["entry_hash"]
    here = "here, as it was recorded"
    yield "payload", here if report.has_payload else f"not here, its hash is {entry['action_hash']}"
    judged = "trusted, and it signed the entry" if report.is_entry_key_trusted else "not given, so not judged"
    yield "entry key", f"{report.entry_key_id} ({judged})"


def _show_export_report(out: Output, report: ExportReport) -> None:
    pieces: list[Piece] = [(report.verdict, STYLES[report.verdict])]
    if report.verdict == Verdict.VERIFIED:
        pieces.append(f", confirmed by {', '.join(report.trusted_by)}")
    out.text(*pieces)
    out.text()
    for label, value in _export_figures(report):
        out.text(f"  {label:<11} {value}")
    show_findings(
        out, report.findings, sum(report.finding_counts.values()) - len(report.findings), whole="file"
    )
    if report.not_shown:
        out.text()
        out.text("not shown by this file alone:")
        for what in report.not_shown:
            out.text(f"  - {what}")


_RECORDS: Final = {"dsse": "statements", "cose": "receipts"}


def _export_figures(report: ExportReport) -> Iterator[tuple[str, str]]:
    yield "subject", report.subject + (f" ({report.format})" if report.format else "")
    if report.origin:
        yield "log", report.origin
    if report.size:
        gaps = "" if report.is_consecutive else ", with gaps"
        places = "" if report.first is None else f": {report.first} to {report.last}{gaps}"
        yield _RECORDS.get(report.format, "entries"), f"{report.size:,}{places}"
    said = {"erased": report.erased_payloads, "redacted": report.redacted}
    if any(said.values()):
        yield "content", ", ".join(f"{count:,} {what}" for what, count in said.items() if count)
    if report.genesis_hash:
        yield "genesis", report.genesis_hash
    for key in report.signing_keys:
        yield "signed by", key
    if report.checkpoint_size is not None:
        yield "checkpoint", f"covers the first {report.checkpoint_size:,} entries of the log"
    yield "took", f"{report.duration_s:.2f} s"
