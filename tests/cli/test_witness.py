"""`attestlog witness`, and `checkpoint` and `publish` with witnesses, as an operator runs them."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.cli.running import ATTESTLOG, ORIGIN, Run
from tests.support.proxy import free_port
from tests.support.witnesses import SignedTree

from attestlog._internal.core.note import parse_vkey
from attestlog._internal.core.trust import open_trusted_checkpoint, parse_trust_policy
from attestlog._internal.core.witness import format_add_checkpoint
from attestlog._internal.witness import Witness
from attestlog._internal.witness.state import WitnessState
from attestlog.errors import SplitViewError
from attestlog.testing import MemorySigner


@contextmanager
def serving(*arguments: str) -> Iterator[dict[str, Any]]:
    """The witness in a process of its own, and what it says when it serves."""
    process = subprocess.Popen(
        [*ATTESTLOG, "serve", "witness", *arguments, "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode in (0, 130), err
    assert "Traceback" not in err


@pytest.fixture
def vkey(run: Run, tmp_path: Path) -> str:
    """Of a log in tmp_path/audit."""
    made = run("init", str(tmp_path / "audit"), "--origin", ORIGIN, "--json")
    assert made.code == 0, made.err
    return str(made.object["checkpoint_keys"][0])


def append(run: Run, log: str) -> None:
    arguments = ("--event-type", "ACTION", "--action-type", "deploy", "--actor-id", "agent-7")
    assert run("append", log, *arguments).code == 0


def test_from_nothing_to_a_published_log_that_a_witness_has_cosigned(
    run: Run, tmp_path: Path, vkey: str
) -> None:
    log, memory, policy = str(tmp_path / "audit"), str(tmp_path / "memory"), tmp_path / "policy"
    public = tmp_path / "public"
    listen = f"127.0.0.1:{free_port()}"
    policy.write_text("quorum none\n")
    assert run("serve", "witness", memory, "--log", vkey).code == 2
    begin = (memory, "--name", "witness.example.com/one", "--log", vkey, "--listen", listen)
    with serving(*begin) as told:
        assert told["logs"] == [ORIGIN]
        (witness,) = told["vkeys"]
        policy.write_text(f"log {vkey}\nwitness one {witness} {told['url']}\nquorum one\n")
        append(run, log)
        shown = run("checkpoint", log, "--witnesses", str(policy), "--json")
        assert shown.object["witnesses"] == ["one"]
        rules = parse_trust_policy(policy.read_bytes())
        assert open_trusted_checkpoint(shown.object["note"].encode(), rules).signed.checkpoint.size == 2
        append(run, log)
        assert run("checkpoint", log).code == 0  # not cosigned
        assert run("publish", log, str(public), "--witnesses", str(policy)).code == 0
        first = (public / "checkpoint").read_bytes()
        assert len(open_trusted_checkpoint(first, rules).witnesses) == 1
    append(run, log)
    run("checkpoint", log)
    refused = run("publish", log, str(public), "--witnesses", str(policy))
    assert refused.code == 1
    assert "witness one: " in refused.err
    assert (public / "checkpoint").read_bytes() == first
    open_ = run("publish", log, str(public), "--witnesses", str(policy), "--fail-open")
    assert open_.code == 0
    assert "continued without the quorum" in open_.err
    assert (public / "checkpoint").read_bytes() != first
    with serving(memory, "--listen", listen) as again:
        assert (again["vkeys"], again["logs"]) == ([witness], [ORIGIN])
        assert run("publish", log, str(public), "--witnesses", str(policy)).code == 0
        assert len(open_trusted_checkpoint((public / "checkpoint").read_bytes(), rules).witnesses) == 1
    assert run("verify", log).code == 0


def test_a_witness_keeps_its_name_and_keys(run: Run, tmp_path: Path) -> None:
    memory = str(tmp_path / "memory")
    state = WitnessState.create(tmp_path / "memory", "witness.example.com/one", {"x": f"file:{tmp_path}/key"})
    assert run("serve", "witness", memory, "--name", "witness.example.com/two").code == 2
    assert run("serve", "witness", memory, "--key", "file:x").code == 2
    assert run("serve", "witness", memory).code == 4  # its key is not there
    assert run("serve", "witness", memory, "--listen", "nowhere").code == 3
    assert state.origins() == []
    assert run("serve", "witness", str(tmp_path), "--name", "x").code == 2  # not empty


def test_a_log_of_the_witness_s_own_name_or_no_key_begins_nothing(run: Run, tmp_path: Path) -> None:
    own = SignedTree("witness.example.com/one").key.vkey
    memory = str(tmp_path / "memory")
    assert run("serve", "witness", memory, "--name", "witness.example.com/one", "--log", own).code == 3
    assert run("serve", "witness", memory + "2", "--name", "a b").code == 3
    assert run("serve", "witness", memory + "3", "--name", "x", "--log", "no vkey").code == 3
    for folder in (memory, memory + "2", memory + "3"):
        assert not Path(folder).exists()


def test_evidence_is_printed(run: Run, tmp_path: Path) -> None:
    memory, tree, fork = tmp_path / "memory", SignedTree(), SignedTree(fork=0)
    signers, logs = [MemorySigner("Ed25519")], [parse_vkey(tree.key.vkey)]
    witness = Witness.begin(memory, "witness.example.com/one", signers, logs)
    assert "no split view" in run("evidence", memory).out
    witness.add_checkpoint(tree.request(0, 7))
    with pytest.raises(SplitViewError):
        witness.add_checkpoint(format_add_checkpoint(7, b"", fork.note(7)))
    shown = run("evidence", memory)
    assert "another root" in shown.out
    assert "cosigned before:" in shown.out
    found = run("evidence", memory, "--json").object
    assert (found["type"], found["theirs"]) == ("split_view", fork.note(7).decode())
