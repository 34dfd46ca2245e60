"""checkpoint and publish with witnesses that cosign first."""

from pathlib import Path

import pytest
from tests.cli.running import ORIGIN, Run, serving
from tests.support.proxy import free_port

from attestlog._internal.core.trust import open_trusted_checkpoint, parse_trust_policy


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
    begin = (memory, "--name", "witness.example.com/one", "--log", vkey)
    with serving("witness", *begin, listen=listen) as told:
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
    with serving("witness", memory, listen=listen) as again:
        assert (again["vkeys"], again["logs"]) == ([witness], [ORIGIN])
        assert run("publish", log, str(public), "--witnesses", str(policy)).code == 0
        assert len(open_trusted_checkpoint((public / "checkpoint").read_bytes(), rules).witnesses) == 1
    assert run("verify", log).code == 0
