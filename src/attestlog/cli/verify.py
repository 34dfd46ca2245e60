"""`attestlog verify`: a whole log, or a legacy JSON-lines file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attestlog.cli.exits import BY_VERDICT
from attestlog.cli.options import JsonOption, text
from attestlog.cli.output import Output, hint
from attestlog.cli.progress import Bar
from attestlog.cli.reports import emit_report, hints, show_report
from attestlog.cli.verbs import example, new_app
from attestlog.core.report import Report

app = new_app()


@app.command(epilog=example("attestlog verify audit --trust example.com/agents+34f8728c+ARFuvPe7k2…"))
def verify(
    subject: Annotated[
        str, typer.Argument(metavar="LOG|FILE.jsonl", help="A log, or a legacy JSON-lines file.")
    ],
    *,
    trust: Annotated[
        list[str] | None,
        text("Verifier key, key id, public key file or genesis hash that must vouch for it.", metavar="KEY"),
    ] = None,
    remember: Annotated[
        bool, typer.Option(help="Compare with what was verified before, and remember this.")
    ] = True,
    start: Annotated[
        int, text("Read from here on; what is before must be remembered.", "--from", metavar="N")
    ] = 0,
    workers: Annotated[int | None, text("Processes to use; else one a core.", metavar="N")] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify every entry, signature and link, the tree, the checkpoint, and that nothing seen before is gone.

    The exit code says the verdict: 0 VERIFIED, 1 TAMPERED, 3 MALFORMED, 4 UNKNOWN, 5 TRUNCATED or
    FORKED, 6 INCOMPLETE (torn tail only).
    """
    with Bar("verifying") as bar:
        report = _verify(subject, trust=trust or [], remember=remember, start=start, workers=workers, bar=bar)
    code, out = BY_VERDICT[report.verdict], Output(as_json)
    if out.as_json:
        emit_report(out, report, code)
    else:
        show_report(out, report)
        out.flush()
        for advice in hints(report):
            hint(advice)
    raise typer.Exit(code)


def _verify(
    subject: str, *, trust: list[str], remember: bool, start: int, workers: int | None, bar: Bar
) -> Report:
    from attestlog.legacy import is_legacy, verify_legacy

    if Path(subject).is_file() and is_legacy(subject):
        return verify_legacy(subject, progress=bar)
    from attestlog.audit import verify_log

    return verify_log(subject, trust=trust, remember=remember, start=start, workers=workers, progress=bar)
