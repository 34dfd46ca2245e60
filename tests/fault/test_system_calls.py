"""The kernel fails one system call of a writer in a process of its own; strace makes it do so.

In-process faults (`test_io_errors`) know only the calls the code makes through `os`; here it is every
write, sync, rename and cut of the process, whoever makes it.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fault.processes import Promises, create_shared
from tests.support.slow import slow_after
from tests.support.tally import tally
from tests.support.tools import tool

from attestlog._internal.core.report import Verdict
from attestlog._internal.log import Log
from attestlog._internal.verifying import judge_log

WRITER = Path(__file__).with_name("system_calls_writer.py")
CALLS = {
    "write": ("EIO", "ENOSPC"), "pwrite64": ("EIO", "ENOSPC"), "fdatasync": ("EIO", "ENOSPC"),
    "fsync": ("EIO", "ENOSPC"), "rename": ("EIO", "ENOSPC"), "ftruncate": ("EIO",),
}  # fmt: skip
EVERY = 1 if int(os.environ.get("ATTESTLOG_FAULT_ROUNDS", "4")) > 4 else 5
"""Each occurrence in the long campaign; each fifth, and the first, in the short one."""


def run(path: Path, *options: str) -> tuple[str, str]:
    """A writer under strace: what it said, and strace's account of it."""
    trace = path.with_name("trace")
    command = [
        tool("strace"),
        "-f",
        "-qq",
        "-o",
        str(trace),
        *options,
        sys.executable,
        str(WRITER),
        str(path),
    ]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    account = trace.read_text(errors="replace")
    if "Operation not permitted" in done.stderr and not account:
        pytest.skip("strace may not trace here")
    return done.stdout, account


def occurrences(account: str, call: str) -> int:
    return len(re.findall(rf"^\d+ +{call}\(", account, re.MULTILINE))


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """How often each call is made in a run without faults."""
    path = tmp_path_factory.mktemp("whole") / "log"
    create_shared(path, segment_entries=4).close()
    said, account = run(path, "-e", f"trace={','.join(CALLS)}")
    assert said.count("ack") == 9, said
    assert judge_log(path, remember=False).verdict == Verdict.VERIFIED
    return {call: occurrences(account, call) for call in CALLS}


@pytest.mark.parametrize(
    "call, error", slow_after(1, [(call, error) for call, errors in CALLS.items() for error in errors])
)
def test_each_occurrence_fails_once(tmp_path: Path, call: str, error: str, counts: dict[str, int]) -> None:
    if call == "ftruncate":
        # Only made to take a short write back: let a write be short, then let the cut fail.
        assert counts[call] == 0
    else:
        assert counts[call] > 0
    struck = 0
    for nth in range(1, max(1, counts[call]) + 1, EVERY):
        path = tmp_path / str(nth) / "log"
        create_shared(path, segment_entries=4).close()
        inject = ["-e", f"trace={','.join(CALLS)}", "-e", f"inject={call}:error={error}:when={nth}"]
        if call == "ftruncate":
            inject += ["-e", "inject=write:error=EIO:when=2"]  # after `try`, the first entry
        said, account = run(path, *inject)
        assert "(INJECTED)" in account
        tally(f"system calls failed by the kernel: {call} with {error}")
        struck += 1
        assert call != "ftruncate" or "unknown w.0" in said, said
        check(path, said, f"{call} {nth} with {error}: {said}")
    assert struck


def check(path: Path, said: str, where: str) -> None:
    """Before and after recovery: the verifier sees no tampering, and what was promised is there."""
    promises = Promises()
    promises.read(said.encode())
    promises.tried.update(
        f"w.{number}" for number in range(9)
    )  # that it could not be said takes nothing back
    report = judge_log(path, remember=False)
    assert report.verdict in {Verdict.VERIFIED, Verdict.INCOMPLETE}, f"{where} {report.findings[:3]}"
    with Log.open(path) as log:
        promises.tried.add("last.0")
        log.append(event_type="ACTION", action_type="a", actor_id="b", action_payload={"name": "last.0"})
    entries = promises.check(path)
    names = {str((entry.action_payload or {}).get("name")) for entry in entries}
    refused = set(re.findall(r"^refused (\S+)$", said, re.MULTILINE))
    assert not refused & names, f"{where}: something is left of what was refused"
    assert judge_log(path, remember=False).verdict == Verdict.VERIFIED, where
