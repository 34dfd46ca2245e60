"""Rotations among real processes: killed at each durable step, and while others append.

The log goes on under one key or the other, and every process finds out which.
"""

import itertools
import shutil
from pathlib import Path

import pytest
from tests.fault.processes import Promises, create_shared, start_writer
from tests.support.logs import config_file, create, draft, drafts, remembering
from tests.support.stepping import killed_at, rotate
from tests.support.tally import tally

from attestlog._internal import places
from attestlog._internal.config import read_config
from attestlog._internal.log import Log
from attestlog._internal.storage.resolve import open_source
from attestlog.testing import check_log


@pytest.mark.slow
@pytest.mark.parametrize("before", [1, 3], ids=["within a segment", "at its end"])
def test_killed_at_each_step_of_a_rotation(
    tmp_path: Path, before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, new = tmp_path / "made", tmp_path / "new.pem"
    old = f"file:{tmp_path / 'old.pem'}"
    signers = {"signer": old, "checkpoint_signer": f"file:{tmp_path / 'checkpoint.pem'}"}
    with create(made, segment_entries=4, batch=True, clock=None, **signers) as log:
        log.append_many(drafts(range(before)))
    named, kept = config_file(made), places.state_dir()
    seen = set()
    for step in itertools.count():
        path = tmp_path / f"log-{step}"
        shutil.copytree(made, path)
        (tmp_path / f"config-{step}" / "logs").mkdir(parents=True)
        shutil.copy(named, tmp_path / f"config-{step}" / "logs")
        monkeypatch.setenv("ATTESTLOG_CONFIG", str(tmp_path / f"config-{step}"))
        remembering(monkeypatch, kept, tmp_path / f"state-{step}")
        new.unlink(missing_ok=True)
        was_killed, said = killed_at(step, rotate, path, new)
        tally("rotations killed with SIGKILL")
        was_rotated = open_source(path).size() == 1 + before + 1
        seen.add((was_rotated, len(read_config(open_source(path)).signers.entries)))
        with Log.open(path) as log:
            assert log.rules.start == (before + 2 if was_rotated else 0)
            receipt = log.append(draft(9))
        assert (f"file:{new}" if was_rotated else old) in read_config(open_source(path)).signers.entries
        check_log(path, [receipt])
        if not was_killed:
            assert said == ["rotated"]
            assert was_rotated
            break
    # Killed before, between and after the two writings of the configuration.
    assert {(False, 1), (False, 2), (True, 2), (True, 1)} <= seen
    assert step > 20


def test_rotations_while_other_processes_append(tmp_path: Path) -> None:
    path = tmp_path / "log"
    create_shared(path).close()
    promises = Promises()
    writers = [start_writer(path, f"w{number}", "all", 8) for number in range(2)]
    rotations = []
    with Log.open(path) as log:
        for number in range(4):
            rotations.append(log.rotate_key(f"file:{tmp_path / 'keys' / f'{number}.pem'}"))
            name = f"own.{number}"
            promises.tried.add(name)
            receipt = log.append(draft(number, action_payload={"name": name}))
            promises.acknowledged[name] = (receipt.sequence_number, receipt.entry_hash)
    for writer in writers:
        output, complaint = writer.communicate(timeout=300)
        assert (writer.returncode, complaint) == (0, b"")
        promises.read(output)
    entries = check_log(path, [*rotations, *promises.acknowledged.values()])
    names = [(entry.action_payload or {}).get("name") for entry in entries]
    assert set(promises.acknowledged) <= set(names)
    assert len({entry.signing_key_id for entry in entries}) == 5
