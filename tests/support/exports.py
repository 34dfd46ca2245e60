"""Logs that exports are tested with: the six shapes, generated entries, an erased and a redacted payload."""

import io
import random
from pathlib import Path
from typing import Any

from tests.support.logs import CheckpointKey, LogMaker
from tests.support.shapes import GOVERNED, SHAPES, change_for

from attestlog._internal.core.checkpoint import LogId
from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.erasure import Erasure, erase_line, format_erasure
from attestlog._internal.core.redaction import commitment
from attestlog._internal.exporting import cose
from attestlog._internal.exporting.contract import About, Exported, Form
from attestlog._internal.exporting.keys import note_public_key
from attestlog._internal.exporting.writing import SIGNED, open_writer
from attestlog._internal.signers.contract import Signer
from attestlog._internal.storage.resolve import open_source

ORIGIN = "example.com/exports"
TRACE = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"}
SECRET = commitment(bytes(32), bytes(8), "email", b'"bob@example.com"')


def made_log(root: Path, generated: int = 0, *, erase: bool = True) -> LogMaker:
    """The six shapes, an erased and a redacted payload, then generated entries; laid out in `root`."""
    log = LogMaker(root, origin=ORIGIN, policy=GOVERNED)
    for name in ("BOOT", "ACTION", "DECISION", "VIOLATION", "CHANGE", "SHUTDOWN"):
        log.append(change_for(log.rules.log) if name == "CHANGE" else SHAPES[name], batched=False)
    log.append(
        {
            **SHAPES["ACTION"],
            "actor_context": {"session": "s-1", "model": "m-1", "tool_call_id": "c-1", **TRACE},
        }
    )
    log.append({**SHAPES["ACTION"], "action_payload": {"to": SECRET}})
    if erase:
        erase_entry(log, 2)
    source = random.Random(7)
    for start in range(0, generated, 100):
        log.append(*(_generated(source, number) for number in range(start, min(start + 100, generated))))
    log.lay_out()
    return log


def erase_entry(log: LogMaker, number: int) -> None:
    """Its payload, and the entry that says so."""
    entry = decode_line(log.lines[number])
    erasure = Erasure.of(entry, "asked for", None)
    log.append(
        {
            "event_type": "CHANGE", "action_type": "attestlog.erase_payload", "actor_id": "officer",
            "action_payload": format_erasure(erasure),
        }
    )  # fmt: skip
    log.lines[number] = erase_line(log.lines[number])


def about(log: LogMaker) -> About:
    return About(ORIGIN, decode_line(log.lines[0]).entry_hash)


def log_id(log: LogMaker) -> LogId:
    return LogId(*about(log))


def items(log: LogMaker) -> list[Exported]:
    return [Exported(line, decode_line(line)) for line in log.lines]


class CheckpointSigner:
    """The log's checkpoint key, as a signer."""

    uri = "memory:"

    def __init__(self, key: CheckpointKey) -> None:
        self.public_key, self.sign = note_public_key(key.verifier), key.sign

    def close(self) -> None:
        pass


def written(
    log: LogMaker, form: Form, signer: Signer | None = None, entries: list[Exported] | None = None
) -> bytes:
    file = io.BytesIO()
    if form in SIGNED:
        signer = signer or CheckpointSigner(log.checkpoint_key)
    writer = open_writer(form, file, open_source(log.root), about(log), signer)
    for item in items(log) if entries is None else entries:
        writer.add(item)
    writer.finish()
    return file.getvalue()


def parsed(data: bytes) -> list[cose.Receipt]:
    """The receipts of a file."""
    return list(cose.parse_receipts(io.BytesIO(data), len(data)))


def _generated(source: random.Random, number: int) -> dict[str, Any]:
    """A draft that no person would write, and the log takes."""
    draft: dict[str, Any] = {
        "event_type": source.choice(["ACTION", "DECISION", "VIOLATION", "BOOT", "SHUTDOWN"]),
        "event_category": source.choice(["NORMAL", "WARNING", "ERROR", "CRITICAL"]),
        "action_type": source.choice(["tool.add", "crawl", "=SUM(A1)", "ghi chú", "a" * 256]),
        "actor_id": f"agent-{number % 9}",
        "actor_type": source.choice(["HUMAN", "AUTONOMOUS_AGENT", "SYSTEM", "EXTERNAL"]),
        "execution_status": source.choice(["SUCCESS", "FAILED", "BLOCKED", "ROLLED_BACK"]),
        "action_payload": {f"k{index}": _value(source, 3) for index in range(source.randrange(4))},
        "actor_context": source.choice([{}, TRACE, {"session": "s", "model": "m"}, {"trace_id": 7}]),
        "severity": source.randrange(11),
    }
    if source.random() < 0.3:
        draft["error_details"] = {"message": "no", "kind": source.choice(["error", "timeout"])}
    if source.random() < 0.3:
        draft["pillars_scores"] = {"an_toan": source.choice([7, 7.25, 10, 8.5])}
    return draft


def _value(source: random.Random, depth: int) -> Any:
    plain = [
        None,
        True,
        0,
        -1,
        9007199254740991,
        0.1,
        1e21,
        -1.5e-7,
        "",
        "é𝄞\u2028",
        "[redacted:",
        '"\\\n\t',
        "=1",
    ]
    if depth and source.random() < 0.4:
        inner = [_value(source, depth - 1) for _ in range(source.randrange(3))]
        return inner if source.random() < 0.5 else {f"n{index}": value for index, value in enumerate(inner)}
    return source.choice(plain)
