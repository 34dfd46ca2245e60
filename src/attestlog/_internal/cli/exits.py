"""Exit codes and hints: how a command ends for which failure, and what the user can do about it.

0    done; VERIFIED
1    TAMPERED: something does not hold, or what was read back is damaged
2    usage: the caller's mistake, nothing was done
3    MALFORMED: not a log, an entry, a key or a setting
4    UNKNOWN: could not be done or decided (file, permission, disk, key, device, clock)
5    TRUNCATED or FORKED: contradicts a remembered checkpoint, or the log's own
6    INCOMPLETE: torn tail only
7    an append's outcome is unknown: look before appending again
8    VERIFIED, and something was found that verify was told to fail on
70   a defect in attestlog itself
130  interrupted (Ctrl-C); 141: the reader of stdout went away
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attestlog import errors
from attestlog._internal.core.report import Report, Verdict

DONE, TAMPERED, USAGE, MALFORMED, UNKNOWN, CONTRADICTED, INCOMPLETE, UNCERTAIN = range(8)
NOT_WANTED: Final = 8
DEFECT: Final = 70
"""EX_SOFTWARE of sysexits.h."""
INTERRUPTED: Final = 128 + 2
BROKEN_PIPE: Final = 128 + 13
"""As a shell reports a program that SIGINT or SIGPIPE ended."""

BY_VERDICT: Final = {
    Verdict.VERIFIED: DONE,
    Verdict.TAMPERED: TAMPERED,
    Verdict.MALFORMED: MALFORMED,
    Verdict.UNKNOWN: UNKNOWN,
    Verdict.TRUNCATED: CONTRADICTED,
    Verdict.FORKED: CONTRADICTED,
    Verdict.INCOMPLETE: INCOMPLETE,
}

BY_ERROR: Final[dict[type[errors.AttestlogError], int]] = {
    errors.MalformedError: MALFORMED,
    errors.VerificationError: TAMPERED,
    errors.ConsistencyError: CONTRADICTED,
    errors.SplitViewError: CONTRADICTED,
    errors.ContradictedError: CONTRADICTED,
    errors.UnverifiedError: UNKNOWN,
    errors.DerivedMemberError: USAGE,
    errors.ApprovalRefusedError: USAGE,
    errors.RuleChangeError: USAGE,
    errors.SignerError: UNKNOWN,
    errors.StorageError: UNKNOWN,
    errors.ExistsError: USAGE,
    errors.CorruptError: TAMPERED,
    errors.UncertainCommitError: UNCERTAIN,
    errors.LogError: UNKNOWN,
    errors.TooLargeError: USAGE,
    errors.GovernanceError: USAGE,
    errors.QueryError: USAGE,
    errors.ReplicationError: UNKNOWN,
    errors.PublicationError: UNKNOWN,
    errors.SinkError: UNKNOWN,
    errors.TimestampError: UNKNOWN,
    errors.WitnessError: UNKNOWN,
    errors.RequestError: UNKNOWN,
    errors.NewerFormatError: UNKNOWN,
    errors.MissingExtraError: UNKNOWN,
}
"""By class; a class that is not here has its nearest ancestor's."""


def exit_code(error: errors.AttestlogError) -> int:
    """The exit code of the verdict that the error reports, else of its class or nearest ancestor."""
    report = error.evidence().get("report")
    if isinstance(report, Report):
        return BY_VERDICT[report.verdict]
    return next(BY_ERROR[kind] for kind in type(error).__mro__ if kind in BY_ERROR)


def hint(error: errors.AttestlogError) -> str | None:
    """The command or option that helps, where the cause is known; else None: the message says all there is.

    A hint depends on what the error knows, not on its class alone: one class has causes in many verbs.
    """
    if error.closing:
        return "what was appended is stored; attestlog checkpoint LOG signs it once the cause is gone"
    for kind in type(error).__mro__:
        if kind in _HINTS:
            advice = _HINTS[kind]
            return advice(error) if callable(advice) else advice
    return None


