"""Moving a log between a directory and PostgreSQL: the same bytes, and one log at any time."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.logs import draft, drafts
from tests.support.postgres import PostgresServer

import attestlog
from attestlog._internal.storage import moving
from attestlog._internal.storage.contract import LogSource
from attestlog._internal.storage.resolve import LogName, driver_of, open_source, open_store
from attestlog.errors import CorruptError, ExistsError, MovedError, NoLogError, RollbackError
from attestlog.testing import MemorySigner, check_log, memory_name

KINDS = ("files", "postgresql", "memory")


class Keys:
    """Of the log that is moved."""

    def __init__(self) -> None:
        self.signer, self.checkpoint_signer = MemorySigner(), MemorySigner("Ed25519")

    def open(self, name: LogName, how: Callable[..., attestlog.Log] = attestlog.open, **options: Any) -> Any:
        return how(
            name, signer=self.signer.uri, checkpoint_signer=self.checkpoint_signer.uri,
            any_filesystem=True, **options,
        )  # fmt: skip


@pytest.fixture
def names(postgres: PostgresServer, tmp_path: Path) -> Callable[[str], str]:
    numbers = itertools.count()

    def name(kind: str) -> str:
        if kind == "postgresql":
            return postgres.new_url(user="app")
        return memory_name() if kind == "memory" else str(tmp_path / f"log-{next(numbers)}")

    return name


def everything(log: LogSource) -> tuple[Any, ...]:
    stamps = [(stamp, log.timestamp(stamp.name)) for stamp in log.timestamps()]
    hashes = [log.hashes(0, 0, log.size()), log.hashes(1, 0, log.size() // 256)]
    return list(log.lines()), log.checkpoint(), stamps, hashes


def made(name: str, keys: Keys) -> tuple[Any, ...]:
    """A log with batches, an erased payload and a whole tile."""
    settings = attestlog.Settings(erasable_payloads=True, segment_entries=100)
    with keys.open(name, attestlog.create, origin="example.com/moved", settings=settings) as log:
        log.append_many(drafts(range(300)))
        log.erase(7, reason="asked for", actor_id="officer-1")
    return everything(open_source(name))


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_it_is_the_same_log_elsewhere(source: str, target: str, names: Callable[[str], str]) -> None:
    keys, old, new = Keys(), names(source), names(target)
    before = made(old, keys)
    log = moving.move(old, new)
    assert everything(log) == before
    assert log.moved_to() is None
    assert open_source(old).moved_to() == log.absolute()
    with pytest.raises(MovedError):
        keys.open(old)
    with keys.open(new) as opened:
        receipt = opened.append(draft(400))
    check_log(new, acknowledged=[receipt])
    assert everything(open_source(old)) == before
    with pytest.raises((ExistsError, MovedError)):
        moving.move(old, new)
    with pytest.raises(MovedError):
        moving.move(old, names("memory"))


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_time_stamps_go_along(source: str, target: str, names: Callable[[str], str]) -> None:
    old, new = names(source), names(target)
    Keys().open(old, attestlog.create, origin="example.com/moved").close()
    store = open_store(old, any_filesystem=True)
    for response in (b"one", b"other"):
        store.add_timestamp(1, response)
    store.close()
    before = everything(open_source(old))
    assert everything(moving.move(old, new))[:2] == before[:2]
    found = open_source(new)
    assert sorted(found.timestamp(stamp.name) for stamp in found.timestamps()) == [b"one", b"other"]


@pytest.mark.parametrize("kind", ["files", "postgresql"])
def test_a_log_that_is_open_stops(kind: str, names: Callable[[str], str]) -> None:
    keys, old = Keys(), names(kind)
    with keys.open(old, attestlog.create, origin="example.com/moved") as log:
        log.append(draft())
        log.checkpoint()
        moving.move(old, names("memory"))
        with pytest.raises(MovedError):
            log.append(draft())
        with pytest.raises(MovedError):
            log.close()


class PulledError(BaseException):
    """As if the process ended."""


@pytest.mark.parametrize("step", ["add_lines", "finish", "sealed", "open_copy"])
@pytest.mark.parametrize("pair", [("files", "postgresql"), ("postgresql", "files")])
def test_an_interrupted_move_goes_on(
    pair: tuple[str, str], step: str, names: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, old, new = Keys(), names(pair[0]), names(pair[1])
    made(old, keys)
    driver = type(driver_of(new))
    store = open_store(old, any_filesystem=True)
    stores = type(store)
    store.close()

    def pulled(*_: object, **__: object) -> None:
        raise PulledError

    with monkeypatch.context() as patch:
        if step == "open_copy":
            patch.setattr(driver, "open_copy", pulled)
        elif step == "sealed":
            patch.setattr(stores, "seal", pulled)
        else:
            from attestlog._internal.storage.files.creation import FileCopying
            from attestlog._internal.storage.postgres.driver import PostgresCopying

            patch.setattr(FileCopying if pair[1] == "files" else PostgresCopying, step, pulled)
        with pytest.raises(PulledError):
            moving.move(old, new)
    if step == "open_copy":
        with pytest.raises(MovedError):
            keys.open(old)
    else:
        with keys.open(old) as log:  # the source is the log, and goes on
            log.append(draft(500))
        if step != "sealed":
            with pytest.raises(NoLogError):
                open_source(new)
    if step in {"sealed", "open_copy"}:
        with pytest.raises((MovedError, RollbackError)):
            keys.open(new)
    before = everything(open_source(old))
    assert everything(moving.move(old, new)) == before
    with keys.open(new) as log:
        receipt = log.append(draft(600))
    check_log(new, acknowledged=[receipt])


def test_what_is_damaged_is_not_moved(names: Callable[[str], str], postgres: PostgresServer) -> None:
    keys, old, new = Keys(), names("postgresql"), names("files")
    made(old, keys)
    postgres.sql(
        "update attestlog.entry set line = replace(encode(line, 'escape'), 'T-149', 'T-150')::bytea"
        " where seq = 150"
    )
    with pytest.raises(CorruptError, match=r"entry 150 .* cannot be moved"):
        moving.move(old, new)
    with pytest.raises(NoLogError):
        open_source(new)
    assert open_source(old).moved_to() is None
