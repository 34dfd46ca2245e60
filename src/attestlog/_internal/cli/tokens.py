"""`attestlog tokens`: the bearer tokens of a replica: who may do what there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from attestlog._internal.cli import options
from attestlog._internal.cli.options import argument, choice, flag, text
from attestlog._internal.cli.output import Output, print_table
from attestlog._internal.cli.verbs import UsageError, example, new_group
from attestlog._internal.server.tokens import Scope, TokenFile

app = new_group("tokens")

DirectoryArgument = Annotated[Path, argument("DIR", "The replica's directory.")]
NameArgument = Annotated[str, argument("NAME", "Name of the token.")]


@app.command(
    epilog=example(
        "attestlog tokens add copies writer --scope replicate --origin example.com/agents > writer.token"
    )
)
def add(
    directory: DirectoryArgument,
    name: NameArgument,
    *,
    scope: Annotated[list[Scope], choice(Scope, "What the token allows; repeatable.")],
    origin: Annotated[str | None, text("The log that the token is for.", metavar="NAME")] = None,
    any_origin: Annotated[bool, flag("The token is for all logs, and may begin copies of others.")] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Make a token for one log and print it. It cannot be printed again: only its hash is kept."""
    if (origin is None) != any_origin:
        raise UsageError("want --origin NAME, the log that the token is for, or --any-origin")
    token, out = TokenFile(directory).mint(name, scope, origin), Output(as_json)
    if out.as_json:
        out.emit("token", {"name": name, "token": token})
    else:
        out.raw(token.encode() + b"\n")


@app.command("list", epilog=example("attestlog tokens list copies"))
def list_tokens(directory: DirectoryArgument, as_json: options.JsonOption = False) -> None:
    """List the tokens in force, without their texts."""
    out, tokens = Output(as_json), TokenFile(directory).tokens()
    if out.as_json:
        for token in tokens:
            out.emit("token", {"name": token.name, "scopes": token.scopes, "origin": token.origin})
        return
    rows = [[token.name, ", ".join(token.scopes), token.origin or "any"] for token in tokens]
    print_table(out, ["name", "scopes", "origin"], rows)


@app.command(epilog=example("attestlog tokens revoke copies writer"))
def revoke(directory: DirectoryArgument, name: NameArgument, as_json: options.JsonOption = False) -> None:
    """Revoke a token. The server refuses it from the next request on."""
    TokenFile(directory).revoke(name)
    out = Output(as_json)
    if out.as_json:
        out.emit("token", {"name": name, "revoked": True})
    else:
        out.text(f"revoked {name}")
