"""`attestlog approval`: request an approval, read the request, sign an approval. And taking approvals in."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from attestlog._internal.cli.files import read_file, write_file
from attestlog._internal.cli.options import JsonOption, LogArgument, OutputOption, argument, choice, text
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.verbs import UsageError, example, new_group

if TYPE_CHECKING:
    from attestlog._internal.core.approval import ApprovalRequest
    from attestlog._internal.core.entry import EntryDraft
    from attestlog._internal.log import Log

app = new_group("approval")

RequestArgument = Annotated[str, argument("REQUEST|-", "A file that `attestlog approval request` wrote.")]


class Meaning(StrEnum):
    """What a signature may mean."""

    APPROVE = "approve"
    REVIEW = "review"
    REJECT = "reject"


@app.command(
    epilog=example(
        "attestlog approval request audit deploy.json -o request.json",
        "attestlog approval sign request.json --key ana.pem --name ana -o ana.json",
        "attestlog append audit --request request.json --approval ana.json",
    )
)
def request(
    log: LogArgument,
    draft: Annotated[str, argument("DRAFT|-", "A draft, as one JSON object.")],
    *,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a request for approval of what would be appended.

    Approvers read and sign it. The log is only read, and its signing key is not needed. The request holds the
    payload as the log will write it: redacted and salted where the log does so.
    """
    from attestlog._internal.approving import propose
    from attestlog._internal.cli.drafts import read_draft
    from attestlog._internal.core.approval import format_request

    members = read_draft(draft)
    if output is None:
        sys.stdout.buffer.write(format_request(propose(log, members)))
    else:
        request_approval(Output(as_json), log, members, output)


@app.command(epilog=example("attestlog approval show request.json"))
def show(request: RequestArgument, *, as_json: JsonOption = False) -> None:
    """Show all that an approval of this request would cover.

    No log is needed.
    """
    asked, out = read_request(request), Output(as_json)
    if as_json:
        out.emit("request", describe_request(asked))
    else:
        show_request(out, asked)


@app.command(
    epilog=example(
        "attestlog approval sign request.json --key ~/.ssh/id_ed25519.pub --name ana --expires 2d -o ana.json"
    )
)
def sign(
    request: RequestArgument,
    *,
    key: Annotated[str, text("Your key: PEM, OpenSSH, or a signer URI.", metavar="KEY")],
    name: Annotated[str, text("Your name in the policy.", metavar="NAME")],
    meaning: Annotated[Meaning, choice(Meaning, "Default: approve.")] = Meaning.APPROVE,
    expires: Annotated[
        str, text("When it expires: 12h, 7d, or RFC 3339; default: 7d.", metavar="TIME")
    ] = "7d",
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sign an approval of a request.

    Read the request first, with `attestlog approval show`. No log is needed. The approval is valid only for
    the log, the action and the payload in the request.
    """
    from attestlog._internal.approving import sign_approval
    from attestlog._internal.cli.opening import ask_passphrase
    from attestlog._internal.core.approval import format_approval
    from attestlog._internal.log.drafts import system_clock

    asked, now_us = read_request(request), system_clock()
    signed = sign_approval(
        asked, key, name=name, meaning=meaning.value, now_us=now_us, expires_us=parse_expiry(expires, now_us),
        passphrase=ask_passphrase,
    )  # fmt: skip
    if output is None:
        sys.stdout.buffer.write(format_approval(signed))
        return
    write_file(output, format_approval(signed))
    out = Output(as_json)
    if as_json:
        members = {"path": str(output), "signer": name, "meaning": meaning, "expires": signed.expires}
        out.emit("approval", members)
    else:
        out.text((meaning, "bold"), f" by {name}, until {signed.expires}, in {output}")


def parse_expiry(text: str, now_us: int) -> int:
    """Microseconds since 1970 of a time after now: a duration from now (`12h`, `7d`), or RFC 3339.

    Raises UsageError for another text, and for a time that has passed.
    """
    from attestlog._internal.query.filter import parse_moment
    from attestlog.errors import QueryError

    try:
        moment_us = parse_moment(text, now_us)
    except QueryError as error:
        raise UsageError(str(error)) from None
    if "-" not in text:  # a duration, which filters count backwards
        moment_us = 2 * now_us - moment_us
    if moment_us <= now_us:
        raise UsageError(f"--expires {text!r} has passed already")
    return moment_us


def read_request(path: str) -> ApprovalRequest:
    """Raises MalformedApprovalError, NotFoundError, StorageError."""
    from attestlog._internal.core.approval import parse_request

    return parse_request(read_file(path))


def request_approval(out: Output, log: str, draft: EntryDraft | Mapping[str, Any], path: Path) -> None:
    """Write to `path` a request for approval of what would be appended, and say where it is."""
    from attestlog._internal.approving import propose
    from attestlog._internal.core.approval import format_request

    asked = propose(log, draft)
    write_file(path, format_request(asked))
    if out.as_json:
        out.emit("request", {"path": str(path), **describe_request(asked)})
        return
    out.text("request for ", (asked.draft["action_type"], "bold"), f" in {path}")
    out.text(f"action hash  {asked.action_hash}")


def with_approvals(
    log: Log, draft: EntryDraft | Mapping[str, Any] | ApprovalRequest, paths: Iterable[str]
) -> EntryDraft:
    """The draft with the approvals in these files. Raises ApprovalRefusedError."""
    from attestlog._internal.approving import check_approvals
    from attestlog._internal.core.approval import ApprovalRequest, approved_draft, parse_approval

    asked = draft if isinstance(draft, ApprovalRequest) else log.request(draft)
    approvals = [parse_approval(read_file(path)) for path in paths]
    check_approvals(log.rules.policy, asked, approvals)
    return approved_draft(asked, approvals)


def describe_request(request: ApprovalRequest) -> dict[str, Any]:
    """The members of a request, for JSON."""
    return {"origin": request.origin, "action_hash": request.action_hash, "draft": request.draft}


def show_request(out: Output, request: ApprovalRequest) -> None:
    """All of it as text: the approver signs the whole payload."""
    import json

    draft = request.draft
    out.text((f"{draft['event_type']} {draft['action_type']}", "bold"), f"  by {draft['actor_id']}")
    out.text(f"log          {request.origin}")
    out.text(f"action hash  {request.action_hash}")
    for name, value in draft.items():
        if name not in ("event_type", "action_type", "actor_id"):
            out.text()
            out.text((name, "bold"))
            for line in json.dumps(value, indent=2, ensure_ascii=False).splitlines():
                out.text(f"  {line}")
