"""What a user's type checker says: mypy --strict, of the package as it is installed, outside the checkout.

Each line of BAD must fail, with the code that it names; all of GOOD, and every Python block of README and the
guides, must pass.
"""

import re
import subprocess
import sys
from typing import NamedTuple

import pytest
from tests.support.repository import ROOT

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

PREAMBLE = """
from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_type

import attestlog
from attestlog import DraftMembers, EventType, FilterMembers, Guard, Log, Receipt
from attestlog.errors import ActionBlockedError, AttestlogError, QuorumError, SignerError
from attestlog.testing import MemorySigner

log = attestlog.open("audit")
guarded = log.guard(action_type="restart", actor_id="agent-7")
"""

GOOD = """
draft: DraftMembers = {"event_type": "ACTION", "action_type": "deploy", "actor_id": "agent-7"}
mapping: Mapping[str, Any] = draft
assert_type(log.append(**draft), Receipt)
log.append(mapping)
log.append(attestlog.EntryDraft(event_type=EventType.ACTION, action_type="deploy", actor_id="agent-7"))
log.append(event_type=EventType.CHANGE, action_type="x", actor_id="a", action_payload={"a": [1]}, severity=3)
log.action("deploy", actor_id="a", pillars_scores={"an_toan": 9, "duong_dai": 8.5}, dependencies=("x", "y"))
log.append(event_type="BOOT", action_type="x", actor_id="a", provided_proofs=[{"type": "t", "valid": True}])
log.rotate_key("file:new.pem", event_category="WARNING")
log.erase(7, reason="asked for", actor_id="dpo", received_approvals=[{"signer": "ana"}])
assert_type(log.submit(**draft).result(), Receipt)
attestlog.create("audit", origin="example.com/x", policy={}, settings=attestlog.Settings(batch=False))


async def main() -> None:
    assert_type(await log.append_async(**draft), Receipt)
    async with log.guard(action_type="deploy", actor_id="a", event_type="CHANGE", snapshot=Path("x")) as act:
        assert_type(act, Guard)
    assert_type(await later(1), str)
    async with await attestlog.open_async("audit", ack_replicas=1) as opened:
        assert_type(opened, Log)
        async for entry in opened.query_async(since="7d"):
            assert_type(entry, attestlog.Entry)
    async for entry in attestlog.query_log_async("audit", actor_id="agent-7"):
        pass


@log.guard(action_type="restart", actor_id="a", action_payload=lambda service, times: {"service": service})
def restart(service: str, times: int = 1) -> dict[str, str]:
    return {"restarted": service * times}


@log.guard(action_type="restart", actor_id="a")
async def later(number: int) -> str:
    return str(number)


assert_type(restart("web", times=2), dict[str, str])
filter_: FilterMembers = {"event_type": "VIOLATION", "since": "7d"}
for entry in attestlog.query_log("audit", **filter_):
    assert_type(entry.sequence_number, int)
log.query(actor_id="agent-7", payload={"commit": "372b274"}, limit=3)
attestlog.query_page("audit", attestlog.Filter(limit=3), now_us=1)
attestlog.NumberedActor(log, "a").append(event_type="ACTION", action_type="x", result_data={})
report = attestlog.verify("audit", trust=["key.pem"])
assert_type(report, attestlog.Report)
assert_type(report.ok, bool)
report.raise_for_verdict()
if report.ok and report.verdict == attestlog.Verdict.VERIFIED:
    attestlog.verify_proof(log.prove(7), trust=log.vkeys)
try:
    log.append(**draft)
except SignerError as error:
    assert_type(error.retryable, bool)
except ActionBlockedError as error:
    print(error.reasons[0]["message"])
except QuorumError as error:
    assert_type(error.quorum, str)
except AttestlogError as error:
    print(error.code, error.evidence()["path"])


class Ours:
    uri = "ours:key"
    public_key = MemorySigner().public_key

    def sign(self, message: bytes) -> bytes:
        return message

    def close(self) -> None:
        pass


signer: attestlog.Signer = Ours()
attestlog.register_scheme("ours", lambda uri, passphrase: Ours())
attestlog.register_proof("ci_passed", lambda claim: claim.proof["run"] == claim.actor_id)
"""

