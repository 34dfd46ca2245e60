"""`attestlog demo`: what a log is good for. Each step really happens, in a folder of its own."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copytree, rmtree
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from attestlog._internal.cli import options
from attestlog._internal.cli.append import describe_receipt
from attestlog._internal.cli.output import Output, Piece
from attestlog._internal.cli.reports import STYLES
from attestlog._internal.cli.verbs import example, new_app
from attestlog._internal.places import all_below
from attestlog.errors import ActionBlockedError

if TYPE_CHECKING:
    from attestlog._internal.core.report import Report
    from attestlog._internal.log import Log, Receipt

app = new_app()

AGENT: Final[dict[str, Any]] = {"actor_id": "digital_organism_01", "actor_type": "AUTONOMOUS_AGENT"}
GOOD: Final = {"an_toan": 9, "duong_dai": 8.5, "tin_vao_so_lieu": 9, "han_che_rui_ro": 8}
PROOFS: Final = ["safety_floor", "rollback", "k1_state", "pillars"]
VIOLATION_NUMBER: Final = 5
"""Sequence number of the VIOLATION: the entry that somebody would like to change."""
OLD_SIZE: Final = 4
"""Entries of the older copy that an attacker kept: the VIOLATION is not among them."""

CHECK_LINES: Final = """\
digest = sha256(canonical(covered)).digest()
key = load_pem_public_key(genesis_key)
key.verify(signature, digest, ECDSA(SHA256()))""".splitlines()
CHECK_SCRIPT: Final = '''\
"""Does entry {number} prove itself? This needs Python and cryptography, and not attestlog."""
import json
from hashlib import sha256
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

def canonical(value):  # RFC 8785, for values as simple as these: ASCII names, short numbers
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

lines = open("{segment}", encoding="utf-8").read().splitlines()
genesis, entry = json.loads(lines[0]), json.loads(lines[{number}])
genesis_key = genesis["action_payload"]["entry_keys"][0]["public_key"].encode()
signature = bytes.fromhex(entry["hsm_signature"])
not_covered = ("action_payload", "entry_hash", "hsm_signature")
covered = {{name: value for name, value in entry.items() if name not in not_covered}}
assert entry["action_hash"] == sha256(canonical(entry["action_payload"])).hexdigest()

{body}
print("holds")
'''


@app.command(epilog=example("attestlog demo"))
def demo(as_json: options.JsonOption = False) -> None:
    """Write a log, verify it, tamper with it in two ways and see both caught; then prove one entry offline.

    Everything is in a new temporary folder, keys included, and the folder is kept. Every verdict shown is the
    verifier's own, on that log.
    """
    out, shown = Output(as_json), Demo(Path(tempfile.mkdtemp(prefix="attestlog-demo-")))
    if as_json:
        steps = [{"step": step.name, "title": step.title, **step.facts} for step in shown.steps()]
        paths = {name: getattr(shown, name) for name in ("folder", "home", "log", "check")}
        out.emit("demo", {**paths, "steps": steps})
        return
    out.text(("attestlog", "bold"), " records what people and AI agents did: nobody can change it unnoticed.")
    for number, step in enumerate(shown.steps(), 1):
        out.text()
        out.text((f"{number}  {step.title}", "bold"))
        for line in step.lines:
            out.text("   ", *line)
        out.flush()
    out.text()
    out.text((f"Everything is in {shown.folder}. Continue from here:", "bold"))
    log, home, proof = (shlex.quote(str(path)) for path in (shown.log, shown.home, shown.proof))
    for command in (
        f"export ATTESTLOG_HOME={home}", f"attestlog tail {log}", f"attestlog show {log} {VIOLATION_NUMBER}",
        f"attestlog append {log} --event-type ACTION --action-type hello --actor-id me",
        f"attestlog report {log} -o {shlex.quote(str(shown.folder / 'report.html'))}",
        f"attestlog explore {log}",
        f"attestlog verify {log} --trust {shown.vkey}", f"attestlog verify {proof} --trust {shown.vkey}",
        "attestlog --help",
    ):  # fmt: skip
        out.text("   ", (command, "cyan"))


@dataclass
class Step:
    """One step: its name for programs, its title and lines for people, and the facts behind them."""

    name: str
    title: str
    facts: dict[str, Any] = field(default_factory=dict)
    lines: list[list[Piece]] = field(default_factory=list)

    def show(self, report: Report, when: str = "") -> Self:
        """Add a verdict, and the faults that the verifier found."""
        faults = [finding for finding in report.findings if finding.verdict != "VERIFIED"]
        self.facts.setdefault("reports", []).append({
            "circumstance": when, "verdict": report.verdict, "size": report.size,
            "trusted_by": report.trusted_by, "findings": msgspec.to_builtins(faults),
        })  # fmt: skip
        label: list[Piece] = [f"{when:<13}" if when else "", (report.verdict, STYLES[report.verdict])]
        for fault in faults:
            where = "" if fault.sequence_number is None else f"entry {fault.sequence_number}: "
            self.lines.append([*label, f"  {where}{fault.message}"])
            label = [" " * (13 * bool(when) + len(report.verdict))]
        self.lines += [] if faults else [[*label, f"  {report.size} entries"]]
        return self


class Demo:
    """A log in a folder of its own, with its own keys and memory; nothing of the user's is touched."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.log = folder, folder / "home", folder / "audit"
        self.older, self.kept, self.memory = folder / "older", folder / "kept", self.home / "state"
        self.proof, self.check = folder / f"entry-{VIOLATION_NUMBER}.tlog-proof", folder / "check.py"
        self.segment, self.vkey = self.log / "entries" / "000000000000.jsonl", ""

    def steps(self) -> Iterator[Step]:
        """Everything, in order; nothing of the user is read or written."""
        for step in (
            self._record, self._verify, self._edit_a_byte, self._put_an_older_copy_back,
            self._prove_without_the_log, self._check_without_attestlog,
        ):  # fmt: skip
            with all_below(self.home):
                done = step()
            yield done

    def _record(self) -> Step:
        from attestlog._internal.log import Log

        step, receipts = Step("record", "Six things happen, or are prevented, and are recorded"), []
        keys = [f"file:{self.home}/keys/{name}.pem" for name in ("signer", "checkpoint_signer")]
        with Log.create(
            self.log, origin="example.com/demo", signer=keys[0], checkpoint_signer=keys[1]
        ) as log:
            (self.vkey,) = log.vkeys
            for receipt in _afternoon(log):
                receipts.append(receipt)
                if receipt.sequence_number == OLD_SIZE - 1:
                    log.checkpoint()
                    copytree(self.log, self.older)
        for entry in (receipt.entry for receipt in receipts):
            what = f"{entry.sequence_number}  {entry.event_type:<9}  {entry.action_type:<28}"
            step.lines.append([f"{what}  {entry.execution_status:<7}  {entry.entry_hash[:16]}…"])
        step.facts = {"vkey": self.vkey, "entries": list(map(describe_receipt, receipts))}
        return step

    def _verify(self) -> Step:
        step = Step("verify", "Anyone with the public key can verify all of it").show(self._report())
        step.lines[-1].append(f", confirmed by {_name(step.facts['reports'][0]['trusted_by'][0])}")
        return step

    def _edit_a_byte(self) -> Step:
        step = Step("edit", f"Somebody changes one byte of entry {VIOLATION_NUMBER}: 6.2 becomes 7.2")
        before = self.segment.read_bytes()
        edited = before.replace(b'"safety_score":6.2', b'"safety_score":7.2', 1)
        step.facts["bytes_changed"] = sum(old != new for old, new in zip(before, edited, strict=True))
        self.segment.write_bytes(edited)
        step.show(self._report())
        self.segment.write_bytes(before)
        return step.show(self._report(), "put back")

    def _put_an_older_copy_back(self) -> Step:
        step = Step("cut", f"Somebody puts an older copy in its place, which ends after entry {OLD_SIZE - 1}")
        self.log.rename(self.kept)
        copytree(self.older, self.log)
        step.show(self._report(remember=False), "by itself").show(self._report(), "seen before")
        rmtree(self.log)
        self.kept.rename(self.log)
        return step.show(self._report(), "put back")

    def _prove_without_the_log(self) -> Step:
        from attestlog._internal.proving import prove
        from attestlog._internal.verifying import judge_proof

        self.proof.write_bytes(prove(self.log, VIOLATION_NUMBER))
        self.log.rename(self.kept)
        report = judge_proof(self.proof, trust=[self.vkey])
        self.kept.rename(self.log)
        facts = {"proof": str(self.proof), "report": msgspec.to_builtins(report)}
        step = Step("prove", f"One file proves entry {VIOLATION_NUMBER}, without the log", facts)
        where = f"  entry {report.sequence_number} of {report.size}, by {_name(report.signed_by[0])}"
        step.lines.append([(report.verdict, STYLES[report.verdict]), where])
        return step

    def _check_without_attestlog(self) -> Step:
        segment, body = self.segment.relative_to(self.folder), "\n".join(CHECK_LINES)
        self.check.write_text(CHECK_SCRIPT.format(number=VIOLATION_NUMBER, segment=segment, body=body))
        printed = subprocess.check_output([sys.executable, "-I", self.check], cwd=self.folder)  # noqa: S603
        step = Step("alone", f"Three lines of Python check entry {VIOLATION_NUMBER}, without attestlog")
        step.facts = {"script": str(self.check), "lines": CHECK_LINES, "holds": printed == b"holds\n"}
        step.lines += [[(line, "cyan")] for line in CHECK_LINES]
        step.lines.append(["the signature ", (printed.decode().strip(), "bold green")])
        return step

    def _report(self, *, remember: bool = True) -> Report:
        from attestlog._internal.verifying import judge_log as judge

        return judge(self.log, trust=[self.vkey], remember=remember, state_dir=self.memory, workers=1)


