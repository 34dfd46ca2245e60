"""`attestlog doctor`: what this machine has for a log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attestlog._internal.cli import examine, examine_signer, exits, options
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.verbs import example, new_app

app = new_app()
_STYLES = {"good": "green", "note": "yellow", "bad": "bold red"}


@app.command(
    epilog=example(
        "attestlog doctor /var/lib/attestlog",
        "attestlog doctor --signer 'pkcs11:token=attest;object=log-entries'",
    )
)
def doctor(
    directory: Annotated[Path, typer.Argument(help="Where a log is, or is to be.")] = Path(),
    *,
    signer: Annotated[str | None, options.text("Look at this key, and let it sign.", metavar="URI")] = None,
    pkcs11_module: Annotated[
        str | None, options.text("Look at the devices behind this library.", metavar="PATH")
    ] = None,
    as_json: options.JsonOption = False,
) -> None:
    """Show versions, disk, clock, cores, extras, and where keys and state are kept.

    The disk is measured by writing a small file there, which is removed. Exit code 4 if a log could not
    be kept there, or the key that was named could not sign it.
    """
    out = Output(as_json)
    checks = examine.everything(directory.absolute())
    if pkcs11_module is not None:
        checks += examine_signer.devices(pkcs11_module)
    if signer is not None:
        checks += examine_signer.signer(signer)
    if out.as_json:
        found = {check.name: {"state": check.state, "value": check.value, **check.facts} for check in checks}
        out.emit("doctor", {"directory": str(directory.absolute()), "checks": found})
    else:
        for check in checks:
            out.text(f"{check.name:<12} ", (f"{check.state:<5}", _STYLES[check.state]), f" {check.value}")
    if any(check.state == "bad" for check in checks):
        raise typer.Exit(exits.UNKNOWN)
