"""repair: what it would do, and does with --yes."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.damages import (
    change_the_origin,
    cut_entries_only,
    edit,
    empty,
    gone,
    lose_the_config,
    lose_the_tree,
    remove_the_checkpoint,
    spoil_the_config,
    spoil_the_tree,
    swap,
    tear,
)
from tests.cli.running import ORIGIN, Run, segment
from tests.support.logs import draft

from attestlog._internal.log import Log


def test_repair_finds_the_key_in_force_for_a_lost_log_toml(run: Run, log: Path) -> None:
    assert run("keys", "rotate", log).code == 0
    wanted = tomllib.loads((log / "log.toml").read_text())["signers"]
    (log / "log.toml").unlink()
    assert run("repair", log, "--yes").code == 0
    assert tomllib.loads((log / "log.toml").read_text())["signers"] == wanted
    with Log.open(log) as opened:
        opened.append(draft(9))


@pytest.mark.parametrize(
    "damages",
    [
        [tear],
        [lose_the_config],
        [spoil_the_config],
        [change_the_origin],
        [lose_the_tree],
        [spoil_the_tree],
        [tear, lose_the_config, lose_the_tree],
    ],
)
def test_repair_says_what_it_would_do_and_does_it_with_yes(
    run: Run, log: Path, damages: list[Callable[[Path], None]]
) -> None:
    config, entries = (log / "log.toml").read_text(), segment(log).read_bytes()
    tree = (log / "tree" / "0").read_bytes()
    for damage in damages:
        damage(log)
    before = {path: path.read_bytes() for path in log.rglob("*") if path.is_file()}
    planned = run("repair", log, "--json")
    assert planned.code == 6
    assert planned.object["type"] == "repair"
    assert (len(planned.object["fixes"]), planned.object["done"]) == (len(damages), False)
    assert run("repair", log).out.count("would: ") == len(damages)
    assert {path: path.read_bytes() for path in log.rglob("*") if path.is_file()} == before
    done = run("repair", log, "--yes")
    assert (done.code, done.out.count("done: ")) == (0, len(damages))
    assert run("verify", log).code == 0
    assert ((log / "log.toml").read_text(), segment(log).read_bytes()) == (config, entries)
    assert (log / "tree" / "0").read_bytes() == tree
    again = run("repair", log, "--yes", "--json").object
    assert (again["fixes"], again["done"], again["verdict"]) == ([], False, "VERIFIED")


def test_repair_keeps_what_it_replaces(run: Run, log: Path) -> None:
    spoil_the_config(log)
    tear(log)
    done = run("repair", log, "--yes")
    assert (log / "log.toml.old").read_text() == "format_version = 1\norigin = "
    assert "log.toml.old" in done.err
    (torn,) = (log / "entries").glob("torn-*")
    assert torn.read_bytes() == b'{"action_hash":"ab'
    assert torn.name in done.err


@pytest.mark.parametrize(
    "damage, code",
    [(edit, 1), (swap, 1), (cut_entries_only, 5), (remove_the_checkpoint, 1), (empty, 3), (gone, 4)],
)
def test_repair_touches_nothing_where_only_a_copy_helps(
    run: Run, log: Path, damage: Callable[[Path], None], code: int
) -> None:
    damage(log)
    if log.exists():
        lose_the_config(log)
    before = {path: path.read_bytes() for path in log.rglob("*") if path.is_file()}
    for arguments in ([], ["--yes"]):
        result = run("repair", log, *arguments)
        assert result.code == code
        assert "Only another copy of the log can repair this" in result.out
        assert "hint" in result.err
    assert {path: path.read_bytes() for path in log.rglob("*") if path.is_file()} == before


def test_repair_asks_for_keys_it_cannot_find(run: Run, log: Path, home: Path, tmp_path: Path) -> None:
    lose_the_config(log)
    (home / "keys").rename(tmp_path / "elsewhere")
    result = run("repair", log, "--yes")
    assert (result.code, result.out) == (4, "")
    assert "name its signer with --signer" in result.err
    uris = [f"file:{next((tmp_path / 'elsewhere').glob(f'*-{role}-*'))}" for role in ("entry", "checkpoint")]
    result = run("repair", log, "--yes", "--signer", uris[0], "--checkpoint-signer", uris[1])
    assert result.code == 0
    with Log.open(log) as opened:
        opened.append(draft(9))


def test_repair_finds_the_files_of_encrypted_keys(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "locked"
    monkeypatch.setenv("ATTESTLOG_PASSPHRASE", "secret")
    run("init", log, "--origin", ORIGIN)
    config = (log / "log.toml").read_text()
    monkeypatch.delenv("ATTESTLOG_PASSPHRASE")
    lose_the_config(log)
    assert run("repair", log, "--yes").code == 0
    assert (log / "log.toml").read_text() == config
