"""The verifiers: a log, a published log or a proof goes in, a report comes out.

    report = judge_log("audit", trust=["public.pem"])
    report.verdict, report.findings

They trust nothing of the writer, and import nothing of it.

`whole` judges a log by its entries. It reads, in order: entry 0, which says
whose log this is and under which keys; what stands beside the entries; what it
remembers of this origin from before (`memory`); then every line, once, in
pieces that several processes can share (`source`, `workers`). The rules are in
`judging`. Read to its end, the log is held against its stored tree, its
checkpoint, the memory, time stamps (`timestamps`) and the caller's own keys
(`session`, which all verifiers share).

`published` judges a published log by its checkpoint and tiles, `proof` a proof
file with no log at hand.

A verifier goes on after a finding, from where the file says it is, so that one
broken place gives one or two findings. Memory stays flat.
"""

from attestlog._internal.judging.findings import FINDINGS, VERDICTS
from attestlog._internal.verifying.proof import is_proof, judge_proof, verify_proof
from attestlog._internal.verifying.published import judge_published
from attestlog._internal.verifying.whole import judge_log

__all__ = [
    "FINDINGS",
    "VERDICTS",
    "is_proof",
    "judge_log",
    "judge_proof",
    "judge_published",
    "verify_proof",
]
