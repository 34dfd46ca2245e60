"""`attestlog print-verifier`: the verifier in one file, in Python or for a browser."""

from __future__ import annotations

from typing import Annotated

from attestlog._internal.cli.options import JsonOption, flag
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.verbs import example, new_app

app = new_app()


@app.command(
    epilog=example(
        "attestlog print-verifier > verify.py",
        "python verify.py audit --trust VKEY",
        "attestlog print-verifier --html > check.html",
    )
)
def print_verifier(
    html: Annotated[bool, flag("For a browser: a page to drop files on.", "--html")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print a verifier of logs and proofs in one Python file, to read, to keep, and to run without attestlog.

    It needs Python's standard library and the package cryptography, and shares no code with attestlog. With
    --html it is one HTML file, which checks proofs, bundles and reports in a browser, offline, under the
    verifier key that its reader pastes.
    """
    if html:
        from attestlog._internal.explorer.report import format_checker

        source = format_checker().decode()
    else:
        from attestlog._internal.verifier import source as read_source

        source = read_source()
    out = Output(as_json)
    if out.as_json:
        out.emit("verifier", {"source": source})
    else:
        out.raw(source.encode())
