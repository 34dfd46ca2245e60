"""A replica that lies, against the writer's client and sender, and against restoring from it.

Each lie is refused with the error that says what it is, and nothing of it is
kept: no cosignature, no cursor beyond what is true, no log, no file beside it.
"""

import contextlib
import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from tests.support.faults import FAULTS, Faults, injected
from tests.support.logs import MINIMAL, ORIGIN, CheckpointKey, LogMaker, draft, drafts
from tests.support.replicas import Writer
from tests.support.serving import Answer, Site, drip_body, drip_head, reply, served

import attestlog
from attestlog._internal.config import ReplicaAt, Signers
from attestlog._internal.core.checkpoint import Checkpoint, format_checkpoint
from attestlog._internal.core.cosignature import cosign
from attestlog._internal.core.note import COSIGNATURE_ED25519, VerifierKey, format_vkey, parse_note
from attestlog._internal.core.replication import (
    ANSWER_SIZE_MAX_BYTES,
    decode_shipment,
    encode_answer,
    log_id,
)
from attestlog._internal.core.replication import ReplicaAnswer as SignedAnswer
from attestlog._internal.replication import client as client_module
from attestlog._internal.replication.client import CLAIM_MAX_CHARACTERS, REASON_MAX_CHARACTERS, ReplicaClient
from attestlog._internal.replication.cursor import load_cursor
from attestlog._internal.replication.settings import add_replica
from attestlog._internal.restoring import Restored, RestoreDemands, restore_log
from attestlog._internal.storage.files import layout
from attestlog._internal.storage.resolve import open_source
from attestlog._internal.verifying import judge_log
from attestlog.errors import (
    AttestlogError,
    ConflictError,
    ExistsError,
    MalformedEntryError,
    ReplicationError,
    SignatureInvalidError,
    SplitViewError,
    StaleSizeError,
    StorageError,
    VerificationError,
)
from attestlog.testing import MemorySigner

NAME = "replica.example.com/liar"
PIECES_MAX = 10_000
"""Of an answer without end: nobody reads so many."""


@dataclass
class Liar:
    """A server that says what it is told to."""

    web: Site
    token_file: Path
    signer: MemorySigner

    @property
    def vkey(self) -> VerifierKey:
        return VerifierKey(NAME, COSIGNATURE_ED25519, self.signer.public_key.key.public_bytes_raw())  # type: ignore[union-attr]

    @property
    def at(self) -> ReplicaAt:
        return ReplicaAt(url=self.web.url, vkey=format_vkey(self.vkey), token_file=str(self.token_file))

    def says(self, path: str, data: bytes | object, status: int = 200, **headers: str) -> None:
        """What it answers at a path below the log's."""
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.web.answers[f"logs/{log_id(ORIGIN)}{path}"] = answering(body, status, **headers)

    def does(self, path: str, answer: Answer) -> None:
        self.web.answers[f"logs/{log_id(ORIGIN)}{path}"] = answer

    def offers(self, log: LogMaker, **described: Any) -> None:
        """The log, as if it held it; `described`: members of the description that are not so."""
        self.says("", {"size": len(log.lines), **described})
        for start in range(len(log.lines) + 1):
            lines = b"".join(line + b"\n" for line in log.lines[start:])
            self.says(f"/entries?start={start}", lines)
        self.says("/checkpoint", (log.root / layout.CHECKPOINT_FILE).read_bytes())

    def cosigns(self, text: str) -> bytes:
        """An answer for 10 entries with its cosignature over this text."""
        return encode_answer(SignedAnswer(10, (cosign(text, self.vkey, 1_800_000_000, self.signer.sign),)))


