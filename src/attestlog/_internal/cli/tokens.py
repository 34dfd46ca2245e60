"""`attestlog tokens`: the bearer tokens of a replica or a log's service: who may do what there."""

from __future__ import annotations

import pwd
import time
from pathlib import Path
from typing import Annotated, Any

from attestlog._internal.cli import options
from attestlog._internal.cli.options import argument, choice, flag, text
from attestlog._internal.cli.output import Output, print_table
from attestlog._internal.cli.verbs import UsageError, example, new_group
from attestlog._internal.core.entry import format_timestamp
from attestlog._internal.server.tokens import Scope, Token, TokenFile

app = new_group("tokens")

DirectoryArgument = Annotated[Path, argument("DIR", "The directory of the replica or service.")]
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
    actor_id: Annotated[
        str | None, text("Append entries of this actor only.", "--actor-id", metavar="NAME")
    ] = None,
    action_type: Annotated[
        list[str] | None, text("Append entries of these types only; repeatable.", metavar="GLOB")
    ] = None,
    expires: Annotated[
        str | None, text("Refuse it from then on (2027-01-31T00:00:00Z, or 90d from now).", metavar="TIME")
    ] = None,
    entries_per_minute: Annotated[int | None, text("Entries it may append a minute.", metavar="N")] = None,
    bytes_per_minute: Annotated[int | None, text("Bytes it may send a minute.", metavar="N")] = None,
    user: Annotated[
        str | None, text("No token: let this user of this machine in over the socket.", metavar="LOGIN")
    ] = None,
    as_json: options.JsonOption = False,
) -> None:
    """Make a token for one log and print it. It cannot be printed again: only its hash is kept."""
    if (origin is None) != any_origin:
        raise UsageError("want --origin NAME, the log that the token is for, or --any-origin")
    bounds: dict[str, Any] = {
        "actor_id": actor_id, "action_types": action_type or [], "expires": _moment(expires),
        "entries_per_minute": entries_per_minute, "bytes_per_minute": bytes_per_minute,
    }  # fmt: skip
    out, tokens = Output(as_json), TokenFile(directory)
    if user is not None:
        try:
            pwd.getpwnam(user)
        except KeyError:
            raise UsageError(f"this machine has no user {user!r}") from None
        tokens.add(Token(name=name, scopes=scope, origin=origin, user=user, **bounds))
        if out.as_json:
            out.emit("token", {"name": name, "user": user})
        else:
            out.text(f"user {user} may use the socket")
        return
    token = tokens.mint(name, scope, origin, **bounds)
    if out.as_json:
        out.emit("token", {"name": name, "token": token})
    else:
        out.raw(token.encode() + b"\n")


def _moment(text: str | None) -> str | None:
    """A time, or so long from now, as a timestamp. Raises QueryError."""
    if text is None:
        return None
    now_us = time.time_ns() // 1_000
    from attestlog._internal.query.filter import parse_moment

    moment = parse_moment(text, now_us)
    # A duration counts backwards where entries are asked for; a token ends in the future.
    return format_timestamp(moment if "-" in text else 2 * now_us - moment)


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
