"""publish, as it is typed."""

import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.cli.running import Run
from tests.support.logs import draft
from tests.support.published import check_published

from attestlog._internal.log import Log
from attestlog._internal.storage.publishing import Publishing
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import StorageError


def test_publish_says_what_is_new(run: Run, log: Path, tmp_path: Path) -> None:
    public = tmp_path / "public"
    done = run("publish", log, public)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("example.com/agents at 4 entries, 4 more than before\nroot   ")
    assert f"files  2 new, 0 were there, in {public}\n" in done.out
    (key,) = open_source(log).genesis().checkpoint_keys
    assert len(check_published(public, key) or ()) == 4
    with Log.open(log) as opened:
        opened.append(draft(9))
    again = run("publish", log, public, "--json").object
    assert (again["type"], again["size"], again["old_size"], again["written"]) == ("published", 5, 4, 2)
    whole = run("publish", log, public, "--whole", "--json").object
    assert (whole["written"], whole["found"]) == (0, 2)


def test_what_differs_is_kept_and_the_exit_code_says_contradiction(
    run: Run, log: Path, tmp_path: Path
) -> None:
    public = tmp_path / "public"
    run("publish", log, public)
    (public / "tile/entries/000.p/4").write_bytes(b"other")
    done = run("publish", log, public, "--whole", "--json")
    assert (done.code, done.out) == (5, "")
    assert done.error["code"] == "verification.consistency"
    assert done.error["path"] == str(public / "tile/entries/000.p/4")
    assert (public / "tile/entries/000.p/4").read_bytes() == b"other"


def test_no_log_and_no_folder(run: Run, log: Path, tmp_path: Path) -> None:
    assert run("publish", tmp_path / "nothing", tmp_path / "public").code == 4
    assert run("publish", log, log).code == 2
    assert run("publish", log).code == 2


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What happens in each pause of `publish --every`, which ends with the last one."""
    steps: list[Any] = []
    pauses: list[float] = []

    real, own = time.sleep, threading.current_thread()

    def sleep(seconds: float) -> None:
        if threading.current_thread() is not own:  # of another test, and not at its end yet
            real(seconds)
            return
        pauses.append(seconds)
        if not steps:
            raise KeyboardInterrupt
        steps.pop(0)()

    monkeypatch.setattr(time, "sleep", sleep)
    return steps


def test_every_so_often_what_is_new(run: Run, log: Path, tmp_path: Path, ticks: list[Any]) -> None:
    public = tmp_path / "public"

    def grow() -> None:
        with Log.open(log) as opened:
            opened.append(draft(9))

    ticks += [grow, lambda: None, grow]
    done = run("publish", log, public, "--every", "1s", "--json")
    assert done.code == 130
    assert [(line["old_size"], line["size"]) for line in done.objects] == [(0, 4), (4, 5), (5, 6)]
    (key,) = open_source(log).genesis().checkpoint_keys
    assert len(check_published(public, key) or ()) == 6


def test_sign_covers_what_has_no_checkpoint_yet(
    run: Run, log: Path, tmp_path: Path, ticks: list[Any]
) -> None:
    public = tmp_path / "public"
    with Log.open(log, checkpoint_every_s=None) as opened:
        ticks += [lambda: opened.append(draft(9)), lambda: opened.append(draft(10))]
        assert run("publish", log, public, "--json").object["size"] == 4
        done = run("publish", log, public, "--every", "1s", "--sign", "--json")
        assert [line["size"] for line in done.objects] == [4, 5, 6]


def test_partial_files_go_when_their_time_has_come(run: Run, log: Path, tmp_path: Path) -> None:
    public = tmp_path / "public"
    run("publish", log, public)
    with Log.open(log) as opened:
        opened.append_many([draft(number) for number in range(300)])
    run("publish", log, public, "--remove-partials-after", "1h")
    assert (public / "tile/0/000.p/4").exists()
    run("publish", log, public, "--remove-partials-after", "0s")
    assert not (public / "tile/0/000.p/4").exists()
    assert run("verify", public, "--full", "--no-remember").code == 4  # no key is known
    assert run("publish", log, public, "--whole", "--json").object["written"] == 0


def test_what_may_pass_is_tried_again(
    run: Run, log: Path, tmp_path: Path, ticks: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish, fails = Publishing.publish, [False, True, True, False, False]

    def failing(publishing: Publishing, *given: Any, **more: Any) -> Any:
        if fails.pop(0):
            raise StorageError("the store is away", retryable=True)
        return publish(publishing, *given, **more)

    monkeypatch.setattr(Publishing, "publish", failing)
    ticks += [lambda: None] * 4
    done = run("publish", log, tmp_path / "public", "--every", "1s", "--json")
    assert (len(done.objects), fails) == (2, [])
    assert done.err.count("tried again: the store is away") == 1


@pytest.mark.parametrize(
    "options",
    [
        ("--every", "0s"), ("--every", "often"), ("--remove-partials-after", "2999-01-01T00:00:00Z"),
        ("--checkpoint-signer", "file:key.pem"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense(run: Run, log: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    assert run("publish", log, tmp_path / "public", *options).code == 2
    assert not (tmp_path / "public").exists()


def test_a_bucket_without_the_library_or_with_a_secret(
    run: Run, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    done = run("publish", log, "s3://key:hush@example-logs/audit")
    assert (done.code, "hush" in done.err) == (3, False)
    monkeypatch.setitem(sys.modules, "obstore", None)
    done = run("publish", log, "s3://example-logs/audit")
    assert (done.code, "pip install 'attestlog[objects]'" in done.err) == (4, True)
    assert len(done.err.splitlines()) <= 2
