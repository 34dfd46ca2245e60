"""`attestlog keys`: make key files, list them, list a log's keys."""

from __future__ import annotations

import re
from typing import Annotated, Final

import typer

from attestlog.cli import options
from attestlog.cli.opening import ask_secret
from attestlog.cli.output import Output
from attestlog.cli.verbs import UsageError, example, new_app

app = new_app(help="Make signing keys, or list them.")
ECDSA_P256: Final = "ECDSA-P256-SHA256"
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*:")


@app.command(epilog=example("attestlog keys generate signing.pem --algorithm Ed25519 --protect"))
def generate(
    where: Annotated[
        str | None, typer.Argument(metavar="[PATH|file:PATH]", help="Else where keys are kept.")
    ] = None,
    *,
    algorithm: Annotated[
        str, options.text("Or Ed25519, which checkpoints need.", metavar="NAME")
    ] = ECDSA_P256,
    protect: Annotated[bool, options.flag("Encrypt it; asks for a passphrase.", "--protect")] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Make a key file, readable by its owner only, never over another one.

    If ATTESTLOG_PASSPHRASE is set, the file is encrypted with it.
    """
    from attestlog.core.signature import public_key
    from attestlog.signers import file as key_files

    if where is not None and _SCHEME.match(where) and not where.startswith(key_files.SCHEME):
        raise UsageError(f"keys are made in files only, and {where!r} is none")
    key = key_files.make_key(algorithm)
    public = public_key(key.public_key())
    path = key_files.keys_dir() / f"{public.algorithm.lower()}-{public.key_id[:16]}.pem"
    path = key_files.file_uri_path(where) if where else path
    signer = key_files.save_key(
        key, path, key_files.ask_passphrase(path, _new_passphrase if protect else None)
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
