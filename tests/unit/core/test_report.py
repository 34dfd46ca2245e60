"""Reports: the gravest finding is the verdict, no report is true or false, and each verdict has its error."""

import pickle

import pytest

from attestlog._internal.core.report import FINDINGS_KEPT_MAX, Finding, ProofReport, Report, Verdict
from attestlog.errors import ContradictedError, TamperedError, UnverifiedError, VerdictError

ERRORS = {
    Verdict.TAMPERED: TamperedError,
    Verdict.TRUNCATED: ContradictedError,
    Verdict.FORKED: ContradictedError,
    Verdict.UNKNOWN: UnverifiedError,
    Verdict.INCOMPLETE: UnverifiedError,
    Verdict.MALFORMED: UnverifiedError,
}
Kind = type[Report] | type[ProofReport]
KINDS = pytest.mark.parametrize("kind", [Report, ProofReport])


def found(kind: Kind, *verdicts: Verdict) -> Report | ProofReport:
    report = kind(subject="audit")
    for number, verdict in enumerate(verdicts):
        report.add(Finding(code=f"some.{number}", message=f"finding {number}", verdict=verdict))
    return report


@KINDS
@pytest.mark.parametrize("verdict", Verdict)
def test_each_verdict_is_ok_or_has_its_error(kind: Kind, verdict: Verdict) -> None:
    report = found(kind, Verdict.VERIFIED, verdict)
    assert report.ok == (verdict == Verdict.VERIFIED)
    if report.ok:
        report.raise_for_verdict()
        return
    with pytest.raises(VerdictError, match=f"^audit: {verdict}: finding 1$") as caught:
        report.raise_for_verdict()
    assert type(caught.value) is ERRORS[verdict]
    assert (caught.value.verdict, caught.value.report) == (verdict, report)
    assert pickle.loads(pickle.dumps(caught.value)).report == report  # noqa: S301 - made right here


@KINDS
def test_the_error_tells_of_the_gravest_finding(kind: Kind) -> None:
    report = found(kind, Verdict.INCOMPLETE, Verdict.FORKED, Verdict.TRUNCATED, Verdict.VERIFIED)
    with pytest.raises(ContradictedError, match=r"^audit: FORKED: finding 1$"):
        report.raise_for_verdict()


def test_the_error_of_a_finding_that_was_not_kept() -> None:
    report = found(Report, *[Verdict.VERIFIED] * FINDINGS_KEPT_MAX, Verdict.TAMPERED)
    with pytest.raises(TamperedError, match=r"^audit: TAMPERED$"):
        report.raise_for_verdict()


@KINDS
def test_a_report_has_no_truth_value(kind: Kind) -> None:
    with pytest.raises(TypeError, match=r"report\.ok"):
        bool(found(kind))
    with pytest.raises(TypeError, match=r"raise_for_verdict"):
        assert not found(kind, Verdict.TAMPERED)  # type: ignore[truthy-bool]
