"""Exit codes and hints: the tables are complete, and say what the documentation says."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.repository import parsed

from attestlog import errors
from attestlog._internal.cli import exits
from attestlog._internal.core.report import Finding, Report, Verdict
from attestlog.errors import AttestlogError


def classes(kind: type[AttestlogError] = AttestlogError) -> Iterator[type[AttestlogError]]:
    for child in kind.__subclasses__():
        yield child
        yield from classes(child)


DOCUMENTED = {int(code) for code in re.findall(r"^(\d+) ", exits.__doc__ or "", re.MULTILINE)}


def test_codes_are_documented() -> None:
    used = {*exits.BY_VERDICT.values(), *exits.BY_ERROR.values(), exits.NOT_WANTED, exits.DEFECT}
    used.add(exits.INTERRUPTED)
    assert used == DOCUMENTED


@pytest.mark.parametrize("kind", sorted(set(classes()), key=str))
def test_every_error_has_an_exit_code_and_a_hint_that_can_be_made(kind: type[AttestlogError]) -> None:
    if kind.__module__ != errors.__name__:
        pytest.skip("made up by another test")
    error = kind("what was got")
    assert exits.exit_code(error) in DOCUMENTED - {exits.DONE}
    hint = exits.hint(error)
    assert hint is None or not hint.endswith(".")


def test_every_family_of_errors_stands_in_the_table() -> None:
    families = {kind for kind in AttestlogError.__subclasses__() if kind.__module__ == errors.__name__}
    assert families - set(exits.BY_ERROR) == set()


def test_every_verdict_has_its_code() -> None:
    assert {str(verdict): code for verdict, code in exits.BY_VERDICT.items()} == {
        "VERIFIED": 0, "TAMPERED": 1, "MALFORMED": 3, "UNKNOWN": 4, "TRUNCATED": 5, "FORKED": 5,
        "INCOMPLETE": 6,
    }  # fmt: skip
    assert set(exits.BY_VERDICT) == set(Verdict)


@pytest.mark.parametrize(
    "error, code",
    [
        (errors.MalformedConfigError(""), 3),
        (errors.SignatureInvalidError(""), 1),
        (errors.CorruptError(""), 1),
        (errors.ConsistencyError(""), 5),
        (errors.KeyFileError(""), 4),
        (errors.FullError(""), 4),
        (errors.ExistsError(""), 2),
        (errors.QueryError(""), 2),
        (errors.UncertainCommitError(""), 7),
    ],
)
def test_nearest_ancestor_decides(error: AttestlogError, code: int) -> None:
    assert exits.exit_code(error) == code


def test_an_error_with_a_report_ends_as_its_verdict() -> None:
    report = Report(subject="old.jsonl", format="legacy")
    report.add(Finding(code="legacy.torn", message="", verdict=Verdict.INCOMPLETE))
    error = errors.VerificationError("", report=report)
    assert exits.exit_code(error) == 6
    assert "old.jsonl" in (exits.hint(error) or "")


@pytest.mark.parametrize(
    "error, said",
    [
        (errors.KeyFileError("", path="k.pem", needs_passphrase=True), "ATTESTLOG_PASSPHRASE"),
        (errors.KeyFileError("", path="k.pem", mode=0o640), "chmod 600 k.pem"),
        (errors.KeyFileError("", path="k.pem", log="audit"), "attestlog configure"),
        (errors.KeyFileError("", path="k.pem"), None),
        (errors.WrongKeyError("", log="audit"), "attestlog configure"),
        (errors.SignerError(""), None),
        (errors.SignerError("", retryable=True), "attestlog doctor --signer"),
        (errors.SignerError("", needs_pin=True), "ATTESTLOG_PIN"),
        (errors.CorruptError("", repair="entries"), "attestlog verify"),
        (errors.CorruptError("", path="witness.db"), None),
        (errors.NoLogError(""), "attestlog init"),
        (errors.NoConfigError(""), "attestlog configure"),
        (errors.NoHomeError(""), "ATTESTLOG_HOME"),
        (errors.NotFoundError(""), None),
        (errors.NotFoundError("", checkpoint_size=3), "attestlog checkpoint"),
        (errors.MalformedConfigError("", member="origin"), "attestlog init --help"),
        (errors.MalformedConfigError("", member="replicas"), "attestlog replica add --help"),
        (errors.MalformedConfigError("", file="tokens.toml"), None),
        (errors.MalformedConfigError("", member="tsa_root"), None),
        (errors.ApprovalUsedError("", used_by=1), "attestlog approval request"),
        (errors.RuleChangeError("", expected={"approvals": {"have": 0, "need": 2}}), "0 of the 2 approvals"),
        (errors.RuleChangeError("", expected={"roles": ["auditor"]}), "no approval of role auditor"),
        (errors.RuleChangeError("", expected=1), None),
        (errors.QueryError("", member="since"), "attestlog query --help"),
        (errors.QueryError(""), None),
        (errors.VerificationError("", report=Report(format="attestlog")), "another replica"),
        (errors.DeniedError("", path="p"), "access to p"),
        (errors.UncertainCommitError(""), "attestlog tail"),
        (errors.FullError("", closing=True), "what was appended is stored"),
    ],
)
def test_a_hint_is_for_a_cause(error: AttestlogError, said: str | None) -> None:
    hint = exits.hint(error)
    assert said in hint if said and hint else hint is said


def stated(kind: str, member: str) -> set[str]:
    """The constants that the source gives for a member of the evidence of this class."""
    found: set[str] = set()
    for path in Path(errors.__file__).parent.rglob("*.py"):
        for node in ast.walk(parsed(path)):
            match node:
                case ast.Call(func=ast.Name(id=name), keywords=keywords) if name == kind:
                    found |= {
                        str(keyword.value.value)
                        for keyword in keywords
                        if keyword.arg == member and isinstance(keyword.value, ast.Constant)
                    }
    return found


@pytest.mark.parametrize(
    "kind, member, without",
    [
        (errors.ExistsError, "what", {"import", "request"}),
        (errors.CorruptError, "repair", set()),
        (errors.ErasureRefusedError, "rule", {"erased", "again", "none"}),
    ],
)
def test_every_cause_has_its_hint(kind: type[AttestlogError], member: str, without: set[str]) -> None:
    """`without`: where the message says all there is."""
    causes = stated(kind.__name__, member)
    assert len(causes) > 2
    hints = {cause: exits.hint(kind("", **{member: cause})) for cause in causes}
    assert {cause for cause, hint in hints.items() if hint is None} == without
