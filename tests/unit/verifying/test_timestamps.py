"""RFC 3161 time stamps: an answer is held against the question, and later against the entries."""

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from tests.support.logs import MINIMAL, LogMaker, draft, drafts
from tests.support.serving import Answer, Site, drip_body, drip_head, refusing, reply
from tests.support.tools import tool
from tests.support.tsa import KEYS, Authority

from attestlog._internal import timestamping
from attestlog._internal.core.report import Report, Verdict
from attestlog._internal.log import Log
from attestlog._internal.storage.contract import TIMESTAMP_SIZE_MAX_BYTES
from attestlog._internal.storage.files.beside import add_timestamp, list_timestamps
from attestlog._internal.timestamping import timestamp_checkpoint
from attestlog._internal.verifying import judge_log, timestamps
from attestlog._internal.verifying.timestamps import Stamp, vouched_size
from attestlog.errors import (
    MalformedConfigError,
    MissingExtraError,
    NotFoundError,
    StorageError,
    TimestampError,
)
from attestlog.testing import ManualClock, MemorySigner


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tsa") / "authority")


@pytest.fixture
def site(authority: Authority) -> Iterator[Site]:
    with authority.serving() as found:
        yield found


@pytest.fixture
def log(tmp_path: Path) -> LogMaker:
    made = LogMaker(tmp_path / "log")
    made.append(*drafts(range(1, 10)))
    made.lay_out()
    return made


def check(log: Path, *roots: Path) -> Report:
    return judge_log(log, tsa_roots=roots, remember=False)


def codes(report: Report) -> set[str]:
    return {found.code for found in report.findings}


def test_a_stamp_says_when_the_log_was_there(log: LogMaker, site: Site, authority: Authority) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    stamp = timestamp_checkpoint(log.root, site.url)
    assert (stamp.size, list_timestamps(log.root)) == (10, [(10, Path(stamp.path).name)])
    assert before <= stamp.time <= datetime.now(UTC) + timedelta(seconds=2)
    report = check(log.root, authority.root)
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, set())
    assert (report.timestamped_size, report.timestamped_at) == (10, stamp.time.isoformat())


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "sends", [("root",), ("issuing",), ("issuing", "root"), ("root", "issuing")], ids="+".join
)
def test_an_authority_that_sends_its_chain(
    log: LogMaker, tmp_path: Path, sends: tuple[str, ...], key: str
) -> None:
    """As FreeTSA and GlobalSign do, in the order of the chain. It is kept as it came, and counts."""
    chained = Authority(tmp_path / "chained", sends=sends, key=key)
    with chained.serving() as site:
        stamp = timestamp_checkpoint(log.root, site.url)
    assert Path(stamp.path).read_bytes() == (chained.folder / "response").read_bytes()
    report = check(log.root, chained.root)
    assert (report.verdict, codes(report), report.timestamped_size) == (Verdict.VERIFIED, set(), 10)
    # Put there by hand, it is no fault of the log's for who trusts another authority.
    assert check(log.root, Authority(tmp_path / "other", "other").root).verdict == Verdict.VERIFIED


def test_it_holds_for_a_log_that_has_grown(log: LogMaker, site: Site, authority: Authority) -> None:
    first = timestamp_checkpoint(log.root, site.url)
    log.append(*drafts(range(10, 300)))
    log.lay_out()
    assert check(log.root, authority.root).timestamped_size == 10
    timestamp_checkpoint(log.root, site.url)
    report = check(log.root, authority.root)
    assert (report.verdict, report.timestamped_size) == (Verdict.VERIFIED, 300)
    assert Path(first.path).exists()


