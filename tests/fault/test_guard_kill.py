"""A guarded act killed at each step: never without its intent; what has no outcome is listed."""

import itertools
import shutil
from pathlib import Path

from tests.support.logs import create
from tests.support.stepping import act, killed_at
from tests.support.tally import tally

from attestlog._internal import places
from attestlog._internal.core.report import Verdict
from attestlog._internal.log import Log
from attestlog._internal.storage.resolve import open_source
from attestlog._internal.verifying import judge_log
from attestlog.testing import check_log


def test_killed_at_each_step_of_an_act(tmp_path: Path) -> None:
    made, marker = tmp_path / "made", tmp_path / "marker"
    signer, checkpoint_signer = f"file:{tmp_path / 'entry.pem'}", f"file:{tmp_path / 'checkpoint.pem'}"
    create(made, clock=None, signer=signer, checkpoint_signer=checkpoint_signer).close()
    shutil.copytree(places.state_dir() / "signed", tmp_path / "signed")
    outcomes = set()
    for step in itertools.count():
        path = tmp_path / f"log-{step}"
        shutil.copytree(made, path)
        marker.unlink(missing_ok=True)
        was_killed, said = killed_at(step, act, path, marker)
        tally("guarded acts killed with SIGKILL")
        Log.open(path)._store.close()
        written = [str(entry.event_type) for entry in open_source(path).entries(1)]
        assert written in ([], ["DECISION"], ["DECISION", "ACTION"])
        assert written or not marker.exists(), "nothing happens before its intent is durable"
        report = judge_log(path, remember=False)
        assert report.verdict == Verdict.VERIFIED
        found = [(item.code, item.sequence_number) for item in report.findings]
        assert found == ([("guard.no_outcome", 1)] if written == ["DECISION"] else [])
        outcomes.add((len(written), marker.exists()))
        check_log(path)
        shutil.rmtree(path)
        # The next copy is of the log as it was: so is what is remembered of it.
        shutil.copytree(tmp_path / "signed", places.state_dir() / "signed", dirs_exist_ok=True)
        if not was_killed:
            assert said == ["acting", "done"]
            break
    # Before the intent; after it and before the act; after the act and before the outcome; after all.
    assert outcomes == {(0, False), (1, False), (1, True), (2, True)}
