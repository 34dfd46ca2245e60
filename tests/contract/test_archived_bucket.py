"""Segments in real object stores: read from there, brought back, and whole whatever is killed or lost."""

import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.logs import create, draft
from tests.support.repository import ROOT
from tests.support.stores import BUCKET, KINDS, LostAnswers, Moto, Rclone, Started, Store, start, use

import attestlog
from attestlog._internal.cli import main
from attestlog._internal.storage.files import archive, layout
from attestlog._internal.storage.files.archive import State, placed_segments
from attestlog._internal.storage.files.compressing import compress_segment
from attestlog._internal.storage.objects import archived, archiving
from attestlog._internal.storage.objects.archiving import archive_to_bucket, restore_from_buckets
from attestlog._internal.storage.objects.bucket import Bucket
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import ConflictError, ErasureRefusedError, NotFoundError, StorageError

SEGMENT = 8
SIZE = 44
MOVED = [8, 16, 24]
"""Of segments 0, 8, … 40: the first and the newest two stay."""

SECRET = "the secret of entry ten"


@pytest.fixture(scope="module")
def started() -> Iterator[Started]:
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
    started: Started, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Store:
    found = start(Moto, started, tmp_path_factory)
    use(found, monkeypatch)
    return found


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """A part of the bucket for each test."""
    name: str = request.node.name
    return "cold/" + "".join(letter if letter.isalnum() else "-" for letter in name)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log of six segments."""
    with create(tmp_path / "log", segment_entries=SEGMENT) as log:
        for number in range(1, SIZE):
            payload = {"said": SECRET} if number == 10 else {"number": number}
            log.append(draft(number, action_payload=payload))
    return tmp_path / "log"


def url_of(prefix: str) -> str:
    return f"s3://{BUCKET}/{prefix}"


def states(path: Path) -> list[str]:
    return [segment.state for segment in placed_segments(path)]


def judged(path: Path) -> tuple[str, set[str]]:
    """Verdict and findings."""
    report = attestlog.verify(path, remember=False, workers=1)
    return report.verdict, {finding.code for finding in report.findings}


def key_of(store: Store, prefix: str, first: int) -> str:
    """The one object of a segment."""
    (name,) = [name for name in store.objects(prefix) if f"/{first:012d}-" in f"/{name}"]
    return f"{prefix}/{name}"


def check_archived(path: Path, store: Store, prefix: str) -> None:
    """All that must be true of the log once it is archived, however that came about."""
    assert states(path) == ["here", *["bucket"] * 3, "here", "here"]
    assert len(store.objects(prefix)) == len(MOVED)
    assert judged(path) == ("VERIFIED", set())


def test_a_log_across_its_directory_and_a_bucket(store: Store, prefix: str, path: Path) -> None:
    before = list(open_source(path).lines())
    moved = archive_to_bucket(path, url_of(prefix))
    assert [segment.first for segment in moved] == MOVED
    check_archived(path, store, prefix)
    assert not any(SECRET.encode() in data for data in store.objects(prefix).values())  # compressed
    source = open_source(path)
    assert list(source.lines()) == before
    assert source.entry(10).action_payload == {"said": SECRET}
    attestlog.verify_proof(attestlog.prove(path, 20), trust=[attestlog.open(path).vkeys[0]])
    assert sum(1 for _ in attestlog.query_log(path, actor_id=draft(1)["actor_id"])) == SIZE - 1
    with attestlog.open(path) as log:
        assert log.append(draft(SIZE)).sequence_number == SIZE
    # Once more: nothing is left to do. One segment comes back, then all.
    assert archive_to_bucket(path, url_of(prefix)) == []
    assert [segment.first for segment in restore_from_buckets(path, [17])] == [16]
    assert states(path) == ["here", "bucket", "here", "bucket", "here", "here"]
    restore_from_buckets(path)
    assert set(states(path)) == {"here"}
    assert list(open_source(path).lines())[:SIZE] == before
    assert judged(path) == ("VERIFIED", set())


def test_what_is_missing_and_what_was_changed(moto: Store, prefix: str, path: Path) -> None:
    archive_to_bucket(path, url_of(prefix))
    key = key_of(moto, prefix, 8)
    good = moto.objects(prefix)[key.removeprefix(f"{prefix}/")]
    moto.delete(key)
    assert judged(path) == ("UNKNOWN", {"segment.absent"})
    with pytest.raises(NotFoundError):
        open_source(path).entry(10)
    assert open_source(path).entry(30).sequence_number == 30
    with pytest.raises(NotFoundError):
        restore_from_buckets(path)
    moto.put(key, good[:-40] + bytes([good[-40] ^ 1]) + good[-39:])
    verdict, codes = judged(path)
    assert verdict == "TAMPERED", codes
    moto.put(key, good)
    assert judged(path) == ("VERIFIED", set())


def test_an_entry_that_was_changed_in_the_bucket(
    moto: Store, prefix: str, path: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    attestlog.open(path).close()
    archive_to_bucket(path, url_of(prefix))
    key = key_of(moto, prefix, 8)
    # The same segment with another payload, compressed as well as it can be.
    with create(other, segment_entries=SEGMENT) as log:
        log.append_many([draft(number) for number in range(1, SIZE)])
    changed = list(open_source(path).lines(8, 16))
    changed[2] = changed[2].replace(b"secret", b"change")
    segment = other / "entries" / layout.segment_name(8)
    segment.write_bytes(b"".join(line + b"\n" for line in changed))
    moto.put(key, compress_segment(other, 8).read_bytes())
    verdict, codes = judged(path)
    assert (verdict, "entry.action_hash" in codes) == ("TAMPERED", True)


def test_one_entry_costs_its_frame(
    moto: Store, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    with create(path, segment_entries=1024) as log:
        log.append_many([draft(number) for number in range(1, 1024 * 3 + 2)])
    (moved,) = archive_to_bucket(path, url_of(prefix))
    monkeypatch.setattr(archived, "TAIL_BYTES", 256)
    asked: list[int] = []
    read_range = Bucket.read_range

    def counted(self: Bucket, name: str, start: int, stop: int) -> bytes:
        data = read_range(self, name, start, stop)
        asked.append(len(data))
        return data

    monkeypatch.setattr(Bucket, "read_range", counted)
    size = Bucket.size(*_bucket_of(str(moved.path)))
    assert open_source(path).entry(1700).sequence_number == 1700
    assert len(asked) <= 3
    assert sum(asked) < size * 0.6  # one frame of four, and the index
    asked.clear()
    assert judged(path)[0] == "VERIFIED"
    assert len(asked) < 20


def _bucket_of(url: str) -> tuple[Bucket, str]:
    return archived._place(url)


def test_lost_answers_are_harmless(
    moto: Store, prefix: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LostAnswers(moto.port) as proxy:
        use(moto, monkeypatch, proxy.url)
        archive_to_bucket(path, url_of(prefix))
        assert proxy.lost == len(MOVED) + 1  # and the probe
    use(moto, monkeypatch)
    check_archived(path, moto, prefix)


def test_two_at_once(moto: Store, prefix: str, path: Path) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            archive_to_bucket(path, url_of(prefix))
        except StorageError as error:  # the other one was faster at a segment: run again, it goes on
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert judged(path) == ("VERIFIED", set())
    archive_to_bucket(path, url_of(prefix))
    check_archived(path, moto, prefix)


def test_an_erasure_in_between_wins(
    moto: Store, prefix: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = archive.check_lines

    def then_erased(*given: object) -> None:
        check(*given)  # type: ignore[arg-type]
        monkeypatch.setattr(archive, "check_lines", check)
        with attestlog.open(path) as log:
            log.erase(10, reason="asked for", actor_id="officer-1")

    monkeypatch.setattr(archive, "check_lines", then_erased)
    with pytest.raises(ConflictError, match="changed while it was copied"):
        archive_to_bucket(path, url_of(prefix))
    assert moto.objects(prefix) == {}
    archive_to_bucket(path, url_of(prefix))
    check_archived(path, moto, prefix)
    assert open_source(path).entry(10).action_payload is None


def test_erasing_what_is_archived_is_refused_with_a_way_out(moto: Store, prefix: str, path: Path) -> None:
    archive_to_bucket(path, url_of(prefix))
    key = key_of(moto, prefix, 8)
    with attestlog.open(path) as log:
        size = log.head().size
        with pytest.raises(ErasureRefusedError) as caught:
            log.erase(10, reason="asked for", actor_id="officer-1")
        assert (caught.value.rule, log.head().size) == ("archived", size)
    restore_from_buckets(path, [10], remove=True)
    assert key.removeprefix(f"{prefix}/") not in moto.objects(prefix)
    with attestlog.open(path) as log:
        log.erase(10, reason="asked for", actor_id="officer-1")
    archive_to_bucket(path, url_of(prefix))
    check_archived(path, moto, prefix)
    assert key_of(moto, prefix, 8) != key
    assert open_source(path).entry(10).action_payload is None


@pytest.mark.parametrize("step", ["link", "swap", "delete"])
def test_bringing_back_for_good_is_cut_off(
    moto: Store, prefix: str, path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive_to_bucket(path, url_of(prefix))
    with monkeypatch.context() as patch:
        if step == "link":
            patch.setattr(archiving, "_replace_link", _cut_off)
        elif step == "swap":
            patch.setattr(Path, "replace", _cut_off_at(".restored", Path.replace))
        else:
            patch.setattr(Bucket, "delete", _cut_off)
        with pytest.raises(_CutOffError):
            restore_from_buckets(path, [10], remove=True)
    assert judged(path) == ("VERIFIED", set())
    restore_from_buckets(path, [10], remove=True)
    assert len(moto.objects(prefix)) == 2
    assert states(path)[1] == State.HERE
    assert not [name for name in (path / "entries").iterdir() if name.name.endswith(".archived")]


class _CutOffError(BaseException):
    """As a kill: nothing of ours handles it."""


def _cut_off(*_: object) -> None:
    raise _CutOffError


def _cut_off_at(suffix: str, function: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
    def cut(self: Path, target: Path) -> Path:
        if self.name.endswith(suffix):
            raise _CutOffError
        return function(self, target)

    return cut


KILLED = """
import os, signal, sys
from pathlib import Path
from attestlog._internal.storage.objects import archiving, bucket
path, url, nth = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
count = 0
def counted(function):
    def call(*given, **options):
        global count
        for _ in range(2):  # before it, and after it
            count += 1
            if count > nth:
                os.kill(os.getpid(), signal.SIGKILL)
            if _ == 0:
                result = function(*given, **options)
        return result
    return call
