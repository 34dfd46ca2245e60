"""A server that went back in time is noticed by a host that never wrote, if it has a fence."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.support.logs import draft, drafts
from tests.support.postgres import PostgresServer
from tests.support.stores import BUCKET, Moto, use

import attestlog
from attestlog._internal.cli import main
from attestlog._internal.config import change_config, read_config
from attestlog._internal.configuring import configure_log
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import MalformedConfigError, RollbackError, StorageError
from attestlog.testing import check_log


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    store = Moto(tmp_path_factory.mktemp("moto"))
    store.start()
    yield store
    store.stop()


@pytest.fixture
def bucket(moto: Moto, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    use(moto, monkeypatch)
    return f"s3://{BUCKET}/{request.node.name}"


@pytest.fixture
def url(postgres: PostgresServer, own_home: Path) -> str:
    assert own_home.parent.is_dir()
    return postgres.new_url(user="app")


class Backup:
    """The log's rows as they are now: to be restored."""

    def __init__(self, server: PostgresServer, url: str) -> None:
        self._server = server
        name = url.rpartition("log=")[2]
        self._head = server.sql(
            "select log_id, size, entry_hash, timestamp_us, edge from attestlog.head join attestlog.log"
            " using (log_id) where name = %s",
            name,
        )[0]
        self._note = server.sql(
            "select size, note from attestlog.checkpoint where log_id = %s", self._head[0]
        )[0]

    def restore(self) -> None:
        """As a failover to a standby that was behind does."""
        log_id, size, *_ = self._head
        self._server.sql("delete from attestlog.entry where log_id = %s and seq >= %s", log_id, size)
        self._server.sql(
            "update attestlog.head set (size, entry_hash, timestamp_us, edge) = (%s, %s, %s, %s)"
            " where log_id = %s",
            *self._head[1:], log_id,
        )  # fmt: skip
        self._server.sql(
            "update attestlog.checkpoint set (size, note) = (%s, %s) where log_id = %s", *self._note, log_id
        )


def on_another_host(patch: pytest.MonkeyPatch, folder: Path, url: str, *options: str) -> None:
    """From now on this process is one that has the keys, and never wrote."""
    patch.setenv("ATTESTLOG_HOME", str(folder))
    for name in ("ATTESTLOG_STATE", "ATTESTLOG_CACHE"):
        patch.delenv(name, raising=False)
    assert main(["configure", url, *options]) == 0
    assert main(["adopt", url, "--yes"]) == 0


def appended(url: str) -> None:
    with attestlog.open(url) as log:
        log.append_many(drafts(range(2, 5)))


def test_a_host_that_never_wrote_notices(
    url: str, bucket: str, postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with attestlog.create(url, origin="example.com/fence") as log:
        log.append(draft(1))
    signers = read_config(open_source(url)).signers
    options = ["--entry-signer", signers.entries[0], "--checkpoint-signer", signers.checkpoint]
    backup = Backup(postgres, url)
    appended(url)
    assert main(["publish", url, bucket]) == 0
    backup.restore()
    with pytest.raises(RollbackError, match="this machine signed or acknowledged 5 entries"):
        attestlog.open(url)
    with monkeypatch.context() as patch:
        on_another_host(patch, tmp_path / "unfenced", url, *options)
        attestlog.open(url).close()  # it cannot know
        on_another_host(patch, tmp_path / "fenced", url, *options, "--fence", bucket)
        assert read_config(open_source(url)).fence == [bucket]
        with pytest.raises(RollbackError, match=f"{bucket} covers 5 entries of .*, the log has 2"):
            attestlog.open(url)
    assert open_source(url).size() == 2


def test_a_host_that_has_to_connect_again_asks_again(
    url: str, bucket: str, postgres: PostgresServer, tmp_path: Path
) -> None:
    with attestlog.create(url, origin="example.com/again") as log:
        log.append(draft(1))
    assert main(["publish", url, bucket]) == 0
    configure_log(url, fence=[bucket])
    change_config(open_source(url), lambda config: msgspec.structs.replace(config, state=""))
    # Its state is its own: it knows what it read, and not what others of this user wrote.
    with attestlog.open(url, state=tmp_path / "other") as other:
        receipts = [other.append(draft(2))]
        backup = Backup(postgres, url)
        terminate(postgres)
        receipts.append(other.append(draft(3)))  # another connection, and the same log
        backup = Backup(postgres, url)
        appended(url)
        assert main(["publish", url, bucket]) == 0
        backup.restore()
        terminate(postgres)
        for _ in range(2):
            with pytest.raises(RollbackError, match=f"{bucket} covers 7 entries of .*, the log has 4"):
                other.append(draft(9))
        with pytest.raises(RollbackError):
            other.close()
    check_log(url, acknowledged=receipts)


def test_a_fence_that_cannot_be_asked_stops_the_opening(url: str, bucket: str) -> None:
    attestlog.create(url, origin="example.com/unasked").close()
    configure_log(url, fence=[f"{bucket}/not-there"])
    with pytest.raises(StorageError, match="could not be asked"):
        attestlog.open(url)


@pytest.mark.parametrize("wrong", ["/srv/published", "file:///srv", "postgresql:///d?log=a"])
def test_a_fence_is_a_url_of_what_is_published(url: str, wrong: str) -> None:
    attestlog.create(url, origin="example.com/wrong").close()
    with pytest.raises(MalformedConfigError, match="a fence is a URL"):
        configure_log(url, fence=[wrong])


def terminate(server: PostgresServer) -> None:
    """End every connection of ours."""
    server.sql(
        "select pg_terminate_backend(pid, 60000) from pg_stat_activity where application_name = 'attestlog'"
    )
