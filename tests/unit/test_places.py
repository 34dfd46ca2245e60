"""Where configuration, keys, state and cache are: which variable wins, and what happens without a home."""

from collections.abc import Callable
from pathlib import Path

import pytest

from attestlog._internal import places
from attestlog.errors import NoHomeError

Place = Callable[[], Path]

ALL: list[tuple[Place, str, str, str, str]] = [
    (places.config_dir, "CONFIG", "CONFIGURATION_DIRECTORY", "XDG_CONFIG_HOME", ".config"),
    (places.state_dir, "STATE", "STATE_DIRECTORY", "XDG_STATE_HOME", ".local/state"),
    (places.cache_dir, "CACHE", "CACHE_DIRECTORY", "XDG_CACHE_HOME", ".cache"),
]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATTESTLOG_HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    for _, name, systemd, xdg, _ in ALL:
        for variable in (f"ATTESTLOG_{name}", systemd, xdg):
            monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", "/users/ana")


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind[1])
def test_the_first_that_is_set_wins(
    kind: tuple[Place, str, str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, name, systemd, xdg, default = kind
    assert place() == Path("/users/ana", default, "attestlog")
    monkeypatch.setenv(xdg, "/xdg")
    assert place() == Path("/xdg/attestlog")
    monkeypatch.setenv("ATTESTLOG_HOME", "/own/home")
    assert place() == Path("/own/home", name.lower())
    monkeypatch.setenv(systemd, "/var/first:/var/second")
    assert place() == Path("/var/first")
    monkeypatch.setenv(f"ATTESTLOG_{name}", "/own")
    assert place() == Path("/own")
    monkeypatch.setenv(f"ATTESTLOG_{name}", "")  # as good as unset
    assert place() == Path("/var/first")


def test_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    assert places.keys_dir() == Path("/users/ana/.local/share/attestlog/keys")
    monkeypatch.setenv("XDG_DATA_HOME", "/xdg")
    assert places.keys_dir() == Path("/xdg/attestlog/keys")
    monkeypatch.setenv("ATTESTLOG_HOME", "/own/home")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/state")
    assert places.keys_dir() == Path("/own/home/keys")


def test_a_relative_path_is_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATTESTLOG_HOME", "home")
    assert places.state_dir() == tmp_path / "home" / "state"


@pytest.mark.parametrize("place", [places.keys_dir, *(place for place, *_ in ALL)])
def test_without_a_home_the_error_names_the_variable(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("could not determine home directory")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(NoHomeError, match="ATTESTLOG_HOME") as caught:
        place()
    assert caught.value.variable == "ATTESTLOG_HOME"


def test_all_below_one_home_and_back_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTESTLOG_STATE", "/own")
    before = [place() for place, *_ in ALL]
    with places.all_below(Path("/demo")):
        assert [place() for place, *_ in ALL] == [Path("/demo", name.lower()) for _, name, *_ in ALL]
        assert places.keys_dir() == Path("/demo/keys")
    assert [place() for place, *_ in ALL] == before
