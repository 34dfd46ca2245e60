"""`attestlog verify`: a log, a published one, a proof, a bundle, an exported or a legacy file."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attestlog._internal.cli.options import JsonOption, argument, flag, text
from attestlog._internal.cli.output import Bar, Output, hint
from attestlog._internal.cli.verbs import UsageError, example, new_app

if TYPE_CHECKING:
    from attestlog._internal.core.report import ExportReport, ProofReport, Report

app = new_app()


_Trust = Annotated[
    list[str] | None,
    text("A key or genesis hash from elsewhere that must vouch for it; repeatable.", metavar="KEY"),
]
_TrustPolicy = Annotated[
    Path | None,
    text("C2SP tlog-policy: logs and witnesses that must have signed.", "--trust-policy", metavar="FILE"),
]
_TsaRoots = Annotated[
    list[str] | None,
    text("PEM root certificate of a trusted time-stamp authority.", "--tsa-root", metavar="FILE"),
]
_MaxAge = Annotated[
    str | None,
    text(
        "How old its newest entry or cosignature may be: 45s, 30m, 2h, 7d, 1w.",
        "--max-age",
        metavar="AGE",
    ),
]
_FailOn = Annotated[
    list[str] | None,
    text("Exit 8 where this is found, if only as a note; repeatable.", "--fail-on", metavar="CODE"),
]
_Start = Annotated[int, text("First entry to read; those before must be remembered.", "--from", metavar="N")]
_Reference = Annotated[bool, flag("Let Python alone judge, though the native core is there.", "--reference")]
_Older = Annotated[
    list[str] | None,
    text("With --chain: where an older log is, if not as configured; repeatable.", metavar="LOG"),
]


@app.command(epilog=example("attestlog verify audit --trust example.com/agents+34f8728c+ARFuvPe7k2…"))
def verify(
    subject: Annotated[
        str,
        argument(
            "LOG|URL|PROOF|EXPORT|FILE.jsonl",
            "A log, a published log, a proof file, an exported file, or a legacy JSON-lines file.",
        ),
    ],
    *,
    trust: _Trust = None,
    trust_policy: _TrustPolicy = None,
    since: Annotated[
        Path | None, text("A checkpoint that you kept: the log must still contain it.", metavar="FILE")
    ] = None,
    remember: Annotated[
        bool, typer.Option(help="Compare with the last verification here, and remember this one.")
    ] = True,
    start: _Start = 0,
    tsa_root: _TsaRoots = None,
    full: Annotated[bool, flag("Read every tile and entry bundle of a published log.", "--full")] = False,
    entry: Annotated[
        Path | None, text("Exported entries (jsonl) that COSE receipts are of.", "--entry", metavar="FILE")
    ] = None,
    max_age: _MaxAge = None,
    fail_on: _FailOn = None,
    strict: Annotated[bool, flag("Exit 8 where any note is found.", "--strict")] = False,
    chain: Annotated[bool, flag("Follow the older logs that it continues.", "--chain")] = False,
    older: _Older = None,
    reference: _Reference = False,
    workers: Annotated[int | None, text("Processes to use; default: one per core.", metavar="N")] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify entries, signatures, links, tree and checkpoint, and that no entry seen before is missing.

    --trust takes a verifier key, a key id, a public key file or a genesis hash. A proof file needs no log,
    nor does a bundle, a report, or a file that `attestlog export` wrote as jsonl, parquet, dsse or cose: the
    report says what such a file alone does not show.

    The exit code is the verdict: 0 VERIFIED, 1 TAMPERED, 3 MALFORMED, 4 UNKNOWN, 5 TRUNCATED or FORKED, 6
    INCOMPLETE (torn tail only). Of a chain it is the gravest. With --fail-on and --strict it is 8 where the
    verdict is VERIFIED, and what must not be found was.
    """
    _leave_out_native(reference)
    options = {"trust": trust or [], "trust_policy": trust_policy, "held": since, "remember": remember}
    reports: Sequence[Report | ProofReport | ExportReport]
    if older and not chain:
        raise UsageError("--older is for --chain")
    _check_codes(fail_on or ())
    age_s = _seconds(max_age)
    if _is_bundle(subject):
        _check_dated(age_s)
        if start or tsa_root or full or chain or since or entry:
            raise UsageError("a bundle takes --trust and --trust-policy, and no option for logs")
        reports = [_judge_bundle(subject, options)]
    elif _is_export(subject):
        _check_dated(age_s)
        if start or tsa_root or full or chain:
            raise UsageError("--from, --tsa-root, --full and --chain are for logs, not for an exported file")
        reports = [_judge_export(subject, entry, options)]
    elif entry is not None:
        raise UsageError("--entry is for COSE receipts")
    elif chain:
        more = {"start": start, "tsa_roots": tsa_root or [], "workers": workers, "max_age_s": age_s}
        reports = _judge_chain(subject, older or [], full=full, **options, **more)
    else:
        reports = [_judge(subject, start, tsa_root or [], full=full, workers=workers, age_s=age_s, **options)]
    for report in reports:
        _tell(Output(as_json), report)
    raise typer.Exit(_exit_code(reports, frozenset(fail_on or ()), strict=strict))


