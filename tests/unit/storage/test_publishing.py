"""Publishing a log: the right files and no others, only what is new, and nothing over what contradicts it."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.logs import CheckpointKey, LogMaker, draft, drafts
from tests.support.published import check_published, published_files

from attestlog._internal.core.checkpoint import Checkpoint, sign_checkpoint
from attestlog._internal.core.genesis import Settings
from attestlog._internal.log import Log
from attestlog._internal.storage import published_folder as publishing_folder
from attestlog._internal.storage import publishing
from attestlog._internal.storage.files import layout
from attestlog._internal.storage.published_folder import STAGING_DIR, open_folder
from attestlog._internal.storage.publishing import publish_log
from attestlog.errors import (
    BusyError,
    ConsistencyError,
    CorruptError,
    ExistsError,
    HashMismatchError,
    NotFoundError,
    SignatureInvalidError,
    TrustError,
)
from attestlog.testing import MemorySigner


def grow(log: LogMaker, size: int) -> None:
    """To this many entries, laid out with a checkpoint over all of them."""
    first = len(log.lines)
    if size > first:
        log.append(*drafts(range(first, size)))
    log.lay_out()


@pytest.fixture(scope="module")
def of_600(tmp_path_factory: pytest.TempPathFactory) -> LogMaker:
    log = LogMaker(tmp_path_factory.mktemp("made") / "log")
    grow(log, 600)
    return log


@pytest.fixture
def log(of_600: LogMaker, tmp_path: Path) -> Path:
    """A copy, to be changed."""
    shutil.copytree(of_600.root, tmp_path / "log")
    return tmp_path / "log"


def entry_hashes(log: LogMaker, size: int) -> list[bytes]:
    return [bytes.fromhex(log.entry(number)["entry_hash"]) for number in range(size)]


def test_the_files_of_a_log(of_600: LogMaker, tmp_path: Path) -> None:
    done = publish_log(of_600.root, tmp_path / "public")
    files = published_files(tmp_path / "public")
    assert sorted(files) == [
        "checkpoint",
        "tile/0/000", "tile/0/001", "tile/0/002.p/88",
        "tile/1/000.p/2",
        "tile/entries/000", "tile/entries/001", "tile/entries/002.p/88",
    ]  # fmt: skip
    assert check_published(tmp_path / "public", of_600.checkpoint_key.verifier) == entry_hashes(of_600, 600)
    assert (done.size, done.old_size, done.written, done.found) == (600, 0, 7, 0)
    assert files["checkpoint"] == (of_600.root / "checkpoint").read_bytes()


def test_nothing_of_an_entrys_content_is_in_it(of_600: LogMaker, tmp_path: Path) -> None:
    publish_log(of_600.root, tmp_path / "public")
    everything = b"".join(published_files(tmp_path / "public").values())
    for said in (b"execute_autonomous_task", b"agent-1", b"T-7", b"attestlog.genesis", b"prev_entry_hash"):
        assert said in b"".join(of_600.lines)
        assert said not in everything


@pytest.mark.parametrize("threads", [0, 1, 8])
def test_it_grows_by_what_is_new_and_keeps_what_was_published(tmp_path: Path, threads: int) -> None:
    log, public = LogMaker(tmp_path / "log"), tmp_path / "public"
    seen: dict[str, bytes] = {}
    sizes = (1, 2, 255, 256, 257, 300, 511, 512, 700)
    for old, size in zip((0, *sizes), sizes, strict=False):
        grow(log, size)
        done = publish_log(log.root, public, threads=threads)
        files = published_files(public)
        assert (done.size, done.old_size, done.found) == (size, old, 0)
        assert done.written == len(files) - len(seen) - (old == 0)
        assert done.written <= 2 * ((size - old) // 256 + 2) + 1
        assert all(files[name] == data for name, data in seen.items() if name != "checkpoint")
        seen = files
        assert check_published(public, log.checkpoint_key.verifier) == entry_hashes(log, size)
    # Every partial tile that a checkpoint ever needed is still there.
    assert {f"tile/0/{name}" for name in ("000.p/1", "000.p/255", "001.p/1", "001.p/44")} < set(seen)


def test_again_is_nothing_new(of_600: LogMaker, tmp_path: Path) -> None:
    publish_log(of_600.root, tmp_path / "public")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "public").rglob("*") if path.is_file()}
    done = publish_log(of_600.root, tmp_path / "public")
    assert (done.old_size, done.written, done.found) == (600, 0, 0)
    done = publish_log(of_600.root, tmp_path / "public", whole=True)
    assert (done.written, done.found) == (0, 7)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "public").rglob("*") if path.is_file()}
    assert after == before


def test_whole_writes_what_went_missing(of_600: LogMaker, tmp_path: Path) -> None:
    public = tmp_path / "public"
    publish_log(of_600.root, public)
    before = published_files(public)
    (public / "tile/0/001").unlink()
    shutil.rmtree(public / "tile/1")
    done = publish_log(of_600.root, public, whole=True)
    assert (done.written, done.found) == (2, 5)
    assert published_files(public) == before


@pytest.mark.parametrize("name", ["tile/0/002.p/90", "tile/entries/002.p/90"])
@pytest.mark.parametrize("spoil", [lambda data: data[:-1] + b"?", lambda data: data[:-1], lambda data: b""])
def test_a_file_that_differs_is_evidence_and_stays(
    tmp_path: Path, name: str, spoil: Callable[[bytes], bytes], of_600: LogMaker
) -> None:
    public = tmp_path / "public"
    publish_log(of_600.root, public)
    old = (public / "checkpoint").read_bytes()
    ahead = LogMaker(tmp_path / "log")
    ahead.lines, ahead.head, ahead.ids = list(of_600.lines), of_600.head, of_600.ids
    grow(ahead, 602)
    publish_log(ahead.root, tmp_path / "right")
    right = (tmp_path / "right" / name).read_bytes()
    (public / name).write_bytes(spoil(right))
    with pytest.raises(ConsistencyError) as caught:
        publish_log(ahead.root, public)
    assert caught.value.path == str(public / name)
    assert (public / name).read_bytes() == spoil(right)
    assert (public / "checkpoint").read_bytes() == old


def test_another_history_is_not_published_over_this_one(tmp_path: Path) -> None:
    log, other, public = LogMaker(tmp_path / "log"), LogMaker(tmp_path / "other"), tmp_path / "public"
    grow(log, 300)
    publish_log(log.root, public)
    before = published_files(public)
    other.append(draft(7, actor_id="another"))
    grow(other, 400)
    with pytest.raises(ConsistencyError, match="no prefix"):
        publish_log(other.root, public)
    shorter = LogMaker(tmp_path / "shorter")
    grow(shorter, 299)
    with pytest.raises(ConsistencyError, match="300 entries are published"):
        publish_log(shorter.root, public)
    assert published_files(public) == before


def test_a_stranger_has_published_there(of_600: LogMaker, tmp_path: Path) -> None:
    public = tmp_path / "public"
    public.mkdir()
    stranger = CheckpointKey(9)
    note = sign_checkpoint(Checkpoint("example.com/made", 1, bytes(32)), [(stranger.verifier, stranger.sign)])
    (public / "checkpoint").write_bytes(note)
    with pytest.raises(TrustError):
        publish_log(of_600.root, public)
    assert (public / "checkpoint").read_bytes() == note


def test_a_checkpoint_with_more_signatures_is_published_again(
    of_600: LogMaker, tmp_path: Path, log: Path
) -> None:
    public, witness = tmp_path / "public", CheckpointKey(5, "example.com/other")
    publish_log(log, public)
    leaves = of_600.leaves()
    note = (log / "checkpoint").read_bytes()
    text = note.decode().rpartition("\n\n")[0] + "\n"
    extra = sign_checkpoint(
        Checkpoint("example.com/made", len(leaves), of_600.head.edge.root()),
        [(witness.verifier, witness.sign)],
    )
    (log / "checkpoint").write_bytes(note + extra[len(text.encode()) + 1 :])
    done = publish_log(log, public)
    assert (done.written, done.old_size) == (0, 600)
    assert (public / "checkpoint").read_bytes() == (log / "checkpoint").read_bytes()


# --- what is not published ---


def refused(log: Path, tmp_path: Path, error: type[Exception]) -> None:
    with pytest.raises(error):
        publish_log(log, tmp_path / "public")
    assert not (tmp_path / "public" / "checkpoint").exists()


@pytest.mark.parametrize("level, at", [(0, 0), (0, 300 * 32 + 5), (0, 590 * 32), (1, 0), (1, 40)])
def test_a_tree_that_does_not_lead_to_the_checkpoint(log: Path, tmp_path: Path, level: int, at: int) -> None:
    path = layout.tree_path(log, level)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    refused(log, tmp_path, HashMismatchError)
    bad = bytes(data[at // 8192 * 8192 :][:8192])
    assert bad not in published_files(tmp_path / "public").values()


@pytest.mark.parametrize("level", [0, 1])
def test_a_tree_that_is_short(log: Path, tmp_path: Path, level: int) -> None:
    path = layout.tree_path(log, level)
    path.write_bytes(path.read_bytes()[:-1])
    refused(log, tmp_path, CorruptError)
    path.unlink()
    refused(log, tmp_path, CorruptError)


def test_an_entry_that_is_not_the_trees(log: Path, tmp_path: Path) -> None:
    segment = log / "entries" / "000000000000.jsonl"
    lines = segment.read_bytes().split(b"\n")
    lines[300], lines[301] = lines[301], lines[300]
    segment.write_bytes(b"\n".join(lines))
    with pytest.raises(CorruptError) as caught:
        publish_log(log, tmp_path / "public")
    assert caught.value.sequence_number == 300


@pytest.mark.parametrize("rest", [b"", b"[]\n" * 300, b'{"entry_hash":"zz"}\n' * 300, b"\xff\n" * 300])
def test_entries_that_are_gone(log: Path, tmp_path: Path, rest: bytes) -> None:
    segment = log / "entries" / "000000000000.jsonl"
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(lines[:300]) + rest)
    refused(log, tmp_path, CorruptError)


def test_an_ordinary_line_is_not_decoded(
    of_600: LogMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "_decoded", None)
    assert publish_log(of_600.root, tmp_path / "public").size == 600


def test_a_payload_that_speaks_of_an_entry_hash(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log")
    log.append(draft(1, action_payload={"entry_hash": "00" * 32, "inner": {"entry_hash": "not hex"}}))
    log.append(draft(2, action_payload={"entry_hash": "é" * 64}))
    grow(log, 4)
    publish_log(log.root, tmp_path / "public")
    assert check_published(tmp_path / "public", log.checkpoint_key.verifier) == entry_hashes(log, 4)


def test_a_checkpoint_that_is_missing_forged_or_of_another_log(
    log: Path, tmp_path: Path, of_600: LogMaker
) -> None:
    good = (log / "checkpoint").read_bytes()
    (log / "checkpoint").write_bytes(good.replace(b"\n600\n", b"\n599\n"))
    refused(log, tmp_path, SignatureInvalidError)
    of_600_key = of_600.checkpoint_key
    elsewhere = Checkpoint("example.com/elsewhere", 600, of_600.head.edge.root())
    (log / "checkpoint").write_bytes(sign_checkpoint(elsewhere, [(of_600_key.verifier, of_600_key.sign)]))
    refused(log, tmp_path, ConsistencyError)
    (log / "checkpoint").unlink()
    refused(log, tmp_path, CorruptError)


def test_entries_after_the_checkpoint_are_not_published_yet(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log")
    log.append(*drafts(range(20)))
    log.lay_out(size=15)
    assert publish_log(log.root, tmp_path / "public").size == 15
    assert check_published(tmp_path / "public", log.checkpoint_key.verifier) == entry_hashes(log, 15)


def test_a_log_is_no_place_to_publish_to(of_600: LogMaker, log: Path) -> None:
    for place in (log, of_600.root):
        with pytest.raises(ExistsError):
            publish_log(of_600.root, place)


def test_no_log_to_publish(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        publish_log(tmp_path / "nothing", tmp_path / "public")
    assert not (tmp_path / "public").exists()


# --- the folder ---


def test_one_publisher_at_a_time(of_600: LogMaker, tmp_path: Path) -> None:
    with open_folder(tmp_path / "public"), pytest.raises(BusyError):
        publish_log(of_600.root, tmp_path / "public")
    assert publish_log(of_600.root, tmp_path / "public").size == 600


def test_what_a_killed_run_staged_is_removed(of_600: LogMaker, tmp_path: Path) -> None:
    staging = tmp_path / "public" / STAGING_DIR
    staging.mkdir(parents=True)
    (staging / "0").write_bytes(b"half a ti")
    publish_log(of_600.root, tmp_path / "public")
    assert not staging.exists()
    assert check_published(tmp_path / "public", of_600.checkpoint_key.verifier)


def test_a_folder_that_is_a_file(of_600: LogMaker, tmp_path: Path) -> None:
    (tmp_path / "public").write_bytes(b"")
    with pytest.raises((NotFoundError, ExistsError)):
        publish_log(of_600.root, tmp_path / "public")


def test_small_windows_change_nothing(
    of_600: LogMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_log(of_600.root, tmp_path / "one")
    monkeypatch.setattr(publishing_folder, "WINDOW_FILES", 2)
    publish_log(of_600.root, tmp_path / "two")
    assert published_files(tmp_path / "one") == published_files(tmp_path / "two")


def test_progress_is_of_what_is_new(of_600: LogMaker, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    publish_log(of_600.root, tmp_path / "public", progress=lambda done, total: told.append((done, total)))
    assert told == [(256, 600), (512, 600), (600, 600)]


def test_progress_of_an_increment(tmp_path: Path) -> None:
    log, told = LogMaker(tmp_path / "log"), list[tuple[int, int]]()
    for size in (300, 700):
        told.clear()
        grow(log, size)
        publish_log(log.root, tmp_path / "public", progress=lambda done, total: told.append((done, total)))
    # From the start of the tile that was not full yet.
    assert told == [(256, 444), (444, 444)]


def test_a_read_only_log_can_be_published(of_600: LogMaker, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in of_600.root.rglob("*") if path.is_file()}
    publish_log(of_600.root, tmp_path / "public")
    assert {path: path.read_bytes() for path in of_600.root.rglob("*") if path.is_file()} == before


def test_publishing_beside_a_writer(tmp_path: Path) -> None:
    public = tmp_path / "public"
    log = Log.create(
        tmp_path / "log", origin="example.com/busy", signer=MemorySigner(),
        checkpoint_signer=MemorySigner("Ed25519"), settings=Settings(segment_entries=100),
    )  # fmt: skip
    (key,) = log.genesis.checkpoint_keys

    def write() -> None:
        for number in range(40):
            log.append_many([draft(number)] * 17)
            log.checkpoint()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        sizes = []
        while not writing.done():
            sizes.append(publish_log(log.path, public).size)
            assert len(check_published(public, key) or ()) == sizes[-1]
        writing.result()
    log.close()
    assert sizes == sorted(sizes)
    assert publish_log(log.path, public).size == 1 + 40 * 17
    assert check_published(public, key)
