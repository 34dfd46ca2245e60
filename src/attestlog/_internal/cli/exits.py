"""Exit codes and hints: which failure ends a command how, and what the user may do about it.

0    done; VERIFIED
1    TAMPERED: something does not hold, or what was read back is damaged
2    usage: the caller's mistake, nothing was done
3    MALFORMED: not a log, an entry, a key or a setting
4    UNKNOWN: could not be done or told (file, permission, disk, key, device, clock)
5    TRUNCATED or FORKED: contradicts a remembered checkpoint, or the log's own
6    INCOMPLETE: torn tail only
7    an append's outcome is unknown: look before appending again
70   a defect in attestlog itself
130  interrupted (Ctrl-C); 141: the reader of stdout went away
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attestlog import errors
from attestlog._internal.core.report import Report, Verdict

DONE, TAMPERED, USAGE, MALFORMED, UNKNOWN, CONTRADICTED, INCOMPLETE, UNCERTAIN = range(8)
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
    errors.TimestampError: UNKNOWN,
    errors.WitnessError: UNKNOWN,
    errors.RequestError: UNKNOWN,
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
    """What the user may do about it, or None where the message says all there is."""
    if error.evidence().get("closing"):
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


def _key_file(error: errors.AttestlogError) -> str:
    known = error.evidence()
    if known.get("needs_passphrase"):
        return "set ATTESTLOG_PASSPHRASE, or run it where a terminal can ask"
    if "mode" in known:
        return f"if nobody else can have read it: chmod 600 {known['path']}; otherwise make a new key"
    return "the signer URIs of a log stand in its log.toml; --signer and --checkpoint-signer name others"


def _signer(error: errors.AttestlogError) -> str:
    known = error.evidence()
    if known.get("needs_pin"):
        return "set ATTESTLOG_PIN, add pin-source=file:PATH to the URI, or run it where a terminal can ask"
    if known.get("retryable"):
        return (
            "nothing was written; do it again once the device is back, which attestlog doctor --signer tells"
        )
    return {
        "pin": "find out which PIN is right before it is locked: a refused one is not sent again",
        "ambiguous": "id= in the URI names one key, serial= one token",
        "exists": "nothing is ever overwritten: choose another label",
    }.get(str(known.get("reason")), "nothing was written; --signer names another key than log.toml does")


def _verification(error: errors.AttestlogError) -> str | None:
    report = error.evidence().get("report")
    if report is None:
        return None
    return f"attestlog verify {report.subject} shows what; --allow-damaged imports it as it is"


def _not_found(error: errors.AttestlogError) -> str | None:
    if "checkpoint_size" in error.evidence():
        return "attestlog checkpoint LOG signs a checkpoint over all entries there are"
    return "attestlog init LOG --origin NAME makes a log" if isinstance(error, errors.NoLogError) else None


def _exists(error: errors.AttestlogError) -> str | None:
    return (
        None if "sequence_number" in error.evidence() else "nothing is ever overwritten: choose another place"
    )


def _corrupt(error: errors.AttestlogError) -> str:
    return {
        "tree": "attestlog repair LOG makes the tree again from the entries",
        "config": "attestlog repair LOG makes log.toml again from the first entry",
        "checkpoint": "attestlog verify LOG says what still holds; restore the checkpoint from a copy",
    }.get(
        error.evidence().get("repair", ""),
        "attestlog verify LOG says what still holds, attestlog repair LOG what can be done",
    )


def _missing_extra(error: errors.AttestlogError) -> str:
    extra = str(error.evidence().get("extra"))
    return f"pip install 'attestlog[{extra}]'" if extra.isalnum() else f"pip install '{extra}'"


def _erasure_refused(error: errors.AttestlogError) -> str | None:
    return {
        "hold": "attestlog hold list LOG shows the holds, attestlog hold release ends one",
        "policy": "attestlog policy show LOG says what may be erased",
        "append": "attestlog erase LOG N erases the payload and appends the entry",
        "approval": "--propose FILE asks for approvals, --approval FILE takes them in",
    }.get(error.evidence().get("rule", ""))


_HINTS: Final[dict[type[errors.AttestlogError], str | Callable[[errors.AttestlogError], str | None]]] = {
    errors.KeyFileError: _key_file,
    errors.SignerError: _signer,
    errors.MalformedConfigError: "attestlog init --help describes origins, signers and settings",
    errors.TimestampError: "the checkpoint is signed and stored without it; ask again, or another authority",
    errors.VerificationError: _verification,
    errors.DerivedMemberError: "leave the member out, and the log derives it",
    errors.ApprovalRefusedError: "nothing was written; attestlog policy show LOG says who may approve what",
    errors.MalformedPolicyError: "docs/spec/policy.md has every member of a policy",
    errors.ConsistencyError: "the log no longer continues what it signed before: keep a copy of it as it is",
    errors.NotFoundError: _not_found,
    errors.ExistsError: _exists,
    errors.DeniedError: "the log's directory must be readable, and for appending writable, by this user",
    errors.FullError: "nothing was written; make room and append again",
    errors.BusyError: "nothing was written; see who holds the log's lock file, or try again",
    errors.FilesystemError: "put the log on a local disk; --any-filesystem is for one known to keep its word",
    errors.CorruptError: _corrupt,
    errors.UncertainCommitError: "look with attestlog tail LOG before appending the same again",
    errors.ClockError: "set the clock right (attestlog doctor shows it); nothing was written",
    errors.ErasureRefusedError: _erasure_refused,
    errors.QueryError: "attestlog query --help describes the filters",
    errors.MissingExtraError: _missing_extra,
}
