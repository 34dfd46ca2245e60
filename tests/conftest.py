"""For all tests: a home of their own, and no example of Hypothesis fails for being slow on a busy machine."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

_PLACES = [
    *(f"ATTESTLOG_{name}" for name in ("CONFIG", "STATE", "CACHE")),
    *(f"{name}_DIRECTORY" for name in ("CONFIGURATION", "STATE", "CACHE")),
    *(f"XDG_{name}_HOME" for name in ("CONFIG", "DATA", "STATE", "CACHE")),
]
_numbers = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory of homes: nothing of the person who runs the tests is read or written.

    Fixtures of wider scope than a test share the home "shared".
    """
    folder = tmp_path_factory.mktemp("homes")
    with pytest.MonkeyPatch.context() as patch:
        for name in _PLACES:
            patch.delenv(name, raising=False)
        patch.setenv("ATTESTLOG_HOME", str(folder / "shared"))
        yield folder


@pytest.fixture(autouse=True)
def own_home(homes: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home for each test, which need not be there: one test's keys, memory and cache are not another's."""
    path = homes / str(next(_numbers))
    monkeypatch.setenv("ATTESTLOG_HOME", str(path))
    return path