def _afternoon(log: Log) -> Iterator[Receipt]:
    """What an agent, the system and the people who watch them do."""
    yield log.boot(
        "system_initialization", actor_id="haios_core", required_proofs=["attribution_intact"],
        provided_proofs=[{"type": "attribution_intact", "valid": True}],
        action_payload={"version": "1.0.0", "invariants_loaded": 7, "initial_k_state": 1},
    )  # fmt: skip
    task = {"action_payload": {"task_id": "TASK-042"}, "pillars_scores": GOOD}
    yield from _act(log, "execute_autonomous_task", **AGENT, **task)
    risk = {"action_payload": {"reason": "it reports too much"}, "pillars_scores": {"an_toan": 6.2}}
    yield from _act(log, "disable_monitoring", **AGENT, **risk)
    left = {"reasoning": "needs a manual step in a browser"}
    yield log.decision("skip_social_preview_upload", event_category="WARNING", **AGENT, action_payload=left)
    lower = {"proposal_id": "PROP-7", "scope": "safety_floor", "old_value": 7, "new_value": 6.5}
    yield from _act(
        log, "modify_policy_rule", event_type="CHANGE", event_category="CRITICAL",
        actor_id="council_of_three", actor_type="HUMAN", pillars_scores=GOOD, required_proofs=PROOFS,
        provided_proofs=[{"type": proof, "valid": True} for proof in PROOFS], rollback_available=True,
        rollback_snapshot_hash="5f" * 32, action_payload={**lower, "change_description": "lower the floor"},
    )  # fmt: skip
    yield log.shutdown("system_shutdown", actor_id="haios_core", action_payload={"reason": "end of day"})


def _act(log: Log, action_type: str, **members: Any) -> Iterator[Receipt]:
    """Under guard: the intent is written before the act and the outcome after it, or a VIOLATION instead."""
    act = log.guard(action_type=action_type, **members)
    with suppress(ActionBlockedError), act:
        act.result = {"done": True}
    yield from filter(None, (act.intent, act.outcome))


def _name(vkey: str) -> str:
    return "+".join(vkey.split("+")[:2])  # without the key itself
