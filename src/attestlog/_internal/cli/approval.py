"""`attestlog approval`: request an approval, read the request, sign an approval. And taking approvals in."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from attestlog._internal.cli.files import read_file, write_file
from attestlog._internal.cli.options import (
    JsonOption,
    LogArgument,
    OutputOption,
    argument,
    choice,
    flag,
    text,
)
from attestlog._internal.cli.output import Output, notice
from attestlog._internal.cli.verbs import UsageError, example, new_group

if TYPE_CHECKING:
    from attestlog._internal.core.approval import Approval, ApprovalRequest
    from attestlog._internal.core.entry import EntryDraft
    from attestlog._internal.log import Log

app = new_group("approval")

STDIN: Final = "-"

EXPECTED_MIN: Final = 8
"""Digits of the action hash that an approver types: enough that no other request has them by chance."""

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
    """Show a request: what an approval of it signs, and what it does not.

    No log is needed.
    """
    asked, out = read_request(request), Output(as_json)
    if as_json:
        out.emit("request", describe_request(asked))
    else:
        show_request(out, asked)


@app.command(
    epilog=example(
        "attestlog approval sign request.json --log audit --key ~/.ssh/id_ed25519.pub --name ana -o ana.json",
        "attestlog approval sign request.json --name ana --message -o ana.msg",
        "ssh-keygen -Y sign -n attestlog-approval -f ~/.ssh/id_ed25519_sk ana.msg",
        "attestlog approval sign request.json --signature ana.msg.sig -o ana.json",
    )
)
def sign(
    request: RequestArgument,
    *,
    key: Annotated[str | None, text("Your key: PEM, OpenSSH, or a signer URI.", metavar="KEY")] = None,
    name: Annotated[str | None, text("Your name in the policy.", metavar="NAME")] = None,
    meaning: Annotated[Meaning, choice(Meaning, "Default: approve.")] = Meaning.APPROVE,
    expires: Annotated[
        str, text("When it expires: 12h, 7d, or RFC 3339, within 30 days; default: 1d.", metavar="TIME")
    ] = "1d",
    expect: Annotated[
        str | None,
        text("The action hash, or its first 8 digits or more; not asked for then.", metavar="HASH"),
    ] = None,
    log: Annotated[str | None, text("The log, to compare the request with.", metavar="LOG")] = None,
    message: Annotated[bool, flag("Write what is to be signed, for ssh-keygen; sign nothing.")] = False,
    signature: Annotated[
        str | None, text("What ssh-keygen wrote: FILE.sig; the message is in FILE.", metavar="FILE.sig")
    ] = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is to be signed, ask, and sign it.

    Everything that is signed is shown on stderr, and apart from it what is not. To go on, type the first
    8 digits of the action hash. Without a terminal, give them with --expect.
    """
    from attestlog._internal.approving import take_signature
    from attestlog._internal.core.approval import format_approval

    _check_way(key, name, message=message, signature=signature)
    asked = read_request(request)
    if signature is not None:
        signed = take_signature(
            asked, read_file(signature.removesuffix(".sig")), read_file(signature).decode()
        )
        _review(asked, signed, expect, log, is_stdin=request == STDIN)
        data = format_approval(signed)
    else:
        assert name is not None
        draft, to_sign = _draft(asked, name, meaning, expires)
        _review(asked, draft, expect, log, is_stdin=request == STDIN)
        signed = draft if key is None else _signed(asked, draft, key)
        data = to_sign if key is None else format_approval(signed)
    if output is None:
        sys.stdout.buffer.write(data)
        return
    write_file(output, data)
    out = Output(as_json)
    if as_json:
        members = {
            "path": str(output), "signer": signed.signer, "meaning": signed.meaning, "expires": signed.expires
        }  # fmt: skip
        if message:
            out.emit("message", members)
        else:
            out.emit("approval", members)
    else:
        what = "to be signed: " if message else ""
        out.text(what, (signed.meaning, "bold"), f" by {signed.signer}, until {signed.expires}, in {output}")


def _check_way(key: str | None, name: str | None, *, message: bool, signature: str | None) -> None:
    if sum((key is not None, message, signature is not None)) != 1:
        raise UsageError("want one of --key, --message and --signature")
    if (name is None) == (signature is None):
        raise UsageError("--name goes with --key or --message; a signed message has the name in it")
    if signature is not None and not signature.endswith(".sig"):
        raise UsageError(f"--signature {signature!r} does not end in .sig, so the message is not known")


