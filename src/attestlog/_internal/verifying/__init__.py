"""The whole-log verifier for the embedded directory: trusts nothing of the writer, and imports nothing of it.

    report = verify_log("audit", trust=["public.pem"])
    report.verdict, report.findings

What it reads, in order: entry 0, which says whose log this is and under which
keys; what stands beside the entries (`beside`); what it remembers of this
origin from before (`remember`); then every line, once, in chunks that several
processes can share (`source`, `workers`). A chunk is one fold over lines
(`scan`, `batches`), the chunks are joined in order (`walk`), relations between
entries are settled (`relations`), and the whole is held against stored tree,
checkpoint and memory (`stored`, `conclude`) and against the caller's own keys
(`trust`). `findings` lists every code and what it amounts to.

A proof file, with no log at hand, is judged by `proofs`.

It goes on after a finding, from where the file says it is, so that one broken
place gives one or two findings. Memory stays flat.
"""

from attestlog._internal.judging.findings import FINDINGS, VERDICTS
from attestlog._internal.verifying.directory import verify_log
from attestlog._internal.verifying.proof import is_proof, judge_proof, verify_proof
from attestlog._internal.verifying.published import verify_published

__all__ = [
    "FINDINGS",
    "VERDICTS",
    "is_proof",
    "judge_proof",
    "verify_log",
    "verify_proof",
    "verify_published",
]
