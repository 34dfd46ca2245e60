"""repair: what it would do, and does with --yes."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.cli.damages import (
    cut_entries_only,
    edit,
    empty,
    gone,
    lose_the_tree,
    remove_the_checkpoint,
    spoil_the_tree,
    swap,
    tear,
)
from tests.cli.running import Run, segment
from tests.support.logs import config_file

from attestlog._internal.config import ReplicaAt, change_config, read_config
from attestlog._internal.storage.resolve import open_source


@pytest.mark.parametrize(
    "damages",
    [
        [tear],
        [lose_the_tree],
        [spoil_the_tree],
        [tear, lose_the_tree],
    ],
)
def test_repair_says_what_it_would_do_and_does_it_with_yes(
    run: Run, log: Path, damages: list[Callable[[Path], None]]
) -> None:
    entries = segment(log).read_bytes()
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
    assert segment(log).read_bytes() == entries
    assert (log / "tree" / "0").read_bytes() == tree
    again = run("repair", log, "--yes", "--json").object
    assert (again["fixes"], again["done"], again["verdict"]) == ([], False, "VERIFIED")


def test_repair_leaves_the_configuration_alone(run: Run, log: Path) -> None:
    """Replicas and signers that were configured are so afterwards."""
    at = ReplicaAt(url="https://r1.example.com", vkey="v", token_file="t")
    change_config(open_source(log), lambda config: msgspec.structs.replace(config, replicas=[at]))
    before = config_file(log).read_bytes()
    tear(log)
    lose_the_tree(log)
    assert run("repair", log, "--yes").code == 0
    assert config_file(log).read_bytes() == before
    assert read_config(open_source(log)).replicas == [at]


def test_repair_keeps_what_it_replaces(run: Run, log: Path) -> None:
    tear(log)
    done = run("repair", log, "--yes")
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
    before = {path: path.read_bytes() for path in log.rglob("*") if path.is_file()}
    for arguments in ([], ["--yes"]):
        result = run("repair", log, *arguments)
        assert result.code == code
        assert "Only another copy of the log can repair this" in result.out
        assert "hint" in result.err
    assert {path: path.read_bytes() for path in log.rglob("*") if path.is_file()} == before
