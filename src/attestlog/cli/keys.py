"""`attestlog keys`: make key files, list them, list a log's keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attestlog.cli import options
from attestlog.cli.opening import ask_secret
from attestlog.cli.output import Output
from attestlog.cli.verbs import UsageError, example, new_app

app = new_app(help="Make signing keys, or list them.")


@app.command(epilog=example("attestlog keys generate signing.pem --algorithm Ed25519 --protect"))
def generate(
    path: Annotated[
        Path | None, typer.Argument(help="Where to, else where keys are kept.", show_default=False)
    ] = None,
    algorithm: Annotated[str, typer.Option(help="ECDSA-P256-SHA256, or Ed25519 (checkpoints need it).")] = (
        "ECDSA-P256-SHA256"
    ),
    protect: Annotated[bool, typer.Option("--protect", help="Encrypt it; asks for a passphrase.")] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Make a key file, readable by its owner only, never over another one.

    If ATTESTLOG_PASSPHRASE is set, the file is encrypted with it.
    """
    from attestlog.core.signature import public_key
    from attestlog.signers import file as key_files

    key = key_files.make_key(algorithm)
    public = public_key(key.public_key())
    where = path or key_files.keys_dir() / f"{public.algorithm.lower()}-{public.key_id[:16]}.pem"
    signer = key_files.save_key(
        key, where, key_files.ask_passphrase(where, _new_passphrase if protect else None)
    )
    out = Output(as_json)
    members = {
        "uri": signer.uri,
        "algorithm": public.algorithm,
        "key_id": public.key_id,
        "public_key": public.pem,
    }
    if out.as_json:
        out.emit("key", members)
        return
    out.text(f"key id     {public.key_id} ({public.algorithm})")
    out.text(f"kept in    {signer.uri}")
    for line in public.pem.splitlines():
        out.text(line)


@app.command("list", epilog=example("attestlog keys list audit"))
def list_keys(
    log: Annotated[str | None, typer.Argument(metavar="[LOG]", help="List this log's public keys.")] = None,
    as_json: options.JsonOption = False,
) -> None:
    """List the key files where keys are kept; for a LOG, the public keys its first entry names."""
    from attestlog.cli.describing import list_key_files, list_log_keys

    out = Output(as_json)
    rows = list(list_key_files() if log is None else list_log_keys(log))
    if out.as_json:
        for row in rows:
            out.emit("key", row)
        return
    place = "uri" if log is None else "signs"
    cells = [[row[place], row["algorithm"], row["key_id"] or (row["problem"], "yellow")] for row in rows]
    from attestlog.cli.tables import print_table

    print_table(out, [place, "algorithm", "key id"], cells)


def _new_passphrase(path: str) -> bytes:
    first = ask_secret(f"new passphrase for {path}: ")
    if not first:
        raise UsageError("no passphrase was given: there is no terminal to ask on, or it was empty")
    if ask_secret("the same again: ") != first:
        raise UsageError("the two passphrases differ")
    return first
