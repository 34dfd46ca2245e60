"""`attestlog replica` and `attestlog tokens`, as an operator runs them."""

import json
import stat
import sys
from pathlib import Path

import httpx
import pytest
from tests.cli.running import Run, serving_replica
from tests.support.logs import LogMaker, drafts

from attestlog._internal.core.note import parse_vkey
from attestlog._internal.core.replication import Shipment, decode_answer, encode_shipment, log_id


@pytest.fixture
def made(tmp_path: Path) -> LogMaker:
    log = LogMaker(tmp_path / "made")
    log.append(*drafts(range(4)))
    log.lay_out()
    return log


def test_a_replica_is_begun_once_and_serves_under_its_name_ever_after(
    run: Run, made: LogMaker, tmp_path: Path
) -> None:
    copies = str(tmp_path / "copies")
    assert run("serve", "replica", copies).code == 2
    with serving_replica(copies, "--name", "replica.example.com/one") as first:
        assert parse_vkey(first["vkey"]).name == "replica.example.com/one"
        token = run(
            "tokens", "add", copies, "writer", "--scope", "replicate", "--origin", made.origin
        ).out.strip()
        note = (made.root / "checkpoint").read_bytes()
        answer = httpx.post(
            f"{first['url']}/logs/{log_id(made.origin)}/entries",
            content=encode_shipment(Shipment(0, made.lines, note)),
            headers={"Authorization": f"Bearer {token}"},
        )
        assert decode_answer(answer.content).size == 5
    with serving_replica(copies) as second:
        assert second["vkey"] == first["vkey"]
    assert run("serve", "replica", copies, "--name", "another").code == 2
    assert run("serve", "replica", str(tmp_path / "none"), "--listen", "nowhere").code == 3
    copy = str(Path(copies) / "logs" / log_id(made.origin) / "log")
    assert run("verify", copy).code == 0
    assert "no split view" in run("evidence", copies).out


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


def test_tokens_are_made_listed_and_revoked(run: Run, tmp_path: Path) -> None:
    place = str(tmp_path / "server")
    text = run("tokens", "add", place, "a", "--scope", "read", "--scope", "replicate").out.strip()
    assert len(text) == 43
    assert stat.S_IMODE((tmp_path / "server" / "tokens.toml").stat().st_mode) == 0o600
    assert run("tokens", "add", place, "a", "--scope", "read").code == 2
    assert run("tokens", "add", place, "b", "--scope", "all").code == 2
    listed = json.loads(run("tokens", "list", place, "--json").out)
    assert (listed["name"], listed["scopes"], listed["origin"]) == ("a", ["read", "replicate"], None)
    assert text not in run("tokens", "list", place).out
    assert run("tokens", "revoke", place, "a").code == 0
    assert run("tokens", "revoke", place, "a").code == 4
    assert run("tokens", "list", place, "--json").out == ""


@pytest.mark.parametrize("arguments", [("serve", "replica", "DIR"), ("serve", "witness", "DIR")])
def test_without_the_extra_one_line_says_what_to_install(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setitem(sys.modules, "litestar", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    result = run(*[str(tmp_path / "new") if item == "DIR" else item for item in arguments])
    assert (result.code, result.out) == (4, "")
    assert result.err.splitlines() == [
        "attestlog: error: a server needs the extra 'server', which is not installed",
        "attestlog: hint: pip install 'attestlog[server]'",
    ]