def usage_hint(error: Exception) -> str:
    """Where the usage is described."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "attestlog"
    return f"{path} --help"


def _malformed_config(error: errors.AttestlogError) -> str | None:
    known = error.evidence()
    return {
        "origin": "attestlog init --help describes the origin",
        "settings": "attestlog init --help describes the settings",
        "signer": "docs/keys.md has the URI of every kind of signer",
        "replicas": "attestlog replica add --help describes what a replica needs",
        "token_file": "attestlog tokens add DIR NAME --scope … > FILE makes a token at the replica",
        "to": "attestlog ship --help lists the kinds of sinks",
        "secret": "openssl rand -base64 32 makes one",
        "listen": "attestlog serve replica --help describes --listen",
        "tls": "attestlog serve replica --help describes --tls-certificate and --tls-key",
    }.get(known.get("member", ""))


def _verification(error: errors.AttestlogError) -> str | None:
    report = error.evidence().get("report")
    if not isinstance(report, Report):
        return None
    if report.format == "legacy":
        return f"attestlog verify {report.subject} shows what; --allow-damaged imports it as it is"
    return "nothing was changed; restore from another replica"


def _rule_change(error: errors.AttestlogError) -> str | None:
    match error.evidence().get("expected"):
        case {"approvals": {"have": int(have), "need": int(need)}}:
            lacking = f"it has {have} of the {need} approvals that the policy requires"
        case {"roles": [str(role), *_]}:
            lacking = f"it has no approval of role {role}"
        case _:
            return None
    return f"{lacking}: --request-approval FILE asks for them, --approval FILE adds them"


def _key_file(error: errors.AttestlogError) -> str | None:
    known = error.evidence()
    if known.get("needs_passphrase"):
        return "set ATTESTLOG_PASSPHRASE, or run it where a terminal can ask"
    if "mode" in known:
        return f"if nobody else can have read it: chmod 600 {known['path']}; otherwise make a new key"
    return _signer_of_log(error)


def _signer(error: errors.AttestlogError) -> str | None:
    known = error.evidence()
    if known.get("needs_pin"):
        return "set ATTESTLOG_PIN, add pin-source=file:PATH to the URI, or run it where a terminal can ask"
    if error.retryable:
        return "nothing was written; run attestlog doctor --signer URI, and retry when the device answers"
    advice = {
        "pin": "find out which PIN is right before it is locked: a refused one is not sent again",
        "ambiguous": "id= in the URI names one key, serial= one token",
        "exists": "a key is never overwritten: choose another label",
    }.get(known.get("reason", ""))
    return advice or _signer_of_log(error)


def _signer_of_log(error: errors.AttestlogError) -> str | None:
    if "log" not in error.evidence():
        return None
    return "attestlog configure LOG --entry-signer URI says where a key is; --signer names one for once"


def _no_log(error: errors.AttestlogError) -> str:
    if error.evidence().get("name") == "schema":
        return "attestlog postgres upgrade URL makes the schema, or attestlog postgres schema prints it"
    return "attestlog init LOG --origin NAME makes a log"


def _not_found(error: errors.AttestlogError) -> str | None:
    if "checkpoint_size" in error.evidence():
        return "attestlog checkpoint LOG signs a checkpoint over all entries there are"
    return None


def _exists(error: errors.AttestlogError) -> str | None:
    return {
        "log": "a log is never overwritten: choose another directory",
        "longer_log": "--force puts the shorter copy in its place; the log there is moved aside",
        "state": "attestlog memory list shows it; nothing needs to be done",
        "checkpoint_key": "choose another name or another checkpoint key for the new log",
        "key": "a key is never overwritten: choose another path",
        "token": "choose another name, or attestlog tokens revoke DIR NAME first",
        "replica": "attestlog replica remove LOG URL first, to add it with another key or token",
        "published": "publish to another directory than the log's own",
        "witness": "a new witness needs an empty directory, a new name and a new key",
    }.get(error.evidence().get("what", ""))


def _denied(error: errors.AttestlogError) -> str | None:
    path = error.evidence().get("path")
    return f"this user needs access to {path}: check its owner and mode" if path else None


def _corrupt(error: errors.AttestlogError) -> str | None:
    return {
        "tree": "attestlog repair LOG makes the tree again from the entries",
        "checkpoint": "attestlog verify LOG says what still holds; restore the checkpoint from a copy",
        "entries": "attestlog verify LOG says what still holds, attestlog repair LOG what can be done",
    }.get(error.evidence().get("repair", ""))


def _state(error: errors.AttestlogError) -> str:
    path = error.evidence().get("path", "its file")
    return f"put {path} right; or move it away, and attestlog adopt LOG shows and remembers what the log has"


def _missing_extra(error: errors.AttestlogError) -> str:
    extra = str(error.evidence().get("extra"))
    return f"pip install 'attestlog[{extra}]'" if extra.isalnum() else f"pip install '{extra}'"


def _erasure_refused(error: errors.AttestlogError) -> str | None:
    return {
        "hold": "attestlog hold list LOG shows the holds, attestlog hold release ends one",
        "policy": "attestlog policy show LOG says what may be erased",
        "deny": "attestlog policy show LOG shows the rule that denies it",
        "append": "attestlog erase LOG N erases the payload and appends the entry",
        "approval": "--request-approval FILE writes a request for approvals, --approval FILE takes them in",
        "archived": "attestlog archive restore LOG --entry N --remove brings its segment back",
    }.get(error.evidence().get("rule", ""))


def _query(error: errors.AttestlogError) -> str | None:
    return "attestlog query --help describes the filters" if error.evidence().get("member") else None


_HINTS: Final[dict[type[errors.AttestlogError], str | Callable[[errors.AttestlogError], str | None]]] = {
    errors.MalformedConfigError: _malformed_config,
    errors.MalformedPolicyError: "docs/spec/policy.md has every member of a policy",
    errors.VerificationError: _verification,
    errors.ConsistencyError: "the two histories differ: keep both as they are, they are evidence",
    errors.ApprovalRefusedError: "nothing was written; attestlog policy show LOG says who may approve what",
    errors.ApprovalUsedError: "nothing was written; attestlog approval request LOG DRAFT asks for another",
    errors.RuleChangeError: _rule_change,
    errors.DerivedMemberError: "leave the member out, and the log derives it",
    errors.KeyFileError: _key_file,
    errors.SignerError: _signer,
    errors.NotFoundError: _not_found,
    errors.NoConfigError: "attestlog configure LOG --entry-signer URI --checkpoint-signer URI says who signs",
    errors.NoStateError: "attestlog adopt LOG shows what the log has, and remembers it once you agree",
    errors.StateError: _state,
    errors.RollbackError: (
        "keep this copy, it is evidence; attestlog repair LOG shows what is wrong in it, and where nobody has"
        " more of it attestlog init NEW --continues LOG goes on from what is left"
    ),
    errors.NoHomeError: "set ATTESTLOG_HOME to a directory that only this user can write",
    errors.NoLogError: _no_log,
    errors.ExistsError: _exists,
    errors.DeniedError: _denied,
    errors.FullError: "make room, then run the same command again",
    errors.BusyError: "another process is at work there: try again when it has finished",
    errors.FilesystemError: "put the log on a local disk; --any-filesystem is for one known to keep its word",
    errors.CorruptError: _corrupt,
    errors.UncertainCommitError: "look with attestlog tail LOG before you append the same again",
    errors.ClockError: (
        "nothing was written; attestlog doctor shows the clock: set it right. If it is right, and the last"
        " entry is not, attestlog init NEW --continues LOG goes on in a new log"
    ),
    errors.ErasureRefusedError: _erasure_refused,
    errors.QueryError: _query,
    errors.TimestampError: "the checkpoint is signed and stored without it: try again, or elsewhere",
    errors.NewerFormatError: "pip install --upgrade attestlog",
    errors.MissingExtraError: _missing_extra,
}
"""By class; a class that is not here has its nearest ancestor's."""