def _leave_out_native(is_wanted: bool) -> None:
    if is_wanted:
        from attestlog._internal.native import loading

        loading.leave_out("--reference")


def _exit_code(
    reports: Sequence[Report | ProofReport | ExportReport], fail_on: frozenset[str], *, strict: bool
) -> int:
    from attestlog._internal.cli.exits import BY_VERDICT, NOT_WANTED
    from attestlog._internal.core.report import GRAVITY, ProofReport

    code = BY_VERDICT[max((report.verdict for report in reports), key=GRAVITY.index)]
    found = {item.code for report in reports for item in report.findings}
    # Of a report that keeps only its first findings, all codes are counted.
    found.update(*(report.finding_counts for report in reports if not isinstance(report, ProofReport)))
    return NOT_WANTED if not code and (found & fail_on or (strict and found)) else code


def _check_codes(codes: Sequence[str]) -> None:
    from attestlog._internal.judging.findings import FINDINGS

    for code in codes:
        if code not in FINDINGS:
            raise UsageError(f"--fail-on {code}: there is no such finding (docs/findings.md has them all)")


def _seconds(age: str | None) -> float | None:
    if age is None:
        return None
    from attestlog._internal.query.filter import parse_moment

    now_us = time.time_ns() // 1000
    return (now_us - parse_moment(age, now_us)) / 1e6


def _check_dated(age_s: float | None) -> None:
    if age_s is not None:
        raise UsageError("--max-age is for logs: nothing else says how old it is")


def _tell(out: Output, report: Report | ProofReport | ExportReport) -> None:
    from attestlog._internal.cli.exits import BY_VERDICT
    from attestlog._internal.cli.reports import emit_report, hints, show_report

    if out.as_json:
        emit_report(out, report, BY_VERDICT[report.verdict])
        return
    show_report(out, report)
    out.flush()
    for advice in hints(report):
        hint(advice)


def _judge_chain(subject: str, older: list[str], *, full: bool, **options: Any) -> list[Report]:
    from attestlog._internal.storage.resolve import is_published
    from attestlog._internal.verifying import is_proof
    from attestlog._internal.verifying.chain import judge_chain

    if full or is_proof(subject) or is_published(subject) or Path(subject).is_file():
        raise UsageError("--chain is for a log's own directory")
    with Bar("verifying") as bar:
        return judge_chain(subject, older=older, progress=bar, **options)


def _is_bundle(subject: str) -> bool:
    from attestlog._internal.storage.resolve import is_url
    from attestlog._internal.verifying.bundle import is_bundle_file

    return not is_url(subject) and is_bundle_file(subject)


def _judge_bundle(subject: str, options: dict[str, Any]) -> ExportReport:
    from attestlog._internal.verifying.bundle import judge_bundle

    return judge_bundle(subject, trust=options["trust"], trust_policy=options["trust_policy"])


def _is_export(subject: str) -> bool:
    from attestlog._internal.exporting.reading import export_form
    from attestlog._internal.storage.resolve import is_url

    return not is_url(subject) and export_form(subject) is not None


def _judge_export(subject: str, entry: Path | None, options: dict[str, Any]) -> ExportReport:
    from attestlog._internal.exporting.reading import judge_export

    asked = {name: options[name] for name in ("trust", "trust_policy", "held")}
    with Bar("verifying") as bar:
        return judge_export(subject, entry_file=entry, progress=bar, **asked)


def _judge(
    subject: str,
    start: int,
    tsa_roots: list[str],
    *,
    full: bool,
    workers: int | None,
    age_s: float | None,
    **options: Any,
) -> Report | ProofReport:
    """Which verifier judges the subject depends on what it is."""
    from attestlog._internal.legacy import is_legacy, judge_legacy
    from attestlog._internal.storage.resolve import is_published
    from attestlog._internal.verifying import is_proof, judge_log, judge_proof, judge_published

    if is_proof(subject):
        _check_dated(age_s)
        return judge_proof(subject, **options)
    with Bar("verifying") as bar:
        if is_published(subject):
            if start or tsa_roots:
                raise UsageError("--from and --tsa-root are for a log's own directory")
            return judge_published(subject, full=full, max_age_s=age_s, progress=bar, **options)
        if full:
            raise UsageError("--full is for a published log; any other log is always read whole")
        if Path(subject).is_file() and is_legacy(subject):
            _check_dated(age_s)
            if options["trust_policy"] or options["held"]:
                raise UsageError("--trust-policy and --since need a checkpoint, and a legacy file has none")
            return judge_legacy(subject, progress=bar)
        more: dict[str, Any] = {"start": start, "workers": workers, "tsa_roots": tsa_roots}
        more["max_age_s"] = age_s
        return judge_log(subject, progress=bar, **more, **options)