def _draft(asked: ApprovalRequest, name: str, meaning: Meaning, expires: str) -> tuple[Approval, bytes]:
    """The approval without key and signature, and what is to be signed."""
    from attestlog._internal.approving import draft_approval
    from attestlog._internal.log.drafts import system_clock

    now_us = system_clock()
    expires_us = parse_expiry(expires, now_us)
    return draft_approval(asked, name=name, meaning=meaning.value, now_us=now_us, expires_us=expires_us)


def _signed(asked: ApprovalRequest, draft: Approval, key: str) -> Approval:
    """The approval that was shown, signed: the same terms, to the microsecond."""
    from attestlog._internal.approving import sign_approval
    from attestlog._internal.cli.opening import ask_passphrase
    from attestlog._internal.core.entry import parse_timestamp

    return sign_approval(
        asked, key, name=draft.signer, meaning=draft.meaning, now_us=parse_timestamp(draft.timestamp),
        expires_us=parse_timestamp(draft.expires), passphrase=ask_passphrase,
    )  # fmt: skip


def _review(
    asked: ApprovalRequest, draft: Approval, expect: str | None, log: str | None, *, is_stdin: bool
) -> None:
    """Show what is signed, compare it with the log, and have the approver say which payload they looked at.

    Raises UsageError unless they name it.
    """
    show_request(Output(as_json=False, stream=sys.stderr), asked, draft)
    _compare(asked, log)
    if expect is None:
        if is_stdin or not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError("nobody to ask: read the request, then give its action hash with --expect")
        expect = typer.prompt("First 8 digits of the action hash, to sign this", err=True)
    expect = expect.strip()
    if len(expect) < EXPECTED_MIN or not asked.action_hash.startswith(expect):
        raise UsageError(
            f"expected action hash {expect[:64]!r}, the request's is {asked.action_hash}: nothing was signed"
        )


def _compare(asked: ApprovalRequest, log: str | None) -> None:
    """Whether the request is for this log. Raises UsageError; says so where no log was given."""
    from attestlog._internal.storage.resolve import open_source

    if log is None:
        notice("log and origin were not compared with the log: it was not named with --log")
        return
    genesis = open_source(log).genesis()
    if (genesis.entry_hash, genesis.origin) != (asked.log, asked.origin):
        raise UsageError(
            f"the request is for {asked.origin} ({asked.log}), "
            f"{log} is {genesis.origin} ({genesis.entry_hash}): nothing was signed"
        )


def parse_expiry(text: str, now_us: int) -> int:
    """Microseconds since 1970 of a time after now: a duration from now (`12h`, `7d`), or RFC 3339.

    Raises UsageError for another text, and for a time that has passed.
    """
    from attestlog._internal.core.policy import APPROVAL_TERM_MAX_S
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
    if moment_us > now_us + APPROVAL_TERM_MAX_S * 1_000_000:
        raise UsageError(f"--expires {text!r} is more than {APPROVAL_TERM_MAX_S // 86_400} days from now")
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
    return {
        "log": request.log, "origin": request.origin, "request_id": request.request_id,
        "action_hash": request.action_hash, "draft": request.draft,
    }  # fmt: skip


def show_request(out: Output, request: ApprovalRequest, approval: Approval | None = None) -> None:
    """What is signed, by its names, with the payload that the action hash is of; then what is not.

    `approval`: how it will be signed, where that is known.
    """
    from attestlog._internal.core.approval import bindings

    draft = dict(request.draft)
    signed = {"event_type": draft["event_type"], "request_id": request.request_id, **bindings(request)}
    if approval is not None:
        signed |= {name: getattr(approval, name) for name in ("signer", "meaning", "timestamp", "expires")}
    out.text(("signed", "bold"))
    for name in sorted(signed):
        _show_member(out, name, signed[name])
        if name == "action_hash":
            _show_member(out, "  of action_payload", draft.get("action_payload", {}))
    left = draft.keys() - signed.keys() - {"action_payload"}
    out.text()
    out.text(("not signed", "bold"), "" if left else ": nothing")
    for name in sorted(left):
        _show_member(out, name, draft[name])


def _show_member(out: Output, name: str, value: Any) -> None:
    """Names and values may be anybody's: no character of theirs begins a line, or looks as if it did."""
    import json

    if isinstance(value, str):
        out.text(f"  {name:<15} {value}")
        return
    # A line end within a string is an escape in JSON: those that are left are the layout's own.
    first, *others = json.dumps(value, indent=2, ensure_ascii=False).split("\n")
    out.text(f"  {name:<15} {first}")
    for line in others:
        out.text(f"  {line}")
