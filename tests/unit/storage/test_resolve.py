"""From a name to a log: paths, URLs of drivers, and what no log can be opened at."""

from pathlib import Path

import pytest
from tests.support.logs import create

import attestlog
from attestlog._internal.config import read_config
from attestlog._internal.storage.files.reader import FileSource
from attestlog._internal.storage.resolve import (
    anything_at,
    build_log,
    check_free,
    directory,
    is_published,
    open_source,
    open_store,
    register_driver,
)
from attestlog.errors import ExistsError, MalformedConfigError, NoLogError, NotFoundError
from attestlog.testing import memory_log, memory_name


def test_a_path_is_a_directory(tmp_path: Path) -> None:
    create(tmp_path / "log").close()
    for name in (tmp_path / "log", str(tmp_path / "log")):
        source = open_source(name)
        assert isinstance(source, FileSource)
        assert source.where == str(tmp_path / "log")
        store = open_store(name)
        assert store.source.where == source.where
        store.close()
        with pytest.raises(ExistsError):
            check_free(name)


def test_what_is_open_already_will_do(tmp_path: Path) -> None:
    create(tmp_path / "log").close()
    store = open_store(tmp_path / "log")
    assert open_store(store) is store
    assert open_source(store) is store.source
    assert open_source(store.source) is store.source
    store.close()


@pytest.mark.parametrize("scheme", ["postgres9", "s3", "file", "x.y+z-1"])
def test_an_unknown_scheme_is_named_and_the_rest_not_repeated(scheme: str, tmp_path: Path) -> None:
    name = f"{scheme}://user:secret@host/log"
    for use in (
        open_source, open_store, check_free, directory, build_log,
        attestlog.open, lambda name: attestlog.query_log(name).__next__(),
        lambda name: attestlog.prove(name, 0), lambda name: attestlog.publish(name, tmp_path),
        lambda name: attestlog.create(name, origin="example.com/x"),
    ):  # fmt: skip
        with pytest.raises(MalformedConfigError, match=scheme.replace("+", r"\+")) as caught:
            use(name)
        assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["https://example.com/log", "HTTP://localhost/log"])
def test_a_published_log_can_be_verified_and_not_opened(name: str) -> None:
    assert is_published(name)
    with pytest.raises(MalformedConfigError, match="names a published log, want a log with its entries"):
        open_source(name)


def test_a_registered_driver_has_its_scheme() -> None:
    asked = []

    class Recording:
        def open_source(self, name: str) -> None:
            asked.append(name)

    register_driver("Recording", Recording())  # type: ignore[arg-type]
    open_source("recording://a")
    open_source("RECORDING://b")
    assert asked == ["recording://a", "RECORDING://b"]


def test_a_log_in_memory_is_opened_by_its_name() -> None:
    log = memory_log()
    log.append(event_type="ACTION", action_type="a", actor_id="b")
    log.close()
    assert anything_at(log.where) is False
    assert [entry.action_type for entry in attestlog.query_log(log.where, actor_id="b")] == ["a"]
    with attestlog.open(log.where) as again:  # the signers are found by their names
        again.append(event_type="ACTION", action_type="c", actor_id="b")
    assert open_source(log.where).size() == 3
    assert read_config(open_source(log.where)).signers.entries[0].startswith("memory:")
    with pytest.raises(ExistsError):
        attestlog.create(log.where, origin="example.com/x")
    with pytest.raises(NoLogError):
        attestlog.open(memory_name())


def test_what_only_a_directory_can_do_says_so(tmp_path: Path) -> None:
    log = memory_log()
    assert directory(tmp_path) == tmp_path
    with pytest.raises(MalformedConfigError, match="this is for a log's directory, not for memory: URLs"):
        directory(log.where)
    with pytest.raises(NotFoundError):
        open_source(tmp_path / "nowhere")