def answering(body: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.rfile.read(int(handler.headers.get("content-length", 0)))
        reply(handler, status, body, **headers)

    return answer


def endless(piece: bytes, sent: list[int]) -> Answer:
    """A chunked body that does not end by itself; `sent` gets a number for each piece that went out."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.rfile.read(int(handler.headers.get("content-length", 0)))
        handler.send_response(200)
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        for number in range(PIECES_MAX):
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            sent.append(number)

    return answer


@pytest.fixture
def liar(tmp_path: Path) -> Iterator[Liar]:
    token = tmp_path / "token"
    token.write_text("writer_secret")
    with served(tmp_path / "nothing") as web:
        made = Liar(web, token, MemorySigner("Ed25519"))
        made.says("", {"size": 0})
        yield made


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    made = Writer(LogMaker(tmp_path / "log", origin=ORIGIN))
    made.append(9)
    return made


def refused(writer: Writer, liar: Liar, kind: type[AttestlogError], match: str) -> AttestlogError:
    """That a round ends with this error, and that nothing of what was said is kept."""
    with pytest.raises(kind, match=match) as caught:
        writer.sender(liar.at).run_once()
    assert type(caught.value) is kind
    assert (writer.kept, writer.recorded) == ([], [])
    assert load_cursor(open_source(writer.log.root).cursors(), liar.at.url).cosigned_size == 0
    return caught.value


# --- to a writer ---


@pytest.mark.parametrize(
    "described, kind, match",
    [
        ({"size": -1}, ReplicationError, "describes its copy as nobody can read"),
        ({"size": "10"}, ReplicationError, "describes its copy as nobody can read"),
        ({"root": "00"}, ReplicationError, "describes its copy as nobody can read"),
        ({"size": 11}, ReplicationError, "holds 11 entries, the log has 10"),
        ({"size": 10**18}, ReplicationError, "the log has 10"),
        ({"size": 5, "root": "00" * 32}, SplitViewError, "not the first of this log"),
        ({"size": 10}, SplitViewError, "not the first of this log"),
    ],
)
def test_a_size_that_is_not_so_is_seen_before_anything_is_sent(
    described: dict[str, object], kind: type[AttestlogError], match: str, writer: Writer, liar: Liar
) -> None:
    liar.says("", described)
    refused(writer, liar, kind, match)
    assert load_cursor(open_source(writer.log.root).cursors(), liar.at.url).size == 0
    assert len(liar.web.asked) == 1


@pytest.mark.parametrize("size", [0, 9])
def test_who_takes_entries_and_says_to_hold_fewer_is_not_sent_them_for_ever(
    size: int, writer: Writer, liar: Liar
) -> None:
    liar.says("/entries", b"%d\n" % size)
    error = refused(writer, liar, ReplicationError, f"up to 10 and says that it holds {size}")
    assert not error.evidence()["retryable"]
    assert load_cursor(open_source(writer.log.root).cursors(), liar.at.url).size == 0


def test_more_than_was_sent_is_not_believed(writer: Writer, liar: Liar) -> None:
    liar.says("/entries", b"99\n")
    sender = writer.sender(liar.at)
    sender.run_once()
    assert (sender.held, sender.cursor.cosigned_size, writer.kept) == (10, 0, [])


def test_a_cosignature_over_anything_else_is_not_kept(writer: Writer, liar: Liar) -> None:
    text = parse_note((writer.log.root / layout.CHECKPOINT_FILE).read_bytes()).text
    for other in (
        format_checkpoint(Checkpoint(ORIGIN, 10, b"\1" * 32)),
        format_checkpoint(Checkpoint(ORIGIN, 9, b"\1" * 32)),
        text.replace(ORIGIN, "example.com/other"),
    ):
        liar.says("/entries", liar.cosigns(other))
        refused(writer, liar, SignatureInvalidError, "signature")
    liar.says("/entries", liar.cosigns(text))
    writer.sender(liar.at).run_once()
    assert [line.name for _, lines in writer.kept for line in lines] == [NAME]


@pytest.mark.parametrize(
    "body, match",
    [
        (b"", "answers what is no answer"),
        (b"<html>welcome</html>", "answers what is no answer"),
        (b"010\n", "answers what is no answer"),
        (b"10\nno signature line\n", "answers what is no answer"),
        (b"-10\n", "answers what is no answer"),
        (b"9" * ANSWER_SIZE_MAX_BYTES, "answers what is no answer"),
        (b"9" * (ANSWER_SIZE_MAX_BYTES + 1), f"answers more than {ANSWER_SIZE_MAX_BYTES} bytes"),
    ],
)
def test_an_answer_that_is_none_or_too_large_is_refused(
    body: bytes, match: str, writer: Writer, liar: Liar
) -> None:
    liar.says("/entries", body)
    refused(writer, liar, ReplicationError, match)


def test_an_answer_without_end_is_not_read_to_it(writer: Writer, liar: Liar) -> None:
    sent: list[int] = []
    for path in ("", "/entries"):
        sent.clear()
        liar.does(path, endless(b"1" * 65_536, sent))
        refused(writer, liar, ReplicationError, "answers more than")
        assert len(sent) < PIECES_MAX
        liar.says("", {"size": 0})


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity, gzip"])
def test_a_compressed_answer_was_not_asked_for_and_is_not_unpacked(
    encoding: str, writer: Writer, liar: Liar
) -> None:
    for path in ("", "/entries"):
        liar.says(path, gzip.compress(bytes(64 << 20)), Content_Encoding=encoding)
        error = refused(writer, liar, ReplicationError, "encoded form")
        assert not error.evidence()["retryable"]
        liar.says("", {"size": 0})


@pytest.mark.parametrize("drip", [drip_head, drip_body])
def test_an_answer_in_drips_is_not_waited_for(
    drip: Answer, writer: Writer, liar: Liar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "ANSWER_MAX_S", 0.2)
    monkeypatch.setattr(client_module, "RATE_MIN_BYTES_PER_S", 1e12)
    for path in ("", "/entries"):
        liar.does(path, drip)
        error = refused(writer, liar, ReplicationError, "did not answer within 0.2")
        assert error.evidence()["retryable"]
        liar.says("", {"size": 0})
    with closing(ReplicaClient(liar.at, ORIGIN)) as client:
        for path, ask in (
            ("/entries?start=0", lambda: client.lines(0)),
            ("/checkpoint", client.checkpoint),
            ("/unerased", client.unerased),
        ):
            liar.does(path, drip)
            with pytest.raises(ReplicationError, match=r"did not answer within 0\.2"):
                ask()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_the_token_goes_nowhere_else(
    status: int, writer: Writer, liar: Liar, tmp_path: Path
) -> None:
    with served(tmp_path / "nothing") as elsewhere:
        elsewhere.answers["*"] = answering(b'{"size": 0}')
        for path in ("", "/entries"):
            liar.says(path, b"", status, Location=f"{elsewhere.url}/taken")
            refused(writer, liar, ReplicationError, f"answers {status}")
            liar.says("", {"size": 0})
        client = ReplicaClient(liar.at, ORIGIN)
        for path, ask in (
            ("/entries?start=0", lambda: client.lines(0)),
            ("/checkpoint", client.checkpoint),
            ("/unerased", client.unerased),
        ):
            liar.says(path, b"", status, Location=f"{elsewhere.url}/taken")
            with pytest.raises(ReplicationError, match=f"answers {status}"):
                ask()
        client.close()
        assert elsewhere.asked == []


def test_a_refusal_that_changes_its_mind_ends_the_round(writer: Writer, liar: Liar) -> None:
    for known_size in (0, 7, -1, 10**17):
        refusal = {"code": StaleSizeError.code, "detail": "not so", "evidence": {"known_size": known_size}}
        liar.says("/entries", refusal, 409)
        refused(writer, liar, StaleSizeError, "not so")
    assert len(liar.web.asked) <= 20


def test_a_reason_is_quoted_up_to_a_limit(writer: Writer, liar: Liar) -> None:
    for length, shown in (
        (REASON_MAX_CHARACTERS, REASON_MAX_CHARACTERS),
        (REASON_MAX_CHARACTERS + 1, REASON_MAX_CHARACTERS),
    ):
        liar.says("/entries", {"code": "x", "detail": "~" * length}, 400)
        error = refused(writer, liar, ReplicationError, "answers 400")
        assert error.message.count("~") == shown


def test_a_claim_of_two_histories_is_quoted_up_to_a_limit(writer: Writer, liar: Liar) -> None:
    at_most, too_long = "x" * CLAIM_MAX_CHARACTERS, "x" * (CLAIM_MAX_CHARACTERS + 1)
    for ours, theirs in ((at_most, too_long), (too_long, at_most)):
        claim = {"ours": ours, "theirs": theirs, "sequence_number": 4}
        liar.says("/entries", {"code": SplitViewError.code, "detail": "two", "evidence": claim}, 409)
        facts = refused(writer, liar, SplitViewError, "two").evidence()
        shown = [claim if len(claim) <= CLAIM_MAX_CHARACTERS else "" for claim in (ours, theirs)]
        assert [facts["ours"], facts["theirs"]] == shown
    liar.says("", {"size": 5, "checkpoint": too_long})
    assert refused(writer, liar, SplitViewError, "not the first").evidence()["theirs"] == ""


# --- to who restores ---


def restore(root: Path, liar: Liar, demands: RestoreDemands) -> Restored:
    with closing(ReplicaClient(liar.at, ORIGIN)) as client:
        return restore_log(root, client, Signers(entry="none:", checkpoint="none:"), demands)


def refused_restoring(
    root: Path, liar: Liar, kind: type[AttestlogError], match: str, demands: RestoreDemands
) -> None:
    """That restoring ends with this error, and that `root` and its folder are as they were."""
    before = {path: path.stat().st_mtime_ns for path in root.parent.rglob("*")}
    with pytest.raises(kind, match=match) as caught:
        restore(root, liar, demands)
    assert type(caught.value) is kind
    assert {path: path.stat().st_mtime_ns for path in root.parent.rglob("*")} == before


@pytest.fixture
def made(tmp_path: Path) -> LogMaker:
    log = LogMaker(tmp_path / "theirs", origin=ORIGIN)
    log.append(*drafts(range(9)), batched=False)
    log.lay_out()
    return log


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "ours").mkdir()
    return tmp_path / "ours/log"


def fewer_lines(log: LogMaker, liar: Liar) -> None:
    liar.offers(log, size=12)


def less_than_its_checkpoint(log: LogMaker, liar: Liar) -> None:
    liar.offers(log, size=8)


def another_log(log: LogMaker, liar: Liar) -> None:
    other = LogMaker(log.root, origin="example.com/other")
    other.append(draft(1))
    other.lay_out()
    liar.offers(other)


def a_changed_entry(log: LogMaker, liar: Liar) -> None:
    log.lines[4] = log.lines[4].replace(b'"agent', b'"agemt')
    liar.offers(log)


def entries_of_another_log(log: LogMaker, liar: Liar) -> None:
    other = LogMaker(log.root, origin="example.com/other")
    other.append(*drafts(range(9)), batched=False)
    log.lines[5:] = other.lines[5:]
    liar.offers(log)


def no_entry_at_all(log: LogMaker, liar: Liar) -> None:
    liar.offers(log)
    liar.says("/entries?start=0", b"\n" * 10)


def a_line_without_an_end(log: LogMaker, liar: Liar) -> None:
    liar.offers(log)
    liar.says("/entries?start=0", b"\n".join(log.lines))


def a_rewritten_log(log: LogMaker, liar: Liar) -> None:
    """By the key holder, but for the checkpoint."""
    log.reseal(4, action_type="rewritten")
    note = (log.root / layout.CHECKPOINT_FILE).read_bytes()
    log.lay_out()
    (log.root / layout.CHECKPOINT_FILE).write_bytes(note)
    liar.offers(log)


def a_checkpoint_by_another_key(log: LogMaker, liar: Liar) -> None:
    log.write_checkpoint(key=CheckpointKey(7))
    liar.offers(log)


@pytest.mark.parametrize(
    "lie, kind, match",
    [
        (fewer_lines, StorageError, "sent 10 of 12 entries"),
        (less_than_its_checkpoint, ConflictError, "copy is behind"),
        (another_log, VerificationError, "sent the log 'example.com/other', want 'example.com/made'"),
        (a_changed_entry, VerificationError, "copy is TAMPERED"),
        (entries_of_another_log, VerificationError, "copy is TAMPERED"),
        (no_entry_at_all, MalformedEntryError, "entry"),
        (a_line_without_an_end, ReplicationError, "a line that has no end"),
        (a_rewritten_log, VerificationError, "copy is TAMPERED"),
        (a_checkpoint_by_another_key, VerificationError, "copy is"),
    ],
)
def test_what_is_not_the_log_does_not_take_its_place(
    *,
    lie: Callable[[LogMaker, Liar], None],
    kind: type[AttestlogError],
    match: str,
    made: LogMaker,
    root: Path,
    liar: Liar,
    tmp_path: Path,
) -> None:
    lie(made, liar)
    refused_restoring(root, liar, kind, match, RestoreDemands(state_dir=tmp_path / "state"))


def test_a_shorter_log_does_not_take_the_place_of_a_longer(
    made: LogMaker, root: Path, liar: Liar, tmp_path: Path
) -> None:
    short = LogMaker(tmp_path / "short", origin=ORIGIN)
    short.append(*drafts(range(9)), batched=False)
    del short.lines[6:]
    short.lay_out()
    liar.offers(short)
    state, note = tmp_path / "state", (made.root / layout.CHECKPOINT_FILE).read_bytes()
    demands = RestoreDemands(known=[note], state_dir=state)
    refused_restoring(root, liar, ConflictError, "a known checkpoint covers 10 entries", demands)
    judge_log(made.root, state_dir=state)
    refused_restoring(root, liar, ConflictError, "copy is behind", RestoreDemands(state_dir=state))
    made.root.rename(root)
    demands = RestoreDemands(state_dir=tmp_path / "other")
    refused_restoring(root, liar, ExistsError, "has 10 entries, the replica holds 6", demands)


def test_a_rewritten_log_does_not_get_past_a_known_checkpoint(
    made: LogMaker, root: Path, liar: Liar, tmp_path: Path
) -> None:
    note = (made.root / layout.CHECKPOINT_FILE).read_bytes()
    made.append(draft(99), batched=False)
    made.reseal(4, action_type="rewritten")
    made.lay_out()
    liar.offers(made)
    demands = RestoreDemands(known=[note], state_dir=tmp_path / "state")
    refused_restoring(root, liar, VerificationError, "signs another root of the first 10", demands)


def test_lines_without_end_are_not_read_to_it(
    made: LogMaker, root: Path, liar: Liar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "SHIPMENT_SIZE_MAX_BYTES", 1 << 20)
    sent: list[int] = []
    liar.offers(made, size=10**9)
    liar.does("/entries?start=0", endless(made.lines[0] + b"\n" + b"x" * 65_536, sent))
    demands = RestoreDemands(state_dir=tmp_path / "state")
    refused_restoring(root, liar, ReplicationError, "answers more than 2097152 bytes", demands)
    assert len(sent) < PIECES_MAX


def test_the_true_log_is_taken(made: LogMaker, root: Path, liar: Liar, tmp_path: Path) -> None:
    liar.offers(made)
    restored = restore(root, liar, RestoreDemands(state_dir=tmp_path / "state"))
    assert (restored.size, restored.is_behind, restored.moved_to) == (10, False, None)
    assert (root / "entries/000000000000.jsonl").read_bytes() == made.segment().read_bytes()


@pytest.mark.parametrize(
    "call, kind",
    [(call, kind) for call, kinds in FAULTS.items() for kind in kinds if kind in {"ENOSPC", "short"}],
)
def test_a_disk_that_fails_while_restoring_costs_nothing_that_was_there(
    *, call: str, kind: str, made: LogMaker, root: Path, liar: Liar, tmp_path: Path
) -> None:
    liar.offers(made)
    for nth in range(1, 60):
        place = root.parent / f"{nth}/log"
        place.parent.mkdir()
        place.mkdir()
        (place / "was").touch()
        with injected(Faults(call, nth, kind)) as faults, contextlib.suppress(StorageError):
            restore(place, liar, RestoreDemands(state_dir=tmp_path / f"state-{nth}"))
        if not faults.struck:
            return
        (kept,) = place.parent.glob("log*/was")
        # Back where it was; or the whole copy is there, and only that this is durable could not be said.
        assert kept.parent == place or layout.is_log(place)
        assert [path.name for path in place.parent.iterdir() if path.name.startswith(".")] == []
        if kept.parent == place:
            restore(place, liar, RestoreDemands(state_dir=tmp_path / f"state-{nth}"))
        assert (place / "entries/000000000000.jsonl").read_bytes() == made.segment().read_bytes()
    pytest.fail("the faults never ended")


# --- acknowledgements ---


def cosigning(liar: Liar, made: Callable[[str], tuple[Any, ...]]) -> Answer:
    """It takes whatever comes, and answers with these cosignature lines where a checkpoint came."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["content-length"]))
        if handler.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        shipment = decode_shipment(body)
        lines = made(parse_note(shipment.checkpoint).text) if shipment.checkpoint else ()
        reply(handler, 200, encode_answer(SignedAnswer(shipment.stop, lines)))

    return answer


@pytest.mark.parametrize("lie", ["no cosignature", "another key", "another checkpoint"])
def test_what_a_replica_says_is_no_acknowledgement(tmp_path: Path, liar: Liar, lie: str) -> None:
    """An append that waits for a copy waits for a cosignature over a checkpoint that covers its entry."""
    path, stranger = tmp_path / "log", MemorySigner("Ed25519")
    attestlog.create(path, origin=ORIGIN).close()
    add_replica(path, liar.at)
    other = format_checkpoint(Checkpoint(ORIGIN, 99, b"\1" * 32))
    lies: dict[str, Callable[[str], tuple[Any, ...]]] = {
        "no cosignature": lambda text: (),
        "another key": lambda text: (cosign(text, liar.vkey, 1_800_000_000, stranger.sign),),
        "another checkpoint": lambda text: (cosign(other, liar.vkey, 1_800_000_000, liar.signer.sign),),
    }
    liar.does("/entries", cosigning(liar, lies[lie]))
    with attestlog.open(path, ack_replicas=1, ack_timeout_s=1) as log:
        for _ in range(2):
            with pytest.raises(ReplicationError, match=r"0 of 1 copies were confirmed in 1 s"):
                log.append(MINIMAL)
    assert load_cursor(open_source(path).cursors(), liar.at.url).cosigned_size == 0


def test_a_cosignature_by_its_key_is(tmp_path: Path, liar: Liar) -> None:
    path = tmp_path / "log"
    attestlog.create(path, origin=ORIGIN).close()
    add_replica(path, liar.at)
    liar.does(
        "/entries",
        cosigning(liar, lambda text: (cosign(text, liar.vkey, 1_800_000_000, liar.signer.sign),)),
    )
    with attestlog.open(path, ack_replicas=1) as log:
        assert log.append(MINIMAL).sequence_number == 1
