"""`attestlog witness`: cosign checkpoints of logs, over HTTP."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from attestlog._internal.cli import options
from attestlog._internal.cli.output import Output, notice
from attestlog._internal.cli.verbs import example, new_app
from attestlog._internal.cli.witnessing import open_witness, print_evidence

app = new_app()


@app.command(
    epilog=example(
        "attestlog witness cosigned --name witness.example.com/one --log VKEY --listen 127.0.0.1:8480"
    )
)
def witness(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where its memory is.", show_default=False)
    ],
    *,
    listen: Annotated[str, options.text("Where to listen.", metavar="HOST:PORT")] = "127.0.0.1:8480",
    name: Annotated[str | None, options.text("Its name in cosignatures: at first.", metavar="NAME")] = None,
    key: Annotated[
        list[str] | None, options.text("A key it cosigns with: at first, else made.", metavar="URI")
    ] = None,
    log: Annotated[
        list[str] | None, options.text("A log to cosign from now on: its key.", metavar="[ORIGIN ]VKEY")
    ] = None,
    tls_certificate: Annotated[Path | None, options.text("Serve TLS with it.", metavar="FILE")] = None,
    tls_key: Annotated[Path | None, options.text("The certificate's key.", metavar="FILE")] = None,
    evidence: Annotated[
        bool, options.flag("Print the evidence of split views, and stop.", "--evidence")
    ] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Witness logs: cosign a checkpoint if it continues the one cosigned before, and never otherwise.

    Of any log that speaks C2SP tlog-witness. The first start takes --name and makes a key; a log once
    added is known for good. --key and --log may be given more than once. A log's origin is its key's
    name, unless another stands before it.
    """
    out = Output(as_json)
    if evidence:
        print_evidence(out, directory)
        return
    from attestlog._internal.server import check_extra

    check_extra()
    from attestlog._internal.core.note import format_vkey
    from attestlog._internal.server.running import parse_listen, serve
    from attestlog._internal.server.witness import witness_app

    where = parse_listen(listen, certificate=tls_certificate, key=tls_key)
    with ExitStack() as undo:
        opened = open_witness(directory, name, key or [], log or [], undo)
        vkeys, logs = [format_vkey(item) for item in opened.keys], opened.state.origins()
        if not logs:
            notice("no log is known yet: --log VKEY adds one")

        def started(url: str) -> None:
            if out.as_json:
                out.emit("witness", {"url": url, "vkeys": vkeys, "logs": logs, "path": str(directory)})
            else:
                out.text(f"witness    {url}")
                for text in vkeys:
                    out.text(f"vkey       {text}")
                for origin in logs:
                    out.text(f"log        {origin}")
            out.flush()

        serve(witness_app(opened), where, started=started)
