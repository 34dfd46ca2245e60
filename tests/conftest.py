"""What holds for every test, and the fixtures that any test may ask for.

    own_state  asked for or not: what one test's verifiers remember and cache is not another's, and nothing
               of the person who runs the tests is read or written
    own_home   a folder of the test's own for new keys and configurations, too
    log        an open log with keys in memory and a clock that stands still; whole at the end
    made       a log by the core alone, 11 entries laid out in a folder: to be forged
    keys       where a new log's keys are made, as `attestlog.create` takes them

Drafts, other logs and forgeries are made by `tests/support/logs.py`, people who approve by
`tests/support/people.py`.
A test that runs a program of this machine asks for it: `tool("strace")` of `tests/support/tools.py`.
Folders have more fixtures in their own conftest.py: tests/cli (run, shell), tests/hsm (token, remote).
"""

import itertools
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from tests.support.audits import make
from tests.support.logs import LogMaker, create
from tests.support.postgres import postgres  # noqa: F401 - a fixture
from tests.support.tally import counts

from attestlog._internal.log import Log
from attestlog.testing import check_log

# No example of Hypothesis fails for being slow, on a machine that others use too.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

_PERSONAL = [
    *("ATTESTLOG_PASSPHRASE", "ATTESTLOG_PIN"),
    *(f"ATTESTLOG_{name}" for name in ("CONFIG", "STATE", "CACHE")),
    *(f"{name}_DIRECTORY" for name in ("CONFIGURATION", "STATE", "CACHE")),
    *(f"XDG_{name}_HOME" for name in ("CONFIG", "DATA", "STATE", "CACHE")),
]
_numbers = itertools.count()


def pytest_configure() -> None:
    """Make every process that tests start hear SIGINT, also where the parent ignores it (`make test &`).

    An ignored signal is inherited; one with a handler is reset to its default in a new program.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """One of several workers: what it injected is counted by the first process."""
    if output := getattr(session.config, "workeroutput", None):
        output["injected"] = dict(counts)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    counts.update(getattr(node, "workeroutput", {}).get("injected", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how much was injected."""
    if counts:
        terminalreporter.section("faults injected, none of them lost or invented an entry")
        for what, count in sorted(counts.items()):
            terminalreporter.write_line(f"{count:>9,}  {what}")


@pytest.fixture(scope="session", autouse=True)
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory of homes: nothing of the person who runs the tests is read or written."""
    folder = tmp_path_factory.mktemp("homes")
    with pytest.MonkeyPatch.context() as patch:
        for name in _PERSONAL:
            patch.delenv(name, raising=False)
        patch.setenv("ATTESTLOG_HOME", str(folder / "shared"))
        yield folder


@pytest.fixture(autouse=True)
def own_state(homes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """State and cache of each test: what one remembers is not another's.

    Configurations and keys are shared: they are named by log, and fixtures of wider scope make logs, too.
    """
    path = homes / str(next(_numbers))
    # Fixtures of wider scope make logs, too: what was signed of them is known in each test.
    if (made := homes / "shared" / "state" / "signed").exists():
        shutil.copytree(made, path / "state" / "signed")
    monkeypatch.setenv("ATTESTLOG_STATE", str(path / "state"))
    monkeypatch.setenv("ATTESTLOG_CACHE", str(path / "cache"))


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's new keys and configurations go by default."""
    monkeypatch.setenv("ATTESTLOG_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    """An open log; when the test is over it is closed, and every entry of it must hold."""
    with create(tmp_path / "log") as opened:
        yield opened
    check_log(tmp_path / "log")


@pytest.fixture
def made(tmp_path: Path) -> LogMaker:
    """Entry 0, a batch of 6, one alone, a batch of 2, one alone; in one segment, with tree and checkpoint."""
    log = make(tmp_path / "log")
    log.lay_out()
    return log


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    """For `attestlog.create(path, origin=…, **keys)`: key files, which other processes can open too."""
    return {name: f"file:{tmp_path / 'keys' / name}.pem" for name in ("signer", "checkpoint_signer")}
