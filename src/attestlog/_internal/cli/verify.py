"""`attestlog verify`: a whole log, a published one, a proof file, or a legacy JSON-lines file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from attestlog._internal.cli.exits import BY_VERDICT
from attestlog._internal.cli.options import JsonOption, flag, text
from attestlog._internal.cli.output import Output, hint
from attestlog._internal.cli.progress import Bar
from attestlog._internal.cli.proofs import verify_proof_file
from attestlog._internal.cli.reports import emit_report, hints, show_report
from attestlog._internal.cli.verbs import UsageError, example, new_app
from attestlog._internal.core.report import Report
from attestlog._internal.storage.resolve import is_published

app = new_app()


@app.command(epilog=example("attestlog verify audit --trust example.com/agents+34f8728c+ARFuvPe7k2…"))
def verify(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="LOG|URL|PROOF|FILE.jsonl",
            help="A log, a published one, a proof file, or a legacy JSON-lines file.",
        ),
    ],
    *,
    trust: Annotated[
        list[str] | None,
        text("Verifier key, key id, public key file or genesis hash that must vouch for it.", metavar="KEY"),
    ] = None,
    policy: Annotated[
        Path | None, text("C2SP tlog-policy: logs and witnesses that must have signed.", metavar="FILE")
    ] = None,
    since: Annotated[
        Path | None, text("Checkpoint kept from before: what it covers must be there still.", metavar="FILE")
    ] = None,
    remember: Annotated[
        bool, typer.Option(help="Compare with what was verified before, and remember this.")
    ] = True,
    start: Annotated[
        int, text("Read from here on; what is before must be remembered.", "--from", metavar="N")
    ] = 0,
    tsa_root: Annotated[
        list[str] | None,
        text("Root certificate, PEM, of an authority whose time stamps count.", "--tsa-root", metavar="FILE"),
    ] = None,
    full: Annotated[bool, flag("Of a published log, read every tile and entry bundle.", "--full")] = False,
    workers: Annotated[int | None, text("Processes to use; else one a core.", metavar="N")] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify every entry, signature and link, the tree, the checkpoint, and that nothing seen before is gone.

    The exit code says the verdict: 0 VERIFIED, 1 TAMPERED, 3 MALFORMED, 4 UNKNOWN, 5 TRUNCATED or
    FORKED, 6 INCOMPLETE (torn tail only). A proof file is judged by itself, the log may be gone.
    """
    from attestlog._internal.verifying import is_proof

    out = Output(as_json)
    if is_proof(subject):
        code = verify_proof_file(
            out, subject, trust=trust or [], policy=policy, since=since, remember=remember
        )
        raise typer.Exit(code)
    with Bar("verifying") as bar:
        options = {"trust": trust or [], "policy": policy, "held": since, "remember": remember}
        report = _verify(subject, start, tsa_root or [], full=full, workers=workers, progress=bar, **options)
    code = BY_VERDICT[report.verdict]
    if out.as_json:
        emit_report(out, report, code)
    else:
        show_report(out, report)
        out.flush()
        for advice in hints(report):
            hint(advice)
    raise typer.Exit(code)


def _verify(
    subject: str, start: int, tsa_roots: list[str], *, full: bool, workers: int | None, **options: Any
) -> Report:
    from attestlog._internal.legacy import is_legacy, verify_legacy

    if is_published(subject):
        from attestlog._internal.verifying import judge_published

        if start or tsa_roots:
            raise UsageError("--from and --tsa-root are for a log's own directory")
        return judge_published(subject, full=full, **options)
    if full:
        raise UsageError("--full is for a published log: any other is read whole")
    if Path(subject).is_file() and is_legacy(subject):
        if options["policy"] or options["held"]:
            raise UsageError("--policy and --since are for what has a checkpoint: a legacy file has none")
        return verify_legacy(subject, progress=options["progress"])
    from attestlog._internal.verifying import verify_log

    return verify_log(subject, start=start, workers=workers, tsa_roots=tsa_roots, **options)
