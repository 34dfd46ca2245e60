"""Every byte of a log changed, one at a time: the verifier says so, or the byte is no evidence.

The campaign changes every byte of a log of 30 entries, twice; the short form every few bytes of a short one.
"""

import os
from pathlib import Path

import pytest
from tests.support.logs import LogMaker, draft, drafts
from tests.support.tally import tally

from attestlog._internal.core.report import Verdict
from attestlog._internal.verifying import judge_log

ENTRIES = "entries/000000000000.jsonl"
FAULTS = {
    ENTRIES: {Verdict.TAMPERED, Verdict.MALFORMED, Verdict.TRUNCATED},
    "checkpoint": {Verdict.TAMPERED},
    "tree/0": {Verdict.VERIFIED},  # derived: with a notice
}


EVERY_BYTE = int(os.environ.get("ATTESTLOG_FAULT_ROUNDS", "4")) > 4
MASKS = (
    [(0x01,), (0x80,)] if EVERY_BYTE else [(0x01, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0x02, 0)]
)
"""In each pass byte n gets mask n, in turn; where it is 0 the byte is left alone."""


@pytest.fixture
def log(tmp_path: Path) -> LogMaker:
    made = LogMaker(tmp_path / "log")
    made.append(*drafts(range(1, 26 if EVERY_BYTE else 6)))
    made.append(draft(6), batched=False)
    made.append(draft(7, pillars_scores={"an_toan": 8.5}), draft(8), draft(9))
    made.lay_out()
    assert len(made.lines) == (30 if EVERY_BYTE else 10)
    return made


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.slow
@pytest.mark.parametrize("masks", MASKS, ids=lambda masks: hex(masks[0]) if len(masks) == 1 else "some")
def test_every_byte_counts(log: LogMaker, name: str, masks: tuple[int, ...]) -> None:
    path = log.root / name
    data = path.read_bytes()
    tried = 0
    for place in range(len(data)):
        mask = masks[place % len(masks)]
        if not mask:
            continue
        path.write_bytes(data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :])
        report = judge_log(log.root, remember=False)
        tried += 1
        tally("bytes changed, then verified")
        where = f"byte {place} of {name} xor {mask:#x}: {report.verdict} {report.findings[:2]}"
        assert report.verdict in FAULTS[name], where
        assert report.findings, where
    assert tried >= len(data) // 5


@pytest.mark.parametrize("name", FAULTS)
def test_every_file_counts(log: LogMaker, name: str) -> None:
    (log.root / name).unlink()
    report = judge_log(log.root, remember=False)
    assert report.findings
    assert (report.verdict == Verdict.VERIFIED) == (name == "tree/0")
