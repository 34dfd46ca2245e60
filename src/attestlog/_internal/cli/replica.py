"""`attestlog replica`: hold verified copies of others' logs, over HTTP."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from attestlog._internal.cli import options
from attestlog._internal.cli.opening import ask_passphrase
from attestlog._internal.cli.output import Output, notice
from attestlog._internal.cli.verbs import UsageError, example, new_app

if TYPE_CHECKING:
    from attestlog._internal.replica import Replica

app = new_app()


@app.command(
    epilog=example(
        "attestlog replica copies --name replica.example.com/one --listen 127.0.0.1:8470",
        "attestlog tokens add copies writer --scope replicate",
    )
)
def replica(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where the copies are.", show_default=False)
    ],
    *,
    listen: Annotated[str, options.text("Where to listen.", metavar="HOST:PORT")] = "127.0.0.1:8470",
    name: Annotated[str | None, options.text("Its name in cosignatures: at first.", metavar="NAME")] = None,
    key: Annotated[str | None, options.text("Its Ed25519 key: at first, else made.", metavar="URI")] = None,
    tls_certificate: Annotated[Path | None, options.text("Serve TLS with it.", metavar="FILE")] = None,
    tls_key: Annotated[Path | None, options.text("The certificate's key.", metavar="FILE")] = None,
    public_checkpoints: Annotated[
        bool, options.flag("Let everybody read cosigned checkpoints.", "--public-checkpoints")
    ] = False,
    evidence: Annotated[
        bool, options.flag("Print the evidence of split views, and stop.", "--evidence")
    ] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Hold copies: take entries from writers, verify all of them, store them, answer with a cosignature.

    Writers and readers need a token: see attestlog tokens. The first start takes --name and makes a key.
    """
    out = Output(as_json)
    if evidence:
        _print_evidence(out, directory)
        return
    from attestlog._internal.server import check_extra

    check_extra()
    from attestlog._internal.core.note import format_vkey
    from attestlog._internal.server.replica import replica_app
    from attestlog._internal.server.running import parse_listen, serve
    from attestlog._internal.server.tokens import TokenFile

    where = parse_listen(listen, certificate=tls_certificate, key=tls_key)
    with ExitStack() as undo:
        opened = _open(directory, name, key, undo)
        vkey = format_vkey(opened.vkey)

        def started(url: str) -> None:
            if out.as_json:
                out.emit("replica", {"url": url, "vkey": vkey, "path": str(directory)})
            else:
                out.text(f"replica    {url}")
                out.text(f"vkey       {vkey}")
            out.flush()

        tokens = TokenFile(directory)
        if not tokens.tokens():
            notice(f"no token yet: attestlog tokens add {directory} NAME --scope replicate")
        serve(replica_app(opened, tokens, checkpoints_are_public=public_checkpoints), where, started=started)


def _open(directory: Path, name: str | None, key: str | None, undo: ExitStack) -> Replica:
    from attestlog._internal.core.signature import ED25519
    from attestlog._internal.replica import Replica
    from attestlog._internal.replica.settings import (
        SETTINGS_FILE,
        ReplicaSettings,
        read_settings,
        write_settings,
    )
    from attestlog._internal.signers.making import given_or_made, given_or_opened

    if not (directory / SETTINGS_FILE).exists():
        if name is None:
            raise UsageError(f"{directory} is no replica yet: --name NAME begins one")
        made = given_or_made(key, origin=name, role="replica", algorithm=ED25519)
        signer = given_or_opened(made, ask_passphrase, undo)
        opened = Replica(directory, name, signer)
        write_settings(directory, ReplicaSettings(name=name, key=signer.uri))
    else:
        known = read_settings(directory)
        if name not in (None, known.name):
            raise UsageError(f"{directory} is the replica {known.name!r}, not {name!r}")
        opened = Replica(directory, known.name, given_or_opened(key or known.key, ask_passphrase, undo))
    undo.callback(opened.close)
    return opened


def _print_evidence(out: Output, directory: Path) -> None:
    import msgspec

    from attestlog._internal.replica.evidence import evidence
    from attestlog._internal.replica.replica import LOGS_DIR

    count = 0
    for log in sorted((directory / LOGS_DIR).glob("*")):
        for path, split in evidence(log):
            count += 1
            if out.as_json:
                out.emit("split_view", {**msgspec.structs.asdict(split), "path": str(path)})
                continue
            out.text((f"{split.origin}: {split.reason}", "bold red"))
            out.text(f"seen {split.seen_at}, with {split.size} entries held; kept in {path}")
            for title, text in (("held before", split.ours), ("told later", split.theirs)):
                out.text(f"{title}:")
                for line in text.splitlines():
                    out.text(f"  {line}")
    if not count and not out.as_json:
        out.text("no split view was seen")
