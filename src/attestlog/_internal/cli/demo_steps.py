"""What the demo does, step by step. Each step really happens, and says what really came of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import msgspec

from attestlog._internal.cli import demo_events as events
from attestlog._internal.cli.append import describe_receipt
from attestlog._internal.cli.output import Piece
from attestlog._internal.cli.reports import STYLES
from attestlog._internal.core.note import format_vkey
from attestlog._internal.core.report import Finding, Report, Verdict
from attestlog._internal.log import Log, Receipt
from attestlog._internal.proving import prove
from attestlog._internal.storage.files.layout import ENTRIES_DIR, segment_name
from attestlog._internal.verifying import judge_proof, verify_log
from attestlog.errors import ActionBlockedError

ORIGIN = "example.com/demo"


@dataclass
class Step:
    """One step: its name for programs, its title and lines for people, and what came of it."""

    name: str
    title: str
    facts: dict[str, Any] = field(default_factory=dict)
    lines: list[list[Piece]] = field(default_factory=list)


class Demo:
    """A log in a folder of its own, with keys and memory of its own; nothing of the user's is touched."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.log = folder, folder / "home", folder / "audit"
        self.older = folder / "older-copy"
        self.proof = folder / f"entry-{events.VIOLATION_NUMBER}.tlog-proof"
        self.segment = self.log / ENTRIES_DIR / segment_name(0)
        self.vkey = ""

    def steps(self) -> Iterator[Step]:
        """Everything, in order."""
        yield self._make_and_record()
        yield self._verify()
        yield self._edit_a_byte()
        yield self._restore_an_older_copy()
        yield self._prove_with_the_log_gone()
        yield self._check_without_attestlog()

    def _make_and_record(self) -> Step:
        step = Step("record", "Six things happen, or are kept from happening, and are recorded")
        keys = {role: f"file:{self.home}/keys/{role}.pem" for role in ("signer", "checkpoint_signer")}
        receipts: list[Receipt] = []
        with Log.create(self.log, origin=ORIGIN, **keys) as log:  # type: ignore[arg-type]
            self.vkey = format_vkey(log.genesis.checkpoint_keys[0])
            for event in events.EVENTS:
                if len(receipts) == events.SEEN_NUMBER:
                    log.checkpoint()
                    copytree(self.log, self.older)
                receipts += _record(log, **event)
        for receipt in receipts:
            entry = receipt.entry
            step.lines.append([
                f"{receipt.sequence_number}  {entry.event_type:<9}  {entry.action_type:<27}  ",
                f"{entry.execution_status:<7}  ", (f"{receipt.entry_hash[:16]}…", "bright_black"),
            ])  # fmt: skip
        step.facts = {
            "origin": ORIGIN,
            "vkey": self.vkey,
            "entries": [describe_receipt(receipt) for receipt in receipts],
        }
        return step

    def _verify(self) -> Step:
        step = Step("verify", "Whoever has the public key can verify all of it")
        report = self._report()
        self._judge(step, "", report)
        # Name and key ID of the verifier key, without the key itself.
        step.lines[-1].append(f", confirmed by {', '.join(_name(key) for key in report.trusted_by)}")
        return step

    def _edit_a_byte(self) -> Step:
        step = Step("edit", f"Somebody changes one byte of entry {events.VIOLATION_NUMBER}: 6.2 becomes 7.2")
        before = self.segment.read_bytes()
        edited = before.replace(events.BYTE_BEFORE, events.BYTE_AFTER, 1)
        step.facts["bytes_changed"] = sum(old != new for old, new in zip(before, edited, strict=True))
        self.segment.write_bytes(edited)
        self._judge(step, "", self._report())
        self.segment.write_bytes(before)
        self._judge(step, "put back", self._report())
        return step

    def _restore_an_older_copy(self) -> Step:
        left = events.SEEN_NUMBER + 1
        step = Step("cut", f"Somebody puts an older copy in its place, which ends after entry {left - 1}")
        kept = self.log.rename(self.folder / "audit.kept")
        copytree(self.older, self.log)
        self._judge(step, "by itself", self._report(remember=False))
        self._judge(step, "seen before", self._report())
        rmtree(self.log)
        kept.rename(self.log)
        self._judge(step, "put back", self._report())
        return step

    def _prove_with_the_log_gone(self) -> Step:
        number = events.VIOLATION_NUMBER
        step = Step("prove", f"Entry {number} proves itself from one file, with the log gone")
        self.proof.write_bytes(prove(self.log, number))
        kept = self.log.rename(self.folder / "audit.kept")
        report = judge_proof(self.proof, trust=[self.vkey])
        kept.rename(self.log)
        step.facts = {"proof": str(self.proof), "report": msgspec.to_builtins(report)}
        line: list[Piece] = [(report.verdict, STYLES[report.verdict])]
        if report.verdict == Verdict.VERIFIED:
            line.append(f"  entry {report.sequence_number} of {report.size}, by {_name(report.signed_by[0])}")
        step.lines.append(line)
        return step

    def _check_without_attestlog(self) -> Step:
        step = Step("alone", f"Entry {events.VIOLATION_NUMBER} proves itself, to three lines of Python")
        script = self.folder / "check.py"
        path = self.segment.relative_to(self.folder)
        body = "\n".join(events.CHECK_LINES)
        script.write_text(events.CHECK_SCRIPT.format(number=events.VIOLATION_NUMBER, segment=path, body=body))
        ran = subprocess.run(  # noqa: S603 - the script just written, by this interpreter, isolated from the environment
            [sys.executable, "-I", script], cwd=self.folder, capture_output=True, text=True, check=False
        )
        holds = ran.returncode == 0 and ran.stdout == "holds\n"
        step.facts = {"script": str(script), "lines": list(events.CHECK_LINES), "holds": holds}
        step.lines += [[(line, "cyan")] for line in events.CHECK_LINES]
        verdict = ("holds", "bold green") if holds else (f"does not hold: {ran.stderr[-200:]}", "bold red")
        step.lines.append(["the signature ", verdict])
        return step

    def _report(self, *, remember: bool = True) -> Report:
        return verify_log(
            self.log, trust=[self.vkey], remember=remember, state_dir=self.home / "state", workers=1
        )

    def _judge(self, step: Step, circumstance: str, report: Report) -> None:
        """Add what the verifier says, and its first finding."""
        faults = [finding for finding in report.findings if finding.verdict != Verdict.VERIFIED]
        step.facts.setdefault("reports", []).append({
            "circumstance": circumstance, "verdict": report.verdict, "size": report.size,
            "trusted_by": report.trusted_by, "findings": msgspec.to_builtins(faults),
        })  # fmt: skip
        line: list[Piece] = [
            f"{circumstance:<13}" if circumstance else "",
            (report.verdict, STYLES[report.verdict]),
        ]
        said = list(map(_described, faults)) or [f"{report.size} entries"]
        step.lines.append([*line, f"  {said[0]}"])
        indent = sum(len(piece if isinstance(piece, str) else piece[0]) for piece in line)
        step.lines += [[f"{'':<{indent}}  {more}"] for more in said[1:]]


def _record(log: Log, event_type: str, **members: Any) -> list[Receipt]:
    """Acts under guard: the intent and the outcome, or the VIOLATION written instead. The rest as it is."""
    if event_type in ("BOOT", "SHUTDOWN"):
        return [(log.boot if event_type == "BOOT" else log.shutdown)(**members)]
    if event_type == "DECISION":
        return [log.decision(**members)]
    result = members.pop("result_data", None)
    act = log.guard(event_type="CHANGE" if event_type == "CHANGE" else "ACTION", **members)
    with suppress(ActionBlockedError), act:
        act.result = result
    return [receipt for receipt in (act.intent, act.outcome) if isinstance(receipt, Receipt)]


def _name(vkey: str) -> str:
    return "+".join(vkey.split("+")[:2])


def _described(fault: Finding) -> str:
    where = "" if fault.sequence_number is None else f"entry {fault.sequence_number}: "
    return f"{where}{fault.message}"
