"""A verifier's report for people: the verdict first, then what it rests on, then every finding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from attestlog._internal.cli.output import Output, Piece, notice
from attestlog._internal.core.entry import format_timestamp
from attestlog._internal.core.report import Cosigner, Finding, Report, Verdict

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
    Verdict.TAMPERED: "keep this copy as it is: it is evidence; another copy shows what stood there",
    Verdict.TRUNCATED: "there were more entries once: keep this copy, and look for a later one",
    Verdict.FORKED: "this is another history than was seen or asked for: keep this copy as evidence",
    Verdict.INCOMPLETE: "a crash leaves this; appending, or attestlog repair LOG --yes, sets it aside",
    Verdict.MALFORMED: "is this the log's own directory, or a legacy JSON-lines file?",
    Verdict.UNKNOWN: "this is no verdict on the log: verify again where everything can be read",
}


def verdict_pieces(report: Report) -> list[Piece]:
    """The verdict, and for a good one by whom it is confirmed."""
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


def show_report(out: Output, report: Report) -> None:
    """The whole report as text."""
    out.text(*verdict_pieces(report))
    out.text()
    for label, value in _figures(report):
        out.text(f"  {label:<11} {value}")
    show_findings(out, report.findings, sum(report.finding_counts.values()) - len(report.findings))


def show_findings(out: Output, findings: Iterable[Finding], not_kept: int, **names: str) -> None:
    """Those that count against the verdict, then the notices; `not_kept`, `names`: see `show_faults`."""
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


_HINTS_OF_CODES: Final = {
    "key.revoked": "an earlier checkpoint, remembered or cosigned, or --trust of a later key can settle it",
    "entry.unverified": "pip install 'cryptography>=48' here, or verify elsewhere",
}
"""What settles an UNKNOWN that has a known cause."""


def hints(report: Report) -> Iterator[str]:
    """What to make of the verdict."""
    causes = [advice for code, advice in _HINTS_OF_CODES.items() if code in report.finding_counts]
    if report.verdict is Verdict.UNKNOWN and causes:
        yield from causes
    elif report.verdict in _HINTS:
        yield _HINTS[report.verdict]
    elif report.self_attested and report.genesis_hash and report.format == "attestlog":
        yield "--trust KEY, given a key that came another way, makes it more than the log's own word"
    if "segment.absent" in report.finding_counts:
        yield "`attestlog archive LOG --restore` brings back what was archived"
    if report.verdict in {Verdict.TRUNCATED, Verdict.FORKED} and report.origin:
        from attestlog._internal.verifying.memory import default_state_dir, memory_path

        path = memory_path(default_state_dir(), report.origin)
        yield f"what is remembered of {report.origin} stands in {path}"


def emit_report(out: Output, report: Report, exit_code: int) -> None:
    """The whole report as one JSON object."""
    members: dict[str, Any] = msgspec.to_builtins(report)
    out.emit("report", {**members, "self_attested": report.self_attested, "exit_code": exit_code})


def _figures(report: Report) -> Iterator[tuple[str, str]]:
    yield "subject", report.subject + (f" ({report.origin})" if report.origin else "")
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
    """What does not hold, one by one. `not_kept`: faults that the report only counted."""
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
