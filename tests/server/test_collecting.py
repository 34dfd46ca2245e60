"""Cosignatures collected from witnesses over HTTP: real ones, ones that are away, and ones that lie."""

import gzip
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from tests.support.fakes import Answer, Fake
from tests.support.logs import LogMaker, draft
from tests.support.proxy import Proxy
from tests.support.replicas import soon
from tests.support.serving import drip_body, drip_head
from tests.support.serving import served as served_site
from tests.support.serving_app import served
from tests.support.witnesses import NOW, MlDsaSigner, SignedTree

from attestlog._internal.core.cosignature import cosign, open_signed_checkpoint
from attestlog._internal.core.note import NoteSignature, VerifierKey, format_vkey, parse_note
from attestlog._internal.core.trust import TrustPolicy, open_trusted_checkpoint, parse_trust_policy
from attestlog._internal.core.witness import format_cosignatures
from attestlog._internal.server.witness import witness_app
from attestlog._internal.signers import Signer
from attestlog._internal.storage.publishing import publish_log
from attestlog._internal.storage.resolve import open_source
from attestlog._internal.witness import Witness, asking, collecting
from attestlog._internal.witness.asking import AHEAD_MAX_S, ANSWER_SIZE_MAX_BYTES, ask_witness
from attestlog._internal.witness.collecting import Cosigned, collect_cosignatures, cosign_checkpoint
from attestlog._internal.witness.state import WitnessState
from attestlog.errors import (
    ConflictError,
    QuorumError,
    SignatureInvalidError,
    UnknownOriginError,
    WitnessError,
)
from attestlog.testing import MemorySigner

NAMES = ("a", "b", "c")


class Kit:
    """A log, and witnesses of it that are served each behind a proxy."""

    def __init__(self, folder: Path, undo: ExitStack) -> None:
        self.log = LogMaker(folder / "log")
        self.grow(5)
        self.witnesses: dict[str, Witness] = {}
        self.proxies: dict[str, Proxy] = {}
        for name in NAMES:
            signers: list[Signer] = [MemorySigner("Ed25519")]
            if name == "c":
                signers.append(MlDsaSigner())
            logs = [self.log.checkpoint_key.verifier]
            self.witnesses[name] = Witness.begin(folder / name, f"witness.example.com/{name}", signers, logs)
            undo.callback(self.witnesses[name].close)
            url = undo.enter_context(served(witness_app(self.witnesses[name])))
            self.proxies[name] = undo.enter_context(Proxy(int(url.rpartition(":")[2])))

    def grow(self, count: int) -> None:
        self.log.append(*[draft(len(self.log.lines) + number) for number in range(count)])
        self.log.lay_out()

    def policy(self, threshold: int = 2, urls: dict[str, str] | None = None) -> TrustPolicy:
        lines = [f"log {self.log.checkpoint_key.vkey}"]
        members = []
        for name, witness in self.witnesses.items():
            url = (urls or {}).get(name, self.proxies[name].url)
            for number, key in enumerate(witness.keys):
                members.append(name if not number else f"{name}-{number}")
                lines.append(f"witness {members[-1]} {format_vkey(key)} {url}")
        lines += [f"group enough {threshold} {' '.join(members)}", "quorum enough", ""]
        return parse_trust_policy("\n".join(lines).encode())

    def stored(self) -> bytes:
        return (self.log.root / "checkpoint").read_bytes()

    def cosign(self, policy: TrustPolicy | None = None, **options: Any) -> Cosigned:
        return cosign_checkpoint(self.log.root, policy or self.policy(), **options)


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    with ExitStack() as undo:
        yield Kit(tmp_path, undo)


def test_the_stored_checkpoint_gets_every_cosignature_and_the_policy_accepts_it(
    kit: Kit, tmp_path: Path
) -> None:
    signed = kit.stored()
    done = kit.cosign()
    assert (done.witnesses, done.failures, done.lacking) == (("a", "b", "c", "c-1"), {}, None)
    assert kit.stored() == done.note
    assert done.note.startswith(signed)
    accepted = open_trusted_checkpoint(done.note, kit.policy(4))
    assert [name for name, _ in accepted.witnesses] == ["a", "b", "c", "c-1"]
    publish_log(kit.log.root, tmp_path / "public")
    assert (tmp_path / "public" / "checkpoint").read_bytes() == done.note
    assert kit.proxies["c"].connections == 1  # one request for both keys
    # Once more: nothing is missing, so nobody is asked.
    assert kit.cosign().note == done.note
    assert kit.proxies["a"].connections == 1


