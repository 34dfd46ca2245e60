"""`attestlog tokens`: who may do what at a replica or server."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from attestlog._internal.cli import options
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.tables import print_table
from attestlog._internal.cli.verbs import example, new_app

app = new_app(help="Make, list and revoke the bearer tokens of a server.")


class ScopeName(StrEnum):
    """As `server.tokens.Scope`, which is not loaded for --help."""

    APPEND = "append"
    READ = "read"
    REPLICATE = "replicate"
    ADMIN = "admin"


Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The server's directory.", show_default=False)]
Name = Annotated[str, typer.Argument(metavar="NAME", help="What the token is called.", show_default=False)]


@app.command(epilog=example("attestlog tokens add copies writer --scope replicate > writer.token"))
def add(
    directory: Directory,
    name: Name,
    *,
    scope: Annotated[list[ScopeName], options.choice(ScopeName, "What it is good for; may be repeated.")],
    origin: Annotated[str | None, options.text("The one log it is good for.", metavar="NAME")] = None,
    as_json: options.JsonOption = False,
) -> None:
    """Make a token and print it: this once, as only its hash is kept."""
    from attestlog._internal.server.tokens import Scope, TokenFile

    text = TokenFile(directory).mint(name, [Scope(item.value) for item in scope], origin)
    out = Output(as_json)
    if out.as_json:
        out.emit("token", {"name": name, "token": text})
    else:
        out.raw(text.encode() + b"\n")


@app.command("list", epilog=example("attestlog tokens list copies"))
def list_tokens(directory: Directory, as_json: options.JsonOption = False) -> None:
    """List the tokens in force; their texts are not kept."""
    from attestlog._internal.server.tokens import TokenFile

    out = Output(as_json)
    tokens = TokenFile(directory).tokens()
    if out.as_json:
        for token in tokens:
            out.emit("token", {"name": token.name, "scopes": token.scopes, "origin": token.origin})
        return
    rows: list[list[str | tuple[str, str]]] = [
        [token.name, ", ".join(token.scopes), token.origin or "any"] for token in tokens
    ]
    print_table(out, ["name", "scopes", "origin"], rows)


@app.command(epilog=example("attestlog tokens revoke copies writer"))
def revoke(directory: Directory, name: Name, as_json: options.JsonOption = False) -> None:
    """Take a token out of force, from the server's next request on."""
    from attestlog._internal.server.tokens import TokenFile

    TokenFile(directory).revoke(name)
    out = Output(as_json)
    if out.as_json:
        out.emit("token", {"name": name, "revoked": True})
    else:
        out.text(f"revoked {name}")
