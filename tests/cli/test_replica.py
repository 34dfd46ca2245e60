"""replica and restore, against a replica in a process of its own."""

import shutil
from pathlib import Path

import pytest
from tests.cli.running import Run, serving
from tests.support.logs import config_file

from attestlog._internal.replication import sender as sender_module
from attestlog.testing import check_log

ORIGIN = "example.com/agents"


APPEND = ("--event-type", "ACTION", "--action-type", "deploy", "--actor-id", "agent-7")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "COSIGN_EVERY_S", 0.0)


@pytest.fixture
def log(tmp_path: Path, run: Run) -> Path:
    path = tmp_path / "audit"
    keys = ("--signer", f"file:{tmp_path}/entry.pem", "--checkpoint-signer", f"file:{tmp_path}/check.pem")
    assert run("init", path, "--origin", ORIGIN, *keys).code == 0
    return path


def tokens(run: Run, tmp_path: Path) -> tuple[Path, Path]:
    """Files with a writer's and a reader's token."""
    found = []
    for name, scope in (("writer", "replicate"), ("reader", "read")):
        path = tmp_path / f"{name}.token"
        path.write_text(run("tokens", "add", tmp_path / "copies", name, "--scope", scope, "--any-origin").out)
        found.append(path)
    return found[0], found[1]


def test_a_log_is_lost_restored_and_goes_on(run: Run, log: Path, tmp_path: Path) -> None:
    writer, reader = tokens(run, tmp_path)
    with serving("replica", str(tmp_path / "copies"), "--name", "replica.example.com/one") as replica:
        url = replica["url"]
        add = ("replica", "add", log, url, "--token-file", writer)
        assert run(*add, "--vkey", "nonsense").code == 3
        assert run(*add, "--vkey", replica["vkey"]).code == 0
        twice = run(*add, "--vkey", replica["vkey"], "--json")
        assert (twice.code, twice.error["hint"].startswith("attestlog replica remove LOG URL")) == (2, True)
        for _ in range(3):
            assert run("append", log, *APPEND).code == 0
        assert run("replica", "sync", log, "--json").object == {
            "type": "replica_synced", "url": url, "error": None,
        }  # fmt: skip
        status = run("replica", "status", log, "--json").object
        assert (status["state"], status["size"], status["lag"], status["cosigned_size"]) == ("good", 4, 0, 4)
        assert (
            f'attestlog_replica_held_entries{{replica="{url}"}} 4'
            in run("replica", "status", log, "--metrics").out
        )
        before, named = (log / "entries" / "000000000000.jsonl").read_bytes(), config_file(log)
        shutil.rmtree(log)
        restore = ("restore", log, "--from", url, "--origin", ORIGIN, "--token-file", reader)
        named.rename(tmp_path / "aside.toml")
        assert run(*restore).code == 2  # nothing says whose keys go on
        (tmp_path / "aside.toml").rename(named)  # which the configuration does: it was not lost with the log
        restored = run(*restore, "--json").object
        assert (restored["size"], restored["forced"], restored["sequence_number"]) == (4, False, 4)
        after = (log / "entries" / "000000000000.jsonl").read_bytes()
        assert after.startswith(before)
        entries = check_log(log)
        assert entries[-1].action_type == "attestlog.restored"
        assert run("verify", log).code == 0
        assert run("replica", "sync", log).code == 0
        assert run("replica", "remove", log, url).code == 0
        assert run("replica", "remove", log, url).code == 4
        assert run("replica", "status", log).out.count("\n") == 1


def test_a_shorter_copy_takes_no_longer_logs_place_unless_forced_and_cannot_be_written(
    run: Run, log: Path, tmp_path: Path
) -> None:
    writer, reader = tokens(run, tmp_path)
    with serving("replica", str(tmp_path / "copies"), "--name", "replica.example.com/one") as replica:
        url = replica["url"]
        run("replica", "add", log, url, "--token-file", writer, "--vkey", replica["vkey"])
        run("append", log, *APPEND)
        assert run("replica", "sync", log).code == 0
        run("replica", "remove", log, url)
        run("append", log, *APPEND)
        run("append", log, *APPEND)
        held = tmp_path / "held.checkpoint"
        held.write_text(run("checkpoint", log).out)
        restore = ("restore", log, "--from", url, "--origin", ORIGIN, "--token-file", reader)
        refused = run(*restore)
        assert refused.code == 2
        assert "has 4 entries, the replica holds 2" in refused.err
        assert run("verify", log).code == 0  # remembered: 4 entries
        aside = tmp_path / "aside"
        log.rename(aside)
        keys = ("--signer", f"file:{tmp_path}/entry.pem", "--checkpoint-signer", f"file:{tmp_path}/check.pem")
        assert "is behind" in run(*restore, *keys).err
        assert "is behind" in run(*restore, *keys, "--checkpoint", held).err
        assert not log.exists()
        forced = run(*restore, *keys, "--force", "--json").object
        assert (forced["size"], forced["forced"]) == (2, True)
        assert forced["sequence_number"] is None
        assert len(check_log(log)) == 2
        assert run("verify", log).code == 5  # and whoever has seen more still says so
        going_on = run("append", log, *APPEND)
        assert going_on.code == 5
        assert f"4 entries of {ORIGIN}, the log has 2" in going_on.err
    assert [path.name for path in tmp_path.glob("*.restored")] == []


def test_a_replica_that_cannot_be_reached_is_said_and_shown(run: Run, log: Path, tmp_path: Path) -> None:
    writer, _ = tokens(run, tmp_path)
    with serving("replica", str(tmp_path / "copies"), "--name", "replica.example.com/one") as replica:
        url, vkey = replica["url"], replica["vkey"]
    assert run("replica", "add", log, url, "--token-file", writer, "--vkey", vkey).code == 0
    assert run("append", log, *APPEND).code == 0
    synced = run("replica", "sync", log)
    assert synced.code == 4
    assert "cannot be reached" in synced.out
    status = run("replica", "status", log, "--json").object
    assert status["lag"] == 2
    restore = ("restore", tmp_path / "new", "--from", url, "--token-file", writer)
    assert run(*restore, "--origin", ORIGIN).code == 4
    assert run(*restore, "--origin", "example.com/other").code == 2


def test_a_token_is_not_sent_in_the_clear_to_another_machine(run: Run, log: Path, tmp_path: Path) -> None:
    writer, _ = tokens(run, tmp_path)
    before, url = config_file(log).read_bytes(), "http://192.0.2.1:8470"
    with serving("replica", str(tmp_path / "copies"), "--name", "replica.example.com/one") as replica:
        vkey = replica["vkey"]
    added = run("replica", "add", log, url, "--token-file", writer, "--vkey", vkey)
    assert added.code == 3
    assert "want https:" in added.err
    assert config_file(log).read_bytes() == before
    restored = run("restore", log, "--from", url, "--origin", ORIGIN, "--token-file", writer)
    assert restored.code == 3
    assert "want https:" in restored.err
    assert run("verify", log).code == 0