def test_a_log_that_grew_is_cosigned_from_where_each_witness_was(kit: Kit) -> None:
    kit.cosign()
    kit.proxies["a"].down()
    kit.grow(300)
    assert kit.cosign().witnesses == ("b", "c", "c-1")
    kit.proxies["a"].up()
    kit.grow(70)
    done = kit.cosign()
    assert done.witnesses == ("a", "b", "c", "c-1")
    assert done.checkpoint.size == 376
    keys = [key for witness in kit.witnesses.values() for key in witness.keys]
    assert len(open_signed_checkpoint(kit.stored(), keys).signatures) == 4


@pytest.mark.parametrize("mode", ["down", "hang", "drip"])
def test_witnesses_that_are_away_stop_it_or_do_not_as_was_said(
    kit: Kit, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That this ends shows the timeout."""
    signed = kit.stored()
    for name in ("a", "b"):
        kit.proxies[name].down() if mode == "down" else kit.proxies[name].become(mode)

    class Patient(SimpleQueue[Any]):
        """Answers of witnesses. The one that is there may be slow; the others are not waited for then."""

        is_there = False

        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            assert timeout is not None
            url, outcome = super().get(block, min(timeout, 0.5) if self.is_there else 60)
            self.is_there |= url == kit.proxies["c"].url
            return url, outcome

    monkeypatch.setattr(collecting, "SimpleQueue", Patient)
    fast = {"timeout_s": 4.0}
    with pytest.raises(QuorumError) as caught:
        kit.cosign(kit.policy(3), **fast)
    assert caught.value.have == ["c", "c-1"]
    assert set(caught.value.failures) == {"a", "b"}
    assert kit.stored() == signed  # nothing of it is kept
    done = kit.cosign(kit.policy(3), fail_open=True, **fast)
    assert done.witnesses == ("c", "c-1")
    assert done.lacking is not None
    assert all(isinstance(error, WitnessError) and error.retryable for error in done.failures.values())
    assert kit.stored() == done.note
    monkeypatch.setattr(collecting, "SimpleQueue", SimpleQueue)
    for name in ("a", "b"):
        kit.proxies[name].up() if mode == "down" else kit.proxies[name].become("forward")
    assert kit.cosign(kit.policy(4)).witnesses == ("a", "b", "c", "c-1")
    assert len(open_trusted_checkpoint(kit.stored(), kit.policy(4)).witnesses) == 4


def test_a_checkpoint_that_changed_meanwhile_is_not_overwritten(kit: Kit) -> None:
    def ask(url: str, *arguments: Any, **options: Any) -> Any:
        if url == kit.proxies["a"].url:
            kit.grow(1)
        return ask_witness(url, *arguments, **options)

    with pytest.raises(ConflictError):
        kit.cosign(kit.policy(1), ask=ask)
    assert b"witness.example.com" not in kit.stored()
    assert kit.cosign().checkpoint.size == len(kit.log.lines)


def test_a_policy_that_does_not_say_where(kit: Kit) -> None:
    vkey = format_vkey(kit.witnesses["a"].keys[0])
    policy = parse_trust_policy(f"witness a {vkey}\nquorum a\n".encode())
    with pytest.raises(QuorumError) as caught:
        kit.cosign(policy)
    assert caught.value.failures == {"a": "the policy has no URL for this witness"}


def test_a_policy_that_needs_nobody_asks_all_the_same(kit: Kit) -> None:
    vkey = format_vkey(kit.witnesses["a"].keys[0])
    policy = parse_trust_policy(f"witness a {vkey} {kit.proxies['a'].url}\nquorum none\n".encode())
    assert kit.cosign(policy).witnesses == ("a",)


def test_a_witness_that_does_not_know_the_log(kit: Kit, tmp_path: Path) -> None:
    witness = Witness.begin(tmp_path / "strange", "witness.example.com/strange", [MemorySigner("Ed25519")])
    with closing(witness), served(witness_app(witness)) as url, pytest.raises(UnknownOriginError):
        ask_witness(url, witness.keys, kit.stored(), lambda old: b"")


def test_a_witness_that_forgot_what_it_cosigned_is_told_apart_from_a_new_one(
    kit: Kit, tmp_path: Path
) -> None:
    """`previous` remembers for the log: the checkpoint that this witness cosigned before."""
    copied = shutil.copytree(kit.witnesses["a"].state.path.parent, tmp_path / "copy")
    before = kit.cosign().note
    kit.witnesses["a"].state.close()
    kit.witnesses["a"].state = WitnessState(copied)
    kit.grow(3)
    done = kit.cosign(previous=before)
    assert done.witnesses == ("b", "c", "c-1")
    assert "has cosigned 6 entries of this log and remembers 0" in done.failures["a"].message
    assert done.failures["a"].retryable is False


def test_a_witness_that_has_seen_more_than_the_log_has(kit: Kit, tmp_path: Path) -> None:
    old = {name: (kit.log.root / name).read_bytes() for name in ("checkpoint",)}
    lines = list(kit.log.lines)
    kit.grow(3)
    kit.cosign()
    assert len(kit.log.lines) > len(lines)
    prove = partial(pytest.fail, "nothing is to be proved to it")
    key = kit.witnesses["a"].keys
    with pytest.raises(WitnessError, match="has cosigned 9 entries of this log, which has 6 here"):
        ask_witness(kit.proxies["a"].url, key, old["checkpoint"], prove)


# --- witnesses that lie ---


class Lying(Fake):
    """Answers whatever it is told to."""

    def answer(self, method: str, path: str, body: Any) -> Answer:
        raise NotImplementedError

    def parse(self, content: bytes) -> Any:
        return content


@pytest.fixture
def lying() -> Iterator[Lying]:
    fake = Lying()
    yield fake
    fake.close()


TREE = SignedTree()
KEY = MemorySigner("Ed25519")
VKEY = VerifierKey("witness.example.com/liar", 4, KEY.public_key.key.public_bytes_raw())  # type: ignore[union-attr]
GOOD = cosign(TREE.text(7), VKEY, NOW, KEY.sign)
OTHER = cosign(TREE.text(8), VKEY, NOW, KEY.sign)
STRANGER = NoteSignature("other.example.com/w", b"abcd", bytes(72))
LATE = cosign(TREE.text(7), VKEY, NOW + AHEAD_MAX_S + 1, KEY.sign)
NEVER = cosign(TREE.text(7), VKEY, 0, KEY.sign)

LIES: dict[str, Answer] = {
    "nothing": (200, b"", {}),
    "text": (200, b"cosigned\n", {}),
    "a line of another checkpoint": (200, format_cosignatures([OTHER]), {}),
    "nobody's line": (200, format_cosignatures([STRANGER]), {}),
    "a good line and a bad one": (200, format_cosignatures([GOOD, OTHER]), {}),
    "a time to come": (200, format_cosignatures([LATE]), {}),
    "no time": (200, format_cosignatures([NEVER]), {}),
    "a whole note": (200, TREE.note(7, [GOOD]), {}),
    "a line without an end": (200, format_cosignatures([GOOD])[:-1], {}),
    "too much": (200, b"x" * (ANSWER_SIZE_MAX_BYTES + 1), {}),
    "compressed": (200, gzip.compress(format_cosignatures([GOOD])), {"Content-Encoding": "gzip"}),
    "a size that is compressed": (409, gzip.compress(b"3\n"), {"Content-Encoding": "gzip"}),
    "no size": (409, b"", {}),
    "a size with a sign": (409, b"-1\n", {}),
    "a size without an end": (409, b"7", {}),
    "a size beyond all": (409, b"9223372036854775807\n", {}),
    "a larger size": (409, b"8\n", {}),
    "the same size for ever": (409, b"3\n", {}),
    "elsewhere": (307, b"", {"Location": "http://127.0.0.1:1/"}),
    "gone": (410, b"", {}),
    "created": (201, format_cosignatures([GOOD]), {}),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_no_cosignature(lying: Lying, lie: str) -> None:
    lying.instead = lambda method, path, body: LIES[lie]
    with pytest.raises(WitnessError) as caught:
        ask_witness(lying.url, [VKEY], TREE.note(7), lambda old: TREE.proof(old, 7), now_s=lambda: NOW)
    assert caught.value.url.startswith(lying.url)
    assert len(lying.requests) <= 4


def test_an_answer_of_the_largest_size_is_read(lying: Lying) -> None:
    answer = format_cosignatures([GOOD])
    room = ANSWER_SIZE_MAX_BYTES - len(answer) - len("— x \n".encode())
    filler = NoteSignature("x" * (1 + room % 4), b"abcd", bytes(room // 4 * 3 - 4))
    lying.instead = lambda method, path, body: (200, answer + format_cosignatures([filler]), {})
    assert len(answer + format_cosignatures([filler])) == ANSWER_SIZE_MAX_BYTES
    found = ask_witness(lying.url, [VKEY], TREE.note(7), lambda old: b"", now_s=lambda: NOW)
    assert found == [(VKEY, GOOD)]


def test_the_truth_and_nobodys_line_beside_it(lying: Lying) -> None:
    lying.instead = lambda method, path, body: (200, format_cosignatures([STRANGER, GOOD]), {})
    ask: Callable[..., Any] = partial(ask_witness, lying.url, [VKEY], TREE.note(7), now_s=lambda: NOW)
    assert ask(lambda old: TREE.proof(old, 7)) == [(VKEY, GOOD)]
    at_the_limit = cosign(TREE.text(7), VKEY, NOW + AHEAD_MAX_S, KEY.sign)
    lying.instead = lambda method, path, body: (200, format_cosignatures([at_the_limit]), {})
    assert ask(lambda old: TREE.proof(old, 7)) == [(VKEY, at_the_limit)]


@pytest.mark.parametrize(
    "status, retryable", [(403, False), (408, True), (429, True), (422, False), (503, True)]
)
def test_whether_waiting_may_help(lying: Lying, status: int, retryable: bool) -> None:
    lying.instead = lambda method, path, body: (status, b"", {})
    with pytest.raises(WitnessError) as caught:
        ask_witness(lying.url, [VKEY], TREE.note(7), lambda old: b"")
    assert (caught.value.status, caught.value.retryable) == (status, retryable)


@pytest.mark.parametrize("drip", [drip_head, drip_body])
def test_an_answer_in_drips_is_not_waited_for(
    drip: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "RESPONSE_TIME_MAX_S", 1.0)
    with served_site(tmp_path) as site:
        site.answers["add-checkpoint"] = drip
        with pytest.raises(WitnessError, match=r"did not answer within 1") as caught:
            ask_witness(site.url, [VKEY], TREE.note(7), lambda old: b"")
        soon(lambda: site.asked)
    assert caught.value.retryable
    assert site.asked == ["add-checkpoint"]


@pytest.mark.parametrize("url", ["", "nowhere", "http://", "ftp://127.0.0.1/", "http://[::1"])
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(WitnessError):
        ask_witness(url, [VKEY], TREE.note(7), lambda old: b"")


def test_a_planted_line_of_a_witness_in_the_stored_checkpoint_is_not_taken_for_its_word() -> None:
    policy = parse_trust_policy(
        f"witness liar {format_vkey(VKEY)} http://127.0.0.1:1/\nquorum liar\n".encode()
    )
    with pytest.raises(SignatureInvalidError):
        collect_cosignatures(TREE.note(7, [OTHER]), policy, lambda old: b"")
    done = collect_cosignatures(TREE.note(7, [GOOD]), policy, lambda old: b"")
    assert (done.witnesses, done.note) == (("liar",), TREE.note(7, [GOOD]))
    assert parse_note(done.note).signatures[1] == GOOD


def test_a_defect_in_one_call_is_said_and_stops_no_other(kit: Kit) -> None:
    def ask(url: str, *arguments: Any, **options: Any) -> Any:
        if url == kit.proxies["a"].url:
            raise RuntimeError("boom")
        return ask_witness(url, *arguments, **options)

    done = kit.cosign(ask=ask)
    assert done.witnesses == ("b", "c", "c-1")
    assert "boom" in done.failures["a"].message
    assert open_source(kit.log.root).checkpoint() == done.note