def test_openssl_verifies_what_is_stored(
    log: LogMaker, site: Site, authority: Authority, tmp_path: Path
) -> None:
    stamp = timestamp_checkpoint(log.root, site.url)
    text = (log.root / "checkpoint").read_bytes().rpartition(b"\n\n")[0] + b"\n"
    (tmp_path / "text").write_bytes(text)
    subprocess.run(
        [tool("openssl"), "ts", "-verify", "-data", tmp_path / "text", "-in", stamp.path,
         "-CAfile", authority.root],
        check=True, capture_output=True,
    )  # fmt: skip


def test_the_authority_sees_a_hash_only(log: LogMaker, site: Site, authority: Authority) -> None:
    timestamp_checkpoint(log.root, site.url)
    assert log.origin.encode() not in (authority.folder / "query").read_bytes()


# --- what does not count ---


def test_without_a_root_a_stamp_shows_nothing(log: LogMaker, site: Site) -> None:
    timestamp_checkpoint(log.root, site.url)
    report = check(log.root)
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, {"timestamp.unverified"})
    assert (report.timestamped_size, report.timestamped_at) == (None, None)


def test_under_another_root_it_shows_nothing(log: LogMaker, site: Site, tmp_path: Path) -> None:
    timestamp_checkpoint(log.root, site.url)
    stranger = Authority(tmp_path / "stranger", "stranger")
    report = check(log.root, stranger.root)
    assert (report.verdict, codes(report), report.timestamped_size) == (
        Verdict.VERIFIED, {"timestamp.unverified"}, None,
    )  # fmt: skip


def test_any_of_several_roots_will_do(
    log: LogMaker, site: Site, authority: Authority, tmp_path: Path
) -> None:
    timestamp_checkpoint(log.root, site.url)
    stranger = Authority(tmp_path / "stranger", "stranger")
    assert check(log.root, stranger.root, authority.root).timestamped_size == 10
    both = tmp_path / "both.pem"
    both.write_bytes(stranger.root.read_bytes() + authority.root.read_bytes())
    assert check(log.root, both).timestamped_size == 10


