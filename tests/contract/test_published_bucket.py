"""Publishing to real object stores: what a folder promises, a bucket does, whatever is killed or lost."""

import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.logs import LogMaker, draft, drafts
from tests.support.published import published_files
from tests.support.stores import (
    BUCKET,
    KINDS,
    LostAnswers,
    Moto,
    Rclone,
    SeaweedFS,
    Started,
    Store,
    start,
    use,
)

from attestlog._internal.cli import main
from attestlog._internal.core.note import format_vkey
from attestlog._internal.storage.objects import bucket as buckets
from attestlog._internal.storage.publishing import open_publishing, publish_log
from attestlog._internal.verifying import judge_published
from attestlog.errors import (
    ConflictError,
    ConsistencyError,
    DeniedError,
    NotFoundError,
    StorageError,
)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """Stores by kind, each started when it is first asked for."""
    stores: Started = {}
    yield stores
    for store in stores.values():
        store.stop(kill=True)


@pytest.fixture(params=KINDS)
def store(
    request: pytest.FixtureRequest,
    started: Started,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Store:
    found = start(KINDS[request.param], started, tmp_path_factory)
    use(found, monkeypatch)
    return found


@pytest.fixture
def moto(
    started: Started,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Store:
    found = start(Moto, started, tmp_path_factory)
    use(found, monkeypatch)
    return found


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """A part of the bucket for each test."""
    name: str = request.node.name
    return "logs/" + "".join(letter if letter.isalnum() else "-" for letter in name)


def grow(log: LogMaker, size: int) -> None:
    log.append(*drafts(range(len(log.lines), size)))
    log.lay_out()


def judged(url: str, log: LogMaker) -> tuple[str, list[str]]:
    """Verdict and findings."""
    trust = [format_vkey(log.checkpoint_key.verifier)]
    report = judge_published(url, trust=trust, full=True, remember=False)
    return report.verdict, [item.code for item in report.findings]


def test_a_bucket_has_what_a_folder_has(store: Store, prefix: str, tmp_path: Path) -> None:
    log, public, url = LogMaker(tmp_path / "log"), tmp_path / "public", f"s3://{BUCKET}/{prefix}"
    for size in (1, 300, 600):
        grow(log, size)
        there, here = publish_log(log.root, url), publish_log(log.root, public)
        assert (there.size, there.old_size, there.written, there.found) == (
            size, here.old_size, here.written, 0,
        )  # fmt: skip
        assert store.objects(prefix) == published_files(public)
        assert judged(url, log) == ("VERIFIED", [])
    again = publish_log(log.root, url)
    assert (again.path, again.written, again.found) == (url, 0, 0)
    assert (publish_log(log.root, url, whole=True).written, len(store.objects(prefix))) == (0, 13)


def test_it_is_a_web_site_as_it_is(moto: Store, prefix: str, tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log")
    grow(log, 2)
    publish_log(log.root, f"s3://{BUCKET}/{prefix}")
    client = moto.client()
    said = {
        name: client.head_object(Bucket=BUCKET, Key=f"{prefix}/{name}")
        for name in ("checkpoint", "tile/0/000.p/2")
    }
    assert said["checkpoint"]["ContentType"] == "text/plain; charset=utf-8"
    assert said["checkpoint"]["CacheControl"] == "max-age=1"
    assert said["tile/0/000.p/2"]["ContentType"] == "application/octet-stream"
    assert "immutable" in said["tile/0/000.p/2"]["CacheControl"]


def test_a_changed_object_is_evidence_and_a_missing_one_could_not_be_looked_at(
    store: Store, prefix: str, tmp_path: Path
) -> None:
    log, url = LogMaker(tmp_path / "log"), f"s3://{BUCKET}/{prefix}"
    grow(log, 600)
    publish_log(log.root, url)
    before = store.objects(prefix)
    for name, code in [("tile/0/001", "published.tile"), ("tile/entries/001", "published.bundle")]:
        good = before[name]
        store.put(f"{prefix}/{name}", good[:-1] + bytes([good[-1] ^ 1]))
        assert judged(url, log) == ("TAMPERED", [code])
        with pytest.raises(ConsistencyError) as caught:
            publish_log(log.root, url, whole=True)
        assert caught.value.path == f"{url}/{name}"
        store.put(f"{prefix}/{name}", good + b"more")
        assert judged(url, log) == ("TAMPERED", [code])
        with pytest.raises(ConsistencyError):
            publish_log(log.root, url, whole=True)
        store.delete(f"{prefix}/{name}")
        verdict, codes = judged(url, log)
        assert (verdict, codes[0]) == ("UNKNOWN", "log.unreadable")
        assert publish_log(log.root, url, whole=True).written == 1
        assert judged(url, log) == ("VERIFIED", [])
    store.delete(f"{prefix}/checkpoint")
    assert judged(url, log)[0] == "UNKNOWN"


def test_two_publishers_at_once(store: Store, prefix: str, tmp_path: Path) -> None:
    log, url = LogMaker(tmp_path / "log"), f"s3://{BUCKET}/{prefix}"
    with open_publishing(url) as one, open_publishing(url) as other:
        grow(log, 300)
        one.publish(log.root)
        other.publish(log.root)  # the same: nothing to do
        grow(log, 400)
        one.publish(log.root)
        grow(log, 450)
        # It read the checkpoint of 300 entries, which is not there any more.
        with pytest.raises(ConflictError) as caught:
            other.publish(log.root)
        assert caught.value.retryable
        assert b"\n400\n" in store.objects(prefix)["checkpoint"]
        assert other.publish(log.root).old_size == 400
    assert judged(url, log) == ("VERIFIED", [])


def test_publishers_that_race(store: Store, prefix: str, tmp_path: Path) -> None:
    log, url = LogMaker(tmp_path / "log"), f"s3://{BUCKET}/{prefix}"
    grow(log, 700)
    failures: list[BaseException] = []

    def race() -> None:
        try:
            publish_log(log.root, url)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test shows it
            failures.append(error)

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # All of them say the same: nobody fails, whoever was first.
    assert failures == []
    assert judged(url, log) == ("VERIFIED", [])


def test_a_log_that_was_rolled_back_is_refused(store: Store, prefix: str, tmp_path: Path) -> None:
    log, url = LogMaker(tmp_path / "log"), f"s3://{BUCKET}/{prefix}"
    grow(log, 300)
    publish_log(log.root, url)
    before = store.objects(prefix)
    shorter, other = LogMaker(tmp_path / "shorter"), LogMaker(tmp_path / "other")
    grow(shorter, 299)
    with pytest.raises(ConsistencyError, match="300 entries are published"):
        publish_log(shorter.root, url)
    other.append(draft(7, actor_id="another"))
    grow(other, 400)
    with pytest.raises(ConsistencyError, match="no prefix"):
        publish_log(other.root, url)
    assert store.objects(prefix) == before


def test_partial_objects_are_removed_when_the_full_one_is_there(
    store: Store, prefix: str, tmp_path: Path
) -> None:
    log, url = LogMaker(tmp_path / "log"), f"s3://{BUCKET}/{prefix}"
    for size in (3, 100, 255, 300):
        grow(log, size)
        publish_log(log.root, url)
    publish_log(log.root, url, remove_partials_after_s=3_600)
    assert len(store.objects(prefix)) == 12
    publish_log(log.root, url, remove_partials_after_s=-3_600)  # whatever the store's clock says
    assert sorted(store.objects(prefix)) == [
        "checkpoint", "tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000",
        "tile/entries/001.p/44",
    ]  # fmt: skip
    assert judged(url, log) == ("VERIFIED", [])


def test_lost_answers_are_harmless(
    moto: Store, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, url = LogMaker(tmp_path / "log"), f"s3://{BUCKET}/{prefix}"
    with LostAnswers(moto.port) as proxy:
        use(moto, monkeypatch, proxy.url)
        for size in (300, 600):
            grow(log, size)
            done = publish_log(log.root, url)
            assert (done.size, done.written + done.found) == (size, 5)
        assert proxy.lost == 13  # ten tiles and bundles, the checkpoint's name, two probes
    use(moto, monkeypatch)
    assert judged(url, log) == ("VERIFIED", [])


KILLED = """
import os, signal, sys
from attestlog._internal.storage.objects import bucket, published
from attestlog._internal.storage.publishing import publish_log
log, url, nth = sys.argv[1], sys.argv[2], int(sys.argv[3])
published.CONNECTIONS = 1
count, put = 0, bucket.Bucket._put
def counted(self, name, data, *rest):
    global count
    if not name.startswith(bucket.PROBE_PREFIX):
        count += 1
        if count > nth:
            os.kill(os.getpid(), signal.SIGKILL)
    return put(self, name, data, *rest)
bucket.Bucket._put = counted
print(publish_log(log, url).found)
"""


@pytest.mark.slow
def test_a_kill_at_any_object(moto: Store, prefix: str, tmp_path: Path) -> None:
    log, url = LogMaker(tmp_path / "log"), f"s3://{BUCKET}/{prefix}"
    grow(log, 300)
    for puts in range(7):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, log.root, f"{url}/{puts}", str(puts)],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        there = moto.objects(f"{prefix}/{puts}")
        assert (done.returncode == 0, "checkpoint" in there) == (puts == 6, puts == 6), done.stderr
        assert len(there) == puts
        again = publish_log(log.root, f"{url}/{puts}")
        assert (again.written, again.found) == ((5 - puts, puts) if puts < 6 else (0, 0))
        assert judged(f"{url}/{puts}", log) == ("VERIFIED", [])


def test_what_the_page_says_is_typed(
    moto: Store, tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "publishing.md").read_text()
    lines = re.findall(r"^\$ attestlog (\w+ .*s3://.*)$", page, re.MULTILINE)
    moto.client().create_bucket(Bucket="example-logs")
    monkeypatch.chdir(tmp_path)
    assert main(["init", "audit", "--origin", "example.com/agents"]) == 0
    assert main(["verify", "audit"]) == 0  # its key is known from now on
    for line in lines:
        monkeypatch.setattr("time.sleep", interrupted(threading.current_thread()))
        # `--every` runs until Ctrl-C; the others end well.
        assert main(shlex.split(line, comments=True)) == (130 if "--every" in line else 0), line
    assert len(lines) == 4


def interrupted(own: threading.Thread) -> Callable[[float], None]:
    """Sleep that is interrupted in this thread. One of another test may be there, and not at its end yet."""
    real = time.sleep

    def sleep(seconds: float) -> None:
        if threading.current_thread() is own:
            raise KeyboardInterrupt
        real(seconds)

    return sleep


# --- what is refused ---


def test_a_store_that_ignores_conditions(
    started: Started,
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rclone = start(Rclone, started, tmp_path_factory)
    use(rclone, monkeypatch)
    log = LogMaker(tmp_path / "log")
    grow(log, 2)
    with pytest.raises(StorageError, match="ignores If-None-Match") as caught:
        publish_log(log.root, f"s3://{BUCKET}/refused")
    assert not caught.value.retryable
    assert rclone.objects("refused") == {}


def test_a_bucket_that_is_not_there_and_a_store_that_is_down(
    moto: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LogMaker(tmp_path / "log")
    grow(log, 2)
    with pytest.raises(NotFoundError, match="no such bucket"):
        publish_log(log.root, "s3://not-there/at-all")
    monkeypatch.setattr(buckets, "RETRIES_MAX", 0)
    with LostAnswers(moto.port) as proxy:
        use(moto, monkeypatch, proxy.url)
    with pytest.raises(StorageError) as caught:
        publish_log(log.root, f"s3://{BUCKET}/down")
    assert caught.value.retryable
    assert judged(f"s3://{BUCKET}/down", log) == ("UNKNOWN", ["log.unreadable"])


def test_credentials_that_are_refused_are_not_repeated(
    started: Started,
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(start(SeaweedFS, started, tmp_path_factory), monkeypatch)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret-at-all")
    log = LogMaker(tmp_path / "log")
    grow(log, 2)
    with pytest.raises(DeniedError) as caught:
        publish_log(log.root, f"s3://{BUCKET}/denied")
    assert "not-the-secret" not in repr(caught.value) + str(caught.value.evidence())
