"""evidence: the split views that a replica or a witness has seen."""

import json
from contextlib import closing
from pathlib import Path

import pytest
from tests.cli.running import Run
from tests.support.logs import LogMaker
from tests.support.witnesses import SignedTree

from attestlog._internal.core.note import parse_vkey
from attestlog._internal.core.replication import Shipment, log_id
from attestlog._internal.core.witness import format_add_checkpoint
from attestlog._internal.witness import Witness
from attestlog.errors import SplitViewError
from attestlog.testing import MemorySigner


def test_evidence_is_printed_for_people_and_machines(run: Run, made: LogMaker, tmp_path: Path) -> None:
    from attestlog._internal.replica import Replica
    from attestlog.testing import MemorySigner

    copies = tmp_path / "copies"
    replica = Replica(copies, "replica.example.com/one", MemorySigner("Ed25519"))
    note = (made.root / "checkpoint").read_bytes()
    replica.take(log_id(made.origin), Shipment(0, made.lines, note))
    made.reseal(2, action_type="rewritten")
    made.write_checkpoint()
    with pytest.raises(Exception, match="another root"):
        replica.take(log_id(made.origin), Shipment(5, [], (made.root / "checkpoint").read_bytes()))
    replica.close()
    shown = run("evidence", copies)
    assert shown.code == 0
    assert note.decode().splitlines()[2] in shown.out
    (found,) = [json.loads(line) for line in run("evidence", copies, "--json").out.splitlines()]
    assert found["type"] == "split_view"
    assert found["theirs"] == (made.root / "checkpoint").read_text()


def test_evidence_is_printed(run: Run, tmp_path: Path) -> None:
    memory, tree, fork = tmp_path / "memory", SignedTree(), SignedTree(fork=0)
    signers, logs = [MemorySigner("Ed25519")], [parse_vkey(tree.key.vkey)]
    with closing(Witness.begin(memory, "witness.example.com/one", signers, logs)) as witness:
        assert "no split view" in run("evidence", memory).out
        witness.add_checkpoint(tree.request(0, 7))
        with pytest.raises(SplitViewError):
            witness.add_checkpoint(format_add_checkpoint(7, b"", fork.note(7)))
    shown = run("evidence", memory)
    assert "another root" in shown.out
    assert "cosigned before:" in shown.out
    found = run("evidence", memory, "--json").object
    assert (found["type"], found["theirs"]) == ("split_view", fork.note(7).decode())
