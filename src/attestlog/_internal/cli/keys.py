"""`attestlog keys`: make keys, list key files, list a log's keys; to change those, `key_changes`."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from attestlog._internal.cli import options
from attestlog._internal.cli.key_changes import revoke, rotate
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.verbs import UsageError, example, new_app

app = new_app(help="Make signing keys, list them, rotate or revoke those of a log.")
ECDSA_P256: Final = "ECDSA-P256-SHA256"


@app.command(
    epilog=example(
        "attestlog keys generate signing.pem --algorithm Ed25519 --protect",
        "attestlog keys generate --signer 'pkcs11:token=attest;object=log-entries'",
    )
)
def generate(
    where: Annotated[
        str | None, typer.Argument(metavar="[PATH|file:PATH]", help="Else where keys are kept.")
    ] = None,
    *,
    signer: Annotated[
        str | None, options.text("Make it in a device instead: pkcs11:token=…;object=…", metavar="URI")
    ] = None,
    algorithm: Annotated[
        str, options.text("Or Ed25519 (for checkpoints), ML-DSA-44, ML-DSA-65.", metavar="NAME")
    ] = ECDSA_P256,
    protect: Annotated[bool, options.flag("Encrypt it; asks for a passphrase.", "--protect")] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Make a key: a file readable by its owner only, or one that never leaves a device.

    Never over another one. If ATTESTLOG_PASSPHRASE is set, a file is encrypted with it. A device's PIN
    comes from ATTESTLOG_PIN, the URI's pin-source=file:PATH, or the prompt.
    """
    from attestlog._internal.cli.new_keys import make_in_device, make_in_file

    if signer is not None and (where is not None or protect):
        raise UsageError("--signer says where the key is made: PATH and --protect are for files")
    made = make_in_file(where, algorithm, protect) if signer is None else make_in_device(signer, algorithm)
    public = made.public_key
    out = Output(as_json)
    members = {
        "uri": made.uri,
        "algorithm": public.algorithm,
        "key_id": public.key_id,
        "public_key": public.pem,
    }
    made.close()
    if out.as_json:
        out.emit("key", members)
        return
    out.text(f"key id     {public.key_id} ({public.algorithm})")
    out.text(f"kept in    {members['uri']}")
    for line in public.pem.splitlines():
        out.text(line)


@app.command("list", epilog=example("attestlog keys list audit"))
def list_keys(
    log: Annotated[str | None, typer.Argument(metavar="[LOG]", help="List this log's public keys.")] = None,
    as_json: options.JsonOption = False,
) -> None:
    """List the key files where keys are kept; for a LOG, its public keys, and what each signs."""
    from attestlog._internal.cli.describing import list_key_files, list_log_keys, signs

    out = Output(as_json)
    rows = list(list_key_files() if log is None else list_log_keys(log))
    if out.as_json:
        for row in rows:
            out.emit("key", row)
        return
    place = "uri" if log is None else "signs"
    cells = [[signs(row), row["algorithm"], row["key_id"] or (row["problem"], "yellow")] for row in rows]
    from attestlog._internal.cli.tables import print_table

    print_table(out, [place, "algorithm", "key id"], cells)


app.command("rotate", epilog=example("attestlog keys rotate audit --to file:keys/2027.pem"))(rotate)
app.command(
    "revoke",
    epilog=example("attestlog keys revoke audit KEY_ID --last-trusted 4711 --reason 'laptop stolen'"),
)(revoke)