@pytest.mark.parametrize("place", range(10))
def test_a_changed_stamp_does_not_count(log: LogMaker, site: Site, authority: Authority, place: int) -> None:
    stamp = timestamp_checkpoint(log.root, site.url)
    data = bytearray(Path(stamp.path).read_bytes())
    data[len(data) * place // 10] ^= 1
    Path(stamp.path).write_bytes(data)
    report = check(log.root, authority.root)
    assert report.timestamped_size is None
    assert codes(report) & {"timestamp.malformed", "timestamp.other", "timestamp.unverified"}


@pytest.mark.parametrize(
    "data", [b"", b"\x30\x03\x02\x01\x00", b"x" * 100, b"0" * (TIMESTAMP_SIZE_MAX_BYTES + 5)]
)
def test_what_is_no_stamp_is_a_finding(log: LogMaker, authority: Authority, data: bytes) -> None:
    add_timestamp(log.root, 5, data)
    for roots in ([], [authority.root]):
        report = check(log.root, *roots)
        assert (report.verdict, codes(report)) == (Verdict.TAMPERED, {"timestamp.malformed"})


def test_a_stamp_of_another_history_is_a_finding(
    log: LogMaker, site: Site, authority: Authority, tmp_path: Path
) -> None:
    stamp = timestamp_checkpoint(log.root, site.url)
    other = LogMaker(tmp_path / "other")
    other.append(*(draft(number, actor_id="another") for number in range(1, 10)))
    other.lay_out()
    add_timestamp(other.root, 10, Path(stamp.path).read_bytes())
    report = check(other.root, authority.root)
    assert (report.verdict, codes(report)) == (Verdict.TAMPERED, {"timestamp.other"})


def test_a_stamp_moved_to_another_size_is_a_finding(log: LogMaker, site: Site, authority: Authority) -> None:
    stamp = timestamp_checkpoint(log.root, site.url)
    Path(stamp.path).rename(Path(stamp.path).with_name(f"{9:012d}-00000000.tsr"))
    assert codes(check(log.root, authority.root)) == {"timestamp.other"}


def test_a_stamp_of_more_than_there_is(log: LogMaker, authority: Authority, site: Site) -> None:
    stamp = timestamp_checkpoint(log.root, site.url)
    Path(stamp.path).rename(Path(stamp.path).with_name(f"{11:012d}-00000000.tsr"))
    report = check(log.root, authority.root)
    assert (report.verdict, codes(report)) == (Verdict.TRUNCATED, {"timestamp.ahead"})


@pytest.mark.parametrize("most", [2, 3])
def test_the_limit_of_stamps(
    log: LogMaker, site: Site, authority: Authority, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        timestamp_checkpoint(log.root, site.url)
    add_timestamp(log.root, 5, b"no stamp, and of the smallest size")
    monkeypatch.setattr(timestamps, "TIMESTAMPS_MAX", most)
    report = check(log.root, authority.root)
    assert report.timestamped_size == 10
    assert codes(report) == ({"timestamp.unverified"} if most == 2 else {"timestamp.malformed"})


def test_other_files_are_let_be(log: LogMaker) -> None:
    folder = log.root / "timestamps"
    folder.mkdir()
    for name in ("README", "10-00000000.tsr", "000000000010.tsr", "000000000010-0000000g.tsr"):
        (folder / name).touch()
    assert list_timestamps(log.root) == []
    assert codes(check(log.root)) == set()


# --- after a revocation ---

T = datetime(2026, 1, 1, tzinfo=UTC)


def test_which_size_stamps_vouch_for() -> None:
    stamps = [Stamp(10, T), Stamp(30, T + timedelta(days=2)), Stamp(20, T + timedelta(days=1))]
    assert vouched_size(stamps, T) == 0
    assert vouched_size(stamps, T + timedelta(seconds=1)) == 10
    assert vouched_size(stamps, T + timedelta(days=2)) == 20
    assert vouched_size(stamps, T + timedelta(days=3)) == 30
    assert vouched_size([], T) == 0


@pytest.mark.parametrize("late", [False, True])
def test_what_was_stamped_before_the_revocation_is_not_doubtful(
    tmp_path: Path, site: Site, authority: Authority, late: bool
) -> None:
    # The log's clock decides whether the revocation comes before or after the stamp, which is of today.
    clock: Any = ManualClock()
    now_us = int(datetime.now(UTC).timestamp() * 1e6)
    clock.now_us = now_us + (-10 if late else 10) * 86_400_000_000
    root = tmp_path / "log"
    old = MemorySigner()
    log = Log.create(
        root, origin="example.com/revoked", clock=clock, signer=old, checkpoint_signer=MemorySigner("Ed25519")
    )
    log.append_many([MINIMAL] * 4)
    log.checkpoint()
    timestamp_checkpoint(root, site.url)
    log.rotate_key(MemorySigner())
    log.revoke_key(old.public_key.key_id, last_trusted=2, reason="stolen")
    log.close()
    without, with_stamp = check(root), check(root, authority.root)
    assert "key.revoked" in codes(without)
    assert with_stamp.timestamped_size == 5
    found = [found.sequence_number for found in with_stamp.findings if found.code == "key.revoked"]
    # Entry 5, the rotation, came after the stamp: it is doubtful either way, and all that follows from it.
    assert found[0] == (3 if late else 5)


# --- asking ---


def refused(log: LogMaker, url: str, error: type[Exception]) -> Exception:
    with pytest.raises(error) as caught:
        timestamp_checkpoint(log.root, url)
    assert list_timestamps(log.root) == []
    return caught.value


@pytest.mark.parametrize("status", [204, 301, 400, 404, 500, 503])
def test_an_authority_that_answers_otherwise(log: LogMaker, site: Site, status: int) -> None:
    site.answers["*"] = lambda handler: reply(handler, status, b"", location="/x")
    assert str(status) in str(refused(log, site.url, TimestampError))


@pytest.mark.parametrize("data", [b"", b"<html>", b"\x30\x03\x02\x01\x00"])
def test_an_answer_that_is_no_stamp(log: LogMaker, site: Site, data: bytes) -> None:
    site.answers["*"] = lambda handler: reply(handler, 200, data)
    refused(log, site.url, TimestampError)


def test_an_answer_without_end_is_left(log: LogMaker, site: Site) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.close_connection = True
        while True:
            handler.wfile.write(bytes(65_536))

    site.answers["*"] = endless
    assert "answers more than" in str(refused(log, site.url, TimestampError))


@pytest.mark.parametrize("drip", [drip_head, drip_body])
def test_an_answer_in_drips_is_not_waited_for(
    drip: Answer, log: LogMaker, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timestamping, "RESPONSE_TIME_MAX_S", 0.2)
    site.answers["*"] = drip
    assert "did not answer within 0.2" in str(refused(log, site.url, TimestampError))


def test_an_authority_is_asked_at_exactly_its_url(log: LogMaker, site: Site) -> None:
    for path in ("tsa", "tsa/", "tsa?key=1"):
        timestamp_checkpoint(log.root, site.url + path)
        assert site.asked.pop() == path


def test_an_answer_to_another_question_is_refused(log: LogMaker, site: Site, authority: Authority) -> None:
    timestamping.request_timestamp(b"another text", site.url)
    replay = (authority.folder / "response").read_bytes()
    site.answers["*"] = lambda handler: reply(handler, 200, replay)
    assert "something else" in str(refused(log, site.url, TimestampError))


def test_an_old_answer_to_the_same_question_is_refused(
    log: LogMaker, site: Site, authority: Authority, tmp_path: Path
) -> None:
    copy = LogMaker(tmp_path / "copy")
    copy.append(*drafts(range(1, 10)))
    copy.lay_out()
    assert (copy.root / "checkpoint").read_bytes() == (log.root / "checkpoint").read_bytes()
    timestamp_checkpoint(copy.root, site.url)
    replay = (authority.folder / "response").read_bytes()
    site.answers["*"] = lambda handler: reply(handler, 200, replay)
    assert "something else" in str(refused(log, site.url, TimestampError))


def test_a_refusal_says_why(log: LogMaker, site: Site, authority: Authority) -> None:
    bad = authority.stamp(b"not a query at all")
    site.answers["*"] = lambda handler: reply(handler, 200, bad)
    assert "refused to stamp" in str(refused(log, site.url, TimestampError))


def test_nobody_answers(log: LogMaker) -> None:
    with refusing() as url:
        assert "refused" in str(refused(log, url, TimestampError))


@pytest.mark.parametrize(
    "url", ["", "ftp://example.com", "file:///x", "http://", "https://\0", "https://user:secret@example.com"]
)
def test_what_is_no_authority(log: LogMaker, url: str) -> None:
    assert "secret" not in str(refused(log, url, MalformedConfigError))


def test_nothing_to_stamp(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        timestamp_checkpoint(tmp_path, "http://127.0.0.1:1")


# --- roots ---


def test_a_root_that_is_none(log: LogMaker, tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    with pytest.raises(MalformedConfigError):
        check(log.root, tmp_path / "bad.pem")
    with pytest.raises(NotFoundError):
        check(log.root, tmp_path / "missing.pem")
    with pytest.raises(StorageError):
        check(log.root, tmp_path)


def test_without_the_library_nothing_is_said_to_hold(
    log: LogMaker, site: Site, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    timestamp_checkpoint(log.root, site.url)
    monkeypatch.setitem(__import__("sys").modules, "rfc3161_client", None)
    report = check(log.root)
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, {"timestamp.unverified"})
    assert "not installed" in report.findings[0].message
    with pytest.raises(MissingExtraError, match="rfc3161-client"):
        check(log.root, authority.root)
    with pytest.raises(MissingExtraError):
        timestamp_checkpoint(log.root, site.url)