bucket.Bucket.create = counted(bucket.Bucket.create)
archiving.compress_segment = counted(archiving.compress_segment)
os.symlink = counted(os.symlink)
archiving.archive_to_bucket(path, url)
"""


@pytest.mark.slow
def test_a_kill_at_any_step(moto: Store, prefix: str, path: Path, tmp_path: Path) -> None:
    for nth in range(0, 19, 3):
        copy = tmp_path / f"copy-{nth}"
        shutil.copytree(path, copy)
        done = subprocess.run(
            [sys.executable, "-c", KILLED, copy, f"{url_of(prefix)}/{nth}", str(nth)],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert (done.returncode == 0) == (nth >= 18), done.stderr
        assert judged(copy) == ("VERIFIED", set())
        archive_to_bucket(copy, f"{url_of(prefix)}/{nth}")
        check_archived(copy, moto, f"{prefix}/{nth}")


# --- what is refused ---


def test_a_store_that_ignores_conditions(
    started: Started,
    tmp_path_factory: pytest.TempPathFactory,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rclone = start(Rclone, started, tmp_path_factory)
    use(rclone, monkeypatch)
    with pytest.raises(StorageError, match="ignores If-None-Match"):
        archive_to_bucket(path, url_of("refused"))
    assert set(states(path)) == {"here"}


def test_a_link_to_anything_else_is_not_followed(moto: Store, prefix: str, path: Path) -> None:
    archive_to_bucket(path, url_of(prefix))
    link = path / "entries" / layout.packed_name(8)
    for target in (
        f"s3://{BUCKET}/{prefix}/secrets",
        "s3://u:p@host/000000000008-0000000000000000.jsonl.zst",
    ):
        link.unlink()
        link.symlink_to(target)
        assert judged(path) == ("UNKNOWN", {"segment.absent"})


def test_a_copy_has_the_segments(moto: Store, prefix: str, path: Path, tmp_path: Path) -> None:
    archive_to_bucket(path, url_of(prefix))
    assert main(["copy", str(path), str(tmp_path / "copy")]) == 0
    assert set(states(tmp_path / "copy")) == {"here"}
    assert judged(tmp_path / "copy") == ("VERIFIED", set())


def test_what_the_page_says_is_typed(
    moto: Store, tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command of docs/archiving.md, in order, on a log of several segments."""
    page = (ROOT / "docs" / "archiving.md").read_text()
    lines = re.findall(r"^\$ (attestlog .*)$", page, re.MULTILINE)
    moto.client().create_bucket(Bucket="example-cold")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cold").mkdir()
    with attestlog.create(
        "audit", origin="example.com/agents", settings=attestlog.Settings(segment_entries=SEGMENT)
    ) as log:
        log.append_many([draft(number) for number in range(1, SIZE)])
    codes = [main(shlex.split(line, comments=True)[1:]) for line in lines]
    expected = [int(match[1]) if (match := re.search(r"# exit (\d)", line)) else 0 for line in lines]
    assert codes == expected, list(zip(lines, codes, strict=True))
    assert len(lines) >= 8
