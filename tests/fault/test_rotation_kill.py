"""A rotation killed at each of its durable steps: the log goes on, under one key or the other."""

import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fault.logs import create, draft, drafts
from tests.fault.tally import tally

from attestlog.log import Log
from attestlog.storage.reader import LogReader
from attestlog.testing import check_log

ROTATING = Path(__file__).with_name("rotating.py")


@pytest.mark.parametrize("before", [1, 3], ids=["within a segment", "at its end"])
def test_killed_at_each_step_of_a_rotation(tmp_path: Path, before: int) -> None:
    made, new = tmp_path / "made", tmp_path / "new.pem"
    old = f"file:{tmp_path / 'old.pem'}"
    signers = {"signer": old, "checkpoint_signer": f"file:{tmp_path / 'checkpoint.pem'}"}
    with create(made, segment_entries=4, batch=True, clock=None, **signers) as log:
        log.append_many(drafts(range(before)))
    seen = set()
    for step in itertools.count():
        path = tmp_path / f"log-{step}"
        shutil.copytree(made, path)
        new.unlink(missing_ok=True)
        said = subprocess.run(
            [sys.executable, str(ROTATING), str(path), str(new), str(step)],
            capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        tally("rotations killed with SIGKILL")
        assert said.stderr == b""
        was_rotated = LogReader(path).size() == 1 + before + 1
        seen.add((was_rotated, LogReader(path).config().signers.next_entry is not None))
        with Log.open(path) as log:
            assert log.rules.start == (before + 2 if was_rotated else 0)
            receipt = log.append(draft(9))
        assert LogReader(path).config().signers.entry == (f"file:{new}" if was_rotated else old)
        assert LogReader(path).config().signers.next_entry is None
        check_log(path, [receipt])
        if said.stdout:
            assert was_rotated
            break
    # Killed before, between and after the two writings of log.toml.
    assert {(False, False), (False, True), (True, True), (True, False)} <= seen
    assert step > 20
