"""Verifying a published log: every fault by its own code, what was seen before, and never a guess."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.support.logs import OWNED, CheckpointKey, LogMaker, draft, drafts
from tests.support.serving import Site, refusing, reply, served

from attestlog._internal.core.checkpoint import Checkpoint, sign_checkpoint
from attestlog._internal.core.merkle import edge_from_stored, stored_ranges
from attestlog._internal.core.report import Report, Verdict
from attestlog._internal.core.tiles import Tile, format_path
from attestlog._internal.storage import http
from attestlog._internal.storage.publishing import publish_log
from attestlog._internal.verifying import judge_log, judge_published, published
from attestlog._internal.verifying.memory import memory_path, recall
from attestlog.errors import MalformedConfigError, QueryError

SIZE = 600


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> LogMaker:
    log = LogMaker(tmp_path_factory.mktemp("made") / "log")
    log.append(*drafts(range(1, SIZE)))
    log.lay_out()
    publish_log(log.root, log.root.parent / "public")
    return log


@pytest.fixture
def public(made: LogMaker, tmp_path: Path) -> Path:
    """A copy of the published folder, to be changed."""
    shutil.copytree(made.root.parent / "public", tmp_path / "public")
    return tmp_path / "public"


@pytest.fixture
def site(public: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(http, "RETRY_DELAY_S", 0.0)
    with served(public) as found:
        yield found


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def check(made: LogMaker, subject: object, state: Path, *, full: bool = True, trusted: bool = True) -> Report:
    trust = [made.checkpoint_key.vkey] if trusted else []
    return judge_published(str(subject), trust=trust, state_dir=state, full=full)


def codes(report: Report) -> set[str]:
    return {found.code for found in report.findings}


def grown(made: LogMaker, root: Path, size: int, *, spoil: bool = False) -> LogMaker:
    """The same log with more entries; `spoil`: another history under the same keys."""
    log = LogMaker(root)
    first = 1 if spoil else SIZE
    if not spoil:
        log.lines, log.head, log.ids, log.now_us = list(made.lines), made.head, made.ids, made.now_us
    log.append(*(draft(number, actor_id="x" if spoil else "y") for number in range(first, size)))
    log.lay_out()
    return log


# --- what holds ---


@pytest.mark.parametrize("full", [True, False])
def test_a_good_log_in_a_folder_and_at_a_url(made: LogMaker, site: Site, state: Path, full: bool) -> None:
    for subject in (site.folder, site.url):
        report = check(made, subject, state, full=full)
        assert (report.verdict, report.size, report.checkpoint_size) == (Verdict.VERIFIED, SIZE, SIZE)
        assert report.root == made.head.edge.root().hex()
        assert report.genesis_hash == made.entry(0)["entry_hash"]
        assert report.head_hash == made.entry(SIZE - 1)["entry_hash"]
        assert report.trusted_by == [made.checkpoint_key.vkey]
        assert codes(report) == (set() if full else {"published.partly_read"})


def test_in_full_every_file_is_read_and_none_twice(made: LogMaker, site: Site, state: Path) -> None:
    check(made, site.url, state)
    names = [path.relative_to(site.folder).as_posix() for path in site.folder.rglob("*") if path.is_file()]
    assert set(site.asked) == set(names)
    assert site.asked.count("checkpoint") == 1


def test_in_part_a_handful_of_files_is_read(made: LogMaker, site: Site, state: Path) -> None:
    check(made, site.url, state, full=False)
    assert sorted(set(site.asked)) == [
        "checkpoint", "tile/0/000", "tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/000",
        "tile/entries/002.p/88",
    ]  # fmt: skip


def test_the_genesis_hash_vouches_too(made: LogMaker, public: Path, state: Path) -> None:
    trust = [made.checkpoint_key.vkey, made.entry(0)["entry_hash"]]
    assert judge_published(public, trust=trust, state_dir=state).trusted_by == trust


def test_progress_is_told(made: LogMaker, public: Path) -> None:
    told: list[tuple[int, int]] = []
    judge_published(
        public, trust=[made.checkpoint_key.vkey], remember=False, full=True,
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert told == [(256, SIZE), (512, SIZE), (SIZE, SIZE)]


# --- whose it is ---


def test_without_a_key_nobody_can_say_who_signed_it(made: LogMaker, public: Path, state: Path) -> None:
    report = check(made, public, state, trusted=False)
    assert report.verdict == Verdict.UNKNOWN
    assert codes(report) == {"published.key_unknown", "published.partly_read"}
    assert not list(state.glob("*.json"))


def test_the_genesis_hash_alone_says_nothing_of_the_signature(made: LogMaker, public: Path) -> None:
    report = judge_published(public, trust=[made.entry(0)["entry_hash"]], remember=False)
    assert report.verdict == Verdict.UNKNOWN


@pytest.mark.parametrize("key", [CheckpointKey(7), CheckpointKey(1, "example.com/other")])
def test_another_key_than_the_logs(public: Path, key: CheckpointKey) -> None:
    report = judge_published(public, trust=[key.vkey], remember=False)
    assert report.verdict == Verdict.FORKED
    assert "trust.mismatch" in codes(report)
    assert report.trusted_by == []


def test_another_genesis_than_asked_for(made: LogMaker, public: Path, state: Path) -> None:
    check(made, public, state)
    report = judge_published(public, trust=["00" * 32], state_dir=state)
    assert (report.verdict, codes(report) - {"published.partly_read"}) == (Verdict.FORKED, {"trust.mismatch"})


def test_a_log_verified_before_is_known_by_its_remembered_key(
    made: LogMaker, public: Path, state: Path
) -> None:
    assert check(made, public, state).remembered_size is None
    report = check(made, public, state, trusted=False)
    assert (report.verdict, report.remembered_size) == (Verdict.VERIFIED, SIZE)
    assert report.self_attested


def test_a_log_verified_in_its_own_directory_is_known_too(made: LogMaker, public: Path, state: Path) -> None:
    assert judge_log(made.root, state_dir=state).verdict == Verdict.VERIFIED
    report = check(made, public, state, trusted=False)
    assert (report.verdict, report.remembered_size) == (Verdict.VERIFIED, SIZE)


# --- what does not hold ---


def flip(data: bytes) -> bytes:
    return data[:-7] + bytes([data[-7] ^ 1]) + data[-6:]


FILES = ["tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/000",
         "tile/entries/001", "tile/entries/002.p/88"]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "spoil", [flip, lambda data: data[:-1], lambda data: data + b"\0", lambda data: b"",
              lambda data: data[::-1]],
    ids=["bit", "shorter", "longer", "empty", "turned round"],
)  # fmt: skip
def test_a_changed_file_is_named(
    made: LogMaker, site: Site, state: Path, name: str, spoil: Callable[[bytes], bytes]
) -> None:
    path = site.folder / name
    path.write_bytes(spoil(path.read_bytes()))
    for subject in (site.folder, site.url):
        report = check(made, subject, state)
        assert report.verdict == Verdict.TAMPERED
        faults = {found.code for found in report.findings if found.verdict == Verdict.TAMPERED}
        assert faults <= {"published.bundle", "published.tile"}
        if "entries" in name:
            assert faults == {"published.bundle"}
    assert not list(state.glob("*.json")), "nothing bad is remembered"


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing_is_a_finding(made: LogMaker, site: Site, state: Path, name: str) -> None:
    (site.folder / name).unlink()
    report = check(made, site.folder, state)
    assert report.verdict == Verdict.TAMPERED
    assert "published.missing" in codes(report)
    # A server may have lost it, or keep it back: that says nothing of who published.
    report = check(made, site.url, state)
    assert report.verdict == Verdict.UNKNOWN
    assert "log.unreadable" in codes(report)
    assert "published.missing" not in codes(report)


def test_what_is_not_read_in_part_is_found_in_full(made: LogMaker, public: Path, state: Path) -> None:
    path = public / "tile/entries/001"
    path.write_bytes(flip(path.read_bytes()))
    assert check(made, public, state, full=False).verdict == Verdict.VERIFIED
    report = check(made, public, state, full=True)
    assert [found.sequence_number for found in report.findings] == [511]


def test_two_faults_are_two_findings(made: LogMaker, public: Path, state: Path) -> None:
    for name in ("tile/entries/000", "tile/0/001"):
        path = public / name
        path.write_bytes(flip(path.read_bytes()))
    report = check(made, public, state)
    assert report.finding_counts["published.tile"] == 1
    assert report.finding_counts["published.bundle"] >= 1


def test_a_forged_checkpoint(made: LogMaker, public: Path, state: Path) -> None:
    path = public / "checkpoint"
    good = path.read_bytes()
    path.write_bytes(good.replace(b"\n600\n", b"\n601\n"))
    report = check(made, public, state)
    assert report.verdict == Verdict.TAMPERED
    assert "checkpoint.signature" in codes(report)
    path.write_bytes(flip(good))
    assert check(made, public, state).verdict == Verdict.TAMPERED


@pytest.mark.parametrize("data", [b"", b"<html>", b"\xff" * 100, b"a\n1\n", b"x" * (1 << 21)])
def test_what_is_no_checkpoint(made: LogMaker, site: Site, state: Path, data: bytes) -> None:
    (site.folder / "checkpoint").write_bytes(data)
    for subject in (site.folder, site.url):
        report = check(made, subject, state)
        assert (report.verdict, codes(report)) == (Verdict.MALFORMED, {"published.not_a_log"})


def test_a_root_signed_by_the_log_that_its_tiles_do_not_lead_to(
    made: LogMaker, public: Path, state: Path
) -> None:
    key = made.checkpoint_key
    note = sign_checkpoint(Checkpoint(made.origin, SIZE, bytes(32)), [(key.verifier, key.sign)])
    (public / "checkpoint").write_bytes(note)
    report = check(made, public, state)
    assert (report.verdict, codes(report)) == (Verdict.TAMPERED, {"published.tile"})


def test_a_size_that_was_made_up_is_not_read_for_ever(
    made: LogMaker, site: Site, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signed by the log's own key, with a right edge to match, and nothing below it."""
    monkeypatch.setattr(published, "BAD_TILES_MAX", 20)
    size = (200 << 48) + (3 << 8) + 5
    top = [bytes([number]) * 32 for number in range(200)]
    edges = {6: top, 1: [b"a" * 32] * 3, 0: [b"b" * 32] * 5}
    for level, hashes in edges.items():
        path = site.folder / format_path(Tile(level, size >> 8 * (level + 1), len(hashes)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(hashes))
    root = edge_from_stored(
        size,
        [edges[level][start % 256 : (stop - 1) % 256 + 1] for level, start, stop in stored_ranges(size)],
    ).root()
    key = made.checkpoint_key
    note = sign_checkpoint(Checkpoint(made.origin, size, root), [(key.verifier, key.sign)])
    (site.folder / "checkpoint").write_bytes(note)
    report = check(made, site.folder, state)
    assert report.verdict == Verdict.TAMPERED
    assert {"published.missing", "published.partly_read"} <= codes(report)
    report = check(made, site.url, state)
    assert (report.verdict, "log.unreadable" in codes(report)) == (Verdict.UNKNOWN, True)
    assert len(site.asked) < 500
    # By nobody's key it is not worth even that.
    site.asked.clear()
    report = check(made, site.url, state, trusted=False)
    assert "published.key_unknown" in codes(report)
    assert len(site.asked) < 20


@pytest.mark.parametrize("bad", [2, 3])
def test_the_limit_of_bad_tiles(
    made: LogMaker, public: Path, state: Path, bad: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published, "BAD_TILES_MAX", bad - 1)
    for name in ("tile/0/000", "tile/0/001"):
        (public / name).unlink()
    report = check(made, public, state)
    assert ("published.partly_read" in codes(report)) == (bad == 2)


# --- what was seen before ---


def test_a_grown_log_still_begins_with_what_is_remembered(
    made: LogMaker, public: Path, state: Path, tmp_path: Path
) -> None:
    check(made, public, state)
    log = grown(made, tmp_path / "log", 1000)
    publish_log(log.root, public)
    report = check(made, public, state, full=False)
    assert (report.verdict, report.size, report.remembered_size) == (Verdict.VERIFIED, 1000, SIZE)
    memory = recall(state, made.origin, made.entry(0)["entry_hash"])
    assert memory is not None
    assert (memory.size, memory.checkpoint_size) == (1000, 1000)


@pytest.mark.parametrize("size, full", [(SIZE, True), (SIZE, False), (900, True), (900, False)])
def test_another_history_is_a_fork(
    made: LogMaker, state: Path, tmp_path: Path, size: int, full: bool
) -> None:
    check(made, made.root.parent / "public", state)
    log = grown(made, tmp_path / "log", size, spoil=True)
    publish_log(log.root, tmp_path / "other")
    report = check(made, tmp_path / "other", state, full=full)
    assert report.verdict == Verdict.FORKED
    assert codes(report) & {"memory.root", "memory.genesis"}
    memory = recall(state, made.origin, made.entry(0)["entry_hash"])
    assert memory is not None
    assert memory.root == made.head.edge.root().hex(), "what was seen first stays"


def test_an_older_checkpoint_is_a_rollback(made: LogMaker, public: Path, state: Path, tmp_path: Path) -> None:
    log = grown(made, tmp_path / "log", 700)
    publish_log(log.root, tmp_path / "newer")
    check(made, tmp_path / "newer", state)
    report = check(made, public, state)
    assert (report.verdict, codes(report)) == (Verdict.TRUNCATED, {"checkpoint.older"})


def test_what_is_remembered_beyond_the_checkpoint_needs_not_be_published_yet(
    made: LogMaker, tmp_path: Path, state: Path
) -> None:
    log = LogMaker(tmp_path / "log")
    log.append(*drafts(range(1, 40)))
    log.lay_out(size=30)
    assert judge_log(log.root, state_dir=state).size == 40
    publish_log(log.root, tmp_path / "public")
    report = check(log, tmp_path / "public", state)
    assert (report.verdict, report.remembered_size) == (Verdict.VERIFIED, 30)


def test_what_was_only_seen_published_is_not_skipped_in_the_log_itself(
    made: LogMaker, public: Path, state: Path
) -> None:
    check(made, public, state)
    with pytest.raises(QueryError, match="0 entries are remembered"):
        judge_log(made.root, state_dir=state, start=100)
    assert judge_log(made.root, state_dir=state).remembered_size == SIZE
    assert judge_log(made.root, state_dir=state, start=100).verdict == Verdict.VERIFIED


def test_what_was_read_of_the_log_itself_stays_known(made: LogMaker, state: Path, tmp_path: Path) -> None:
    assert judge_log(made.root, state_dir=state).verdict == Verdict.VERIFIED
    log = grown(made, tmp_path / "log", 900)
    publish_log(log.root, tmp_path / "public")
    assert check(made, tmp_path / "public", state).remembered_size == SIZE
    memory = recall(state, made.origin, made.entry(0)["entry_hash"])
    assert memory is not None
    assert (memory.size, memory.resumable) == (900, SIZE)
    with pytest.raises(QueryError, match=f"{SIZE} entries are remembered"):
        judge_log(log.root, state_dir=state, start=SIZE + 1)
    report = judge_log(log.root, state_dir=state, start=SIZE - 10)
    assert (report.verdict, report.remembered_size) == (Verdict.VERIFIED, 900)


def test_a_log_that_contradicts_what_was_published_is_a_fork(
    made: LogMaker, public: Path, state: Path, tmp_path: Path
) -> None:
    check(made, public, state)
    log = grown(made, tmp_path / "log", 700, spoil=True)
    assert judge_log(log.root, state_dir=state).verdict == Verdict.FORKED


def test_of_two_forks_verified_at_once_the_second_is_a_fork(
    made: LogMaker, public: Path, state: Path, tmp_path: Path
) -> None:
    for size, wanted in ((550, Verdict.FORKED), (700, Verdict.UNKNOWN)):
        other, folder = grown(made, tmp_path / f"log-{size}", size, spoil=True), tmp_path / f"public-{size}"
        publish_log(other.root, folder)
        done: list[Report] = []

        def progress(some: int, total: int, folder: Path = folder, done: list[Report] = done) -> None:
            if some == total and not done:
                done.append(check(made, folder, state / folder.name))

        report = judge_published(
            public,
            trust=[made.checkpoint_key.vkey],
            full=True,
            state_dir=state / folder.name,
            progress=progress,
        )
        assert done[0].verdict == Verdict.VERIFIED
        assert (report.verdict, len(codes(report))) == (wanted, 1)
        assert check(made, public, state / folder.name).verdict in {Verdict.FORKED, Verdict.TRUNCATED}


def test_a_key_that_is_given_beats_a_memory_that_nobody_vouched_for(tmp_path: Path, state: Path) -> None:
    true, strange = (
        LogMaker(tmp_path / "a", origin=OWNED),
        LogMaker(tmp_path / "b", origin=OWNED, first_id=500),
    )
    for log in (true, strange):
        log.append(draft(1))
        log.lay_out()
        publish_log(log.root, tmp_path / f"public-{log.root.name}")
    judge_log(strange.root, state_dir=state)
    trust = [true.entry(0)["entry_hash"]]
    report = judge_published(tmp_path / "public-a", state_dir=state)
    assert (report.verdict, codes(report) & {"memory.genesis"}) == (Verdict.FORKED, {"memory.genesis"})
    report = judge_published(tmp_path / "public-a", trust=trust, state_dir=state)
    assert (report.verdict, "memory.replaced" in codes(report)) == (Verdict.VERIFIED, True)
    assert judge_log(true.root, state_dir=state).remembered_size == 2
    assert judge_published(tmp_path / "public-b", state_dir=state).verdict == Verdict.FORKED


def test_a_memory_that_cannot_be_read_is_not_taken_for_none(
    made: LogMaker, public: Path, state: Path
) -> None:
    check(made, public, state)
    path = memory_path(state, made.origin, made.entry(0)["entry_hash"])
    good = msgspec.json.decode(path.read_bytes())
    for bad in (b"{", msgspec.json.encode({**good, "checkpoint_keys": ["none"]})):
        path.write_bytes(bad)
        report = check(made, public, state)
        assert report.verdict == Verdict.UNKNOWN
        assert "memory.unreadable" in codes(report)
        assert path.read_bytes() == bad


def test_without_remembering_nothing_is_left(made: LogMaker, public: Path, state: Path) -> None:
    trust = [made.checkpoint_key.vkey]
    report = judge_published(public, trust=trust, remember=False, state_dir=state)
    assert report.verdict == Verdict.VERIFIED
    assert not state.exists()


# --- could not look ---


@pytest.mark.parametrize("name", ["checkpoint", "tile/0/002.p/88", "tile/0/001", "tile/entries/001"])
@pytest.mark.parametrize("status", [500, 403, 302])
def test_what_cannot_be_read_is_unknown_and_ends_it(
    made: LogMaker, site: Site, state: Path, name: str, status: int
) -> None:
    site.answers[name] = lambda handler: reply(handler, status, b"")
    report = check(made, site.url, state)
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, {"log.unreadable"})
    assert not list(state.glob("*.json"))


def test_nothing_is_there(made: LogMaker, tmp_path: Path, state: Path) -> None:
    report = check(made, tmp_path / "nothing", state)
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, {"log.missing"})


def test_nobody_answers(made: LogMaker, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "RETRY_DELAY_S", 0.0)
    with refusing() as url:
        report = check(made, url, state)
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, {"log.unreadable"})


def test_a_url_that_is_not_to_be_read(made: LogMaker, state: Path) -> None:
    with pytest.raises(MalformedConfigError):
        check(made, "http://example.com/log", state)
