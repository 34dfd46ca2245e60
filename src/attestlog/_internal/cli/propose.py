"""`attestlog propose`: a request for approval, as a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from attestlog._internal.cli.options import JsonOption, LogArgument, text
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.requests import propose_to, read_draft
from attestlog._internal.cli.verbs import example, new_app

app = new_app()
_EXAMPLE = example(
    "attestlog propose audit deploy.json -o request.json",
    "attestlog approve request.json --key ana.pem --name ana -o ana.json",
    "attestlog append audit --request request.json --approval ana.json",
)


@app.command(epilog=_EXAMPLE)
def propose(
    log: LogArgument,
    draft: Annotated[str, typer.Argument(metavar="DRAFT|-", help="A draft, as one JSON object.")],
    *,
    output: Annotated[Path | None, text("Else stdout.", "-o", "--output", metavar="FILE")] = None,
    as_json: JsonOption = False,
) -> None:
    """Ask for approval of what would be appended: write a request, for those who approve to read and sign.

    The log is only read: its signing key is not needed. The payload is as it will be written, redacted and
    salted where the log does so.
    """
    from attestlog._internal.approving import propose as make_request
    from attestlog._internal.core.approval import format_request

    if output is not None:
        propose_to(Output(as_json), log, read_draft(draft), output)
        return
    sys.stdout.buffer.write(format_request(make_request(log, read_draft(draft))))