BAD = """
log.append(evnt_type=3)  # [call-overload]
log.append(event_type="ACTION", action_type="x")  # [call-overload]
log.append(event_type="NOTHING", action_type="x", actor_id="a")  # [call-overload]
log.append(event_type="ACTION", action_type="x", actor_id="a", severity="high")  # [call-overload]
log.append(event_type="ACTION", action_type="x", actor_id="a", dependencies="x")  # [call-overload]
log.append({"event_type": "ACTION"}, actor_id="a")  # [call-overload]
log.append()  # [call-overload]
log.submit(event_type="ACTION", action_type="x", actor_id=7)  # [call-overload]
log.request(event_type="ACTION", action_type="x", actr_id="a")  # [call-overload]
log.action("x", actor_id="a", pillars_scores={"an_toan": "9"})  # [arg-type]
log.decision("x", actor_id="a", event_type="ACTION")  # [call-arg]
log.violation("x", actor="a")  # [call-arg]
log.rotate_key("file:new.pem", actor=3)  # [call-arg]
log.erase(7, reason="x", actor_id="a", action_payload={})  # [call-arg]
log.guard(action_type="x", actor_id="a", snapshoot=1)  # [call-arg]
log.guard(action_type="x", actor_id="a", snapshot=1)  # [arg-type]
log.guard(action_type="x", actor_id="a", event_type="BOOT")  # [arg-type]
log.query(actr="agent-7")  # [call-arg]
log.query(limit="3")  # [arg-type]
attestlog.query_log("audit", actr="agent-7")  # [call-arg]
attestlog.query_page("audit", event_type="VIOLATIONS")  # [arg-type]
attestlog.NumberedActor(log, "a").append(event_type="ACTION", action_type="x", payload={})  # [call-arg]
attestlog.verify("audit").raise_for_status()  # [attr-defined]
attestlog.verify("audit", policy="trust.txt")  # [call-arg]
attestlog.verify_proof(b"", trust_policy=3)  # [arg-type]
if attestlog.verify("audit"): print("shipped")  # [truthy-bool]
if not attestlog.judge_proof(b""): print("stopped")  # [truthy-bool]
AttestlogError("x").member  # [attr-defined]
SignerError("x").sequence_number  # [attr-defined]
attestlog.parse_polcy  # [attr-defined]
guarded(print)("x", ende="")  # [call-overload]
guarded(len)(3)  # [arg-type]
"""


class Complaint(NamedTuple):
    """One error that mypy finds."""

    file: str
    line: int
    code: str
    message: str


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> list[Complaint]:
    folder = tmp_path_factory.mktemp("typed")
    (folder / "good.py").write_text(PREAMBLE + GOOD)
    (folder / "bad.py").write_text(PREAMBLE + BAD)
    for page in PAGES:
        if blocks := BLOCK.findall(page.read_text(encoding="utf-8")):
            (folder / f"{page.stem.replace('-', '_').lower()}_page.py").write_text("\n".join(blocks))
    for example in EXAMPLES:
        (folder / f"{example.stem}_example.py").write_text(example.read_text(encoding="utf-8"))
    command = [sys.executable, "-m", "mypy", "--strict", "--enable-error-code=truthy-bool", "--no-pretty"]
    command += ["--show-error-codes", "--config-file=", "--cache-dir=cache"]
    names = sorted(path.name for path in folder.glob("*.py"))
    assert len(names) > 10
    done = subprocess.run([*command, *names], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    found = re.findall(r"^(\w+\.py):(\d+): error: (.*)  \[([a-z-]+)\]$", done.stdout, re.MULTILINE)
    return [Complaint(file, int(line), code, message) for file, line, message, code in found]


def test_misspelt_names_and_wrong_types_fail(complaints: list[Complaint]) -> None:
    lines = enumerate((PREAMBLE + BAD).splitlines(), 1)
    expected = {number: line.rpartition("# [")[2].rstrip("]") for number, line in lines if "  # [" in line}
    assert len(expected) > 20
    assert {item.line: item.code for item in complaints if item.file == "bad.py"} == expected


def test_good_uses_the_guides_and_the_examples_pass(complaints: list[Complaint]) -> None:
    found = [item for item in complaints if item.file != "bad.py"]
    assert not found, "\n".join(map(str, found))
