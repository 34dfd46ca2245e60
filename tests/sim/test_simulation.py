"""Thousands of short lives of a writer, three replicas and two witnesses, each from its seed.

`make simulate` runs many more; a seed that fails is added to FAILED and stays there.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.sim.world import World

from attestlog._internal.core.replication import log_id
from attestlog._internal.replication import sender
from attestlog._internal.verifying import judge_log

RUNS = int(os.environ.get("ATTESTLOG_SIM_RUNS", "60"))
FIRST_SEED = int(os.environ.get("ATTESTLOG_SIM_SEED", "1"))
STEPS = 30
FAILED: list[int] = []
"""Seeds that once found something."""


@pytest.fixture(autouse=True)
def _at_once(own_state: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "COSIGN_EVERY_S", 0.0)


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where there is such a place: what a disk does is simulated, not measured."""
    shm = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="attestlog-sim-", dir=shm if shm.is_dir() else None))
    yield path
    shutil.rmtree(path)


def live(folder: Path, seed: int, *, forks: bool) -> World:
    # The logs of all worlds have one genesis: what one world's senders remember is not another's.
    os.environ["ATTESTLOG_STATE"] = str(folder / str(seed) / "state")
    world = World(folder / str(seed), seed, forks=forks)
    try:
        for _ in range(STEPS):
            world.step()
        world.heal()
        world.check()
    except BaseException as error:
        raise AssertionError(f"seed {seed}, forks={forks}: {error!r}") from error
    return world


def end(world: World) -> None:
    for site in world.sites:
        site.replica.close()
    for asked in world.witnesses:
        asked.witness.close()
    shutil.rmtree(world.folder)


@pytest.mark.parametrize("seed", FAILED)
def test_what_once_failed(folder: Path, seed: int) -> None:
    for forks in (False, True):
        end(live(folder, seed, forks=forks))


@pytest.mark.slow
def test_an_honest_log_reaches_every_replica_whatever_fails_on_the_way(folder: Path) -> None:
    for seed in range(FIRST_SEED, FIRST_SEED + RUNS):
        world = live(folder, seed, forks=False)
        for site in world.sites:
            if not site.is_lost:
                assert site.durable_size(world.honest) == len(world.honest.lines), seed
        if seed % 20 == 0:
            for site in world.sites:
                if not site.is_lost:
                    report = judge_log(site.replica.path(log_id(world.honest.origin)), remember=False)
                    assert report.verdict == "VERIFIED", report.findings
        end(world)


@pytest.mark.slow
def test_whoever_is_told_two_histories_promises_only_one(folder: Path) -> None:
    for seed in range(FIRST_SEED, FIRST_SEED + RUNS):
        end(live(folder, seed, forks=True))
