"""serve replica and serve witness, as an operator runs them."""

import sys
from pathlib import Path

import httpx
import pytest
from tests.cli.running import Run, serving
from tests.support.logs import LogMaker
from tests.support.witnesses import SignedTree

from attestlog._internal.core.note import parse_vkey
from attestlog._internal.core.replication import Shipment, decode_answer, encode_shipment, log_id
from attestlog._internal.witness.state import WitnessState


def test_a_replica_is_begun_once_and_serves_under_its_name_ever_after(
    run: Run, made: LogMaker, tmp_path: Path
) -> None:
    copies = str(tmp_path / "copies")
    assert run("serve", "replica", copies).code == 2
    with serving("replica", copies, "--name", "replica.example.com/one") as first:
        assert parse_vkey(first["vkey"]).name == "replica.example.com/one"
        token = run(
            "tokens", "add", copies, "writer", "--scope", "replicate", "--origin", made.origin
        ).out.strip()
        note = (made.root / "checkpoint").read_bytes()
        answer = httpx.post(
            f"{first['url']}/logs/{log_id(made.origin)}/entries",
            content=encode_shipment(Shipment(0, made.lines, note)),
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
        )
        assert decode_answer(answer.content).size == 5
    with serving("replica", copies) as second:
        assert second["vkey"] == first["vkey"]
    assert run("serve", "replica", copies, "--name", "another").code == 2
    assert run("serve", "replica", str(tmp_path / "none"), "--listen", "nowhere").code == 3
    copy = str(Path(copies) / "logs" / log_id(made.origin) / "log")
    assert run("verify", copy).code == 0
    assert "no split view" in run("evidence", copies).out


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


def test_a_witness_keeps_its_name_and_keys(run: Run, tmp_path: Path) -> None:
    memory = str(tmp_path / "memory")
    keys = {"x": f"file:{tmp_path}/key"}
    WitnessState.create(tmp_path / "memory", "witness.example.com/one", keys).close()
    assert run("serve", "witness", memory, "--name", "witness.example.com/two").code == 2
    assert run("serve", "witness", memory, "--key", "file:x").code == 2
    assert run("serve", "witness", memory).code == 4  # its key is not there
    assert run("serve", "witness", memory, "--listen", "nowhere").code == 3
    with WitnessState(tmp_path / "memory") as state:
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


def test_replicas_and_witnesses_have_metrics(run: Run, made: LogMaker, tmp_path: Path) -> None:
    tree, copies, memory = SignedTree("log.example.com"), str(tmp_path / "copies"), str(tmp_path / "memory")
    for kind, folder, name, sample in (
        (
            "replica",
            copies,
            "replica.example.com/one",
            f'attestlog_replica_entries{{origin="{made.origin}"}} 5',
        ),
        (
            "witness",
            memory,
            "witness.example.com/one",
            'attestlog_witness_entries{origin="log.example.com"} 0',
        ),
    ):
        more = ("--log", tree.key.vkey) if kind == "witness" else ()
        with serving(kind, folder, "--name", name, *more, "--access-log") as served:
            tokens = {
                scope: run("tokens", "add", folder, scope, "--scope", scope, "--any-origin").out.strip()
                for scope in ("replicate", "metrics")
            }
            if kind == "replica":
                httpx.post(
                    f"{served['url']}/logs/{log_id(made.origin)}/entries",
                    content=encode_shipment(Shipment(0, made.lines, (made.root / "checkpoint").read_bytes())),
                    headers={"Authorization": f"Bearer {tokens['replicate']}"},
                    timeout=60,
                ).raise_for_status()
            page = httpx.get(
                f"{served['url']}/metrics",
                headers={"Authorization": f"Bearer {tokens['metrics']}"},
                timeout=60,
            )
            assert sample in page.text.splitlines()
            assert f'attestlog_{kind}_split_views{{origin="' in page.text
            assert httpx.get(f"{served['url']}/metrics", timeout=60).status_code == 401
            assert httpx.get(f"{served['url']}/healthz", timeout=60).json() == {"status": "ok"}


@pytest.mark.parametrize(
    "arguments", [("--socket-mode", "777x"), ("--verify-every", "soon"), ("--verify-every", "2026-01-01")]
)
def test_what_a_service_cannot_be_told(run: Run, made: LogMaker, arguments: tuple[str, str]) -> None:
    assert run("serve", "log", made.root, "--socket", made.root.parent / "log.sock", *arguments).code == 2
