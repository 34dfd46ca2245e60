"""`attestlog approve`: show a request; with a key, sign what one thinks of it."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from attestlog._internal.cli.options import JsonOption, choice, text
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.requests import describe_request, read_request, show_request, write_file
from attestlog._internal.cli.verbs import UsageError, example, new_app

app = new_app()
_EXAMPLE = example(
    "attestlog approve request.json",
    "attestlog approve request.json --key ~/.ssh/id_ed25519.pub --name ana --expires 2d -o ana.json",
)


class Meaning(StrEnum):
    """What a signature may mean."""

    APPROVE = "approve"
    REVIEW = "review"
    REJECT = "reject"


@app.command(epilog=_EXAMPLE)
def approve(
    request: Annotated[str, typer.Argument(metavar="REQUEST|-", help="What attestlog propose wrote.")],
    *,
    key: Annotated[str | None, text("Yours: PEM, OpenSSH, or a signer URI.", metavar="KEY")] = None,
    name: Annotated[str | None, text("Your name, as in the policy.", metavar="NAME")] = None,
    meaning: Annotated[Meaning, choice(Meaning, "[approve]")] = Meaning.APPROVE,
    expires: Annotated[str, text("Until when it counts: 12h, 7d, or RFC 3339.", metavar="TIME")] = "7d",
    output: Annotated[Path | None, text("Else stdout.", "-o", "--output", metavar="FILE")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a request for approval; with --key and --name, sign an approval of exactly that.

    No log is needed, nor read. What is signed is bound to the log, the action and the whole payload.
    """
    asked = read_request(request)
    out = Output(as_json)
    if key is None:
        out.emit("request", describe_request(asked)) if as_json else show_request(out, asked)
        return
    if name is None:
        raise UsageError("an approval needs --name, which is your name in the policy")
    from attestlog._internal.approving import sign_approval
    from attestlog._internal.cli.moments import parse_expiry
    from attestlog._internal.cli.opening import ask_passphrase
    from attestlog._internal.core.approval import format_approval
    from attestlog._internal.log.environment import system_clock

    now_us = system_clock()
    approval = sign_approval(
        asked, key, name=name, meaning=meaning.value, now_us=now_us, expires_us=parse_expiry(expires, now_us),
        passphrase=ask_passphrase,
    )  # fmt: skip
    if output is None:
        sys.stdout.buffer.write(format_approval(approval))
        return
    write_file(output, format_approval(approval))
    members = {"path": str(output), "signer": name, "meaning": meaning, "expires": approval.expires}
    if as_json:
        out.emit("approval", members)
    else:
        out.text((meaning, "bold"), f" by {name}, until {approval.expires}, in {output}")
