"""`attestlog print-verifier`: the verifier in one file."""

from __future__ import annotations

from attestlog._internal.cli.options import JsonOption
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.verbs import example, new_app

app = new_app()


@app.command(epilog=example("attestlog print-verifier > verify.py", "python verify.py audit --trust VKEY"))
def print_verifier(as_json: JsonOption = False) -> None:
    """Print a verifier of logs and proofs in one Python file, to read, to keep, and to run without attestlog.

    It needs Python's standard library and the package cryptography, and shares no code with attestlog.
    """
    from attestlog._internal.verifier import source

    out = Output(as_json)
    if out.as_json:
        out.emit("verifier", {"source": source()})
    else:
        out.raw(source().encode())
