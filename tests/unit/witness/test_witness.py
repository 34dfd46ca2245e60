"""A witness: what it cosigns, what it refuses, and what it never forgets."""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from tests.support.witnesses import (
    NAME,
    NOW,
    MlDsaSigner,
    SignedTree,
    bad_requests,
    check_answer,
    forged,
    mutants,
)

from attestlog._internal.core.cosignature import cosign
from attestlog._internal.core.note import (
    COSIGNATURE_ED25519,
    COSIGNATURE_ML_DSA_44,
    NoteSignature,
    VerifierKey,
)
from attestlog._internal.core.witness import (
    REQUEST_SIZE_MAX_BYTES,
    format_add_checkpoint,
    format_cosignatures,
    parse_add_checkpoint,
    parse_cosignatures,
)
from attestlog._internal.signers import Signer
from attestlog._internal.witness import Witness
from attestlog._internal.witness import state as witness_state
from attestlog._internal.witness.state import EVIDENCE_MAX, Evidence, WitnessState
from attestlog.errors import (
    AttestlogError,
    BusyError,
    ClockError,
    ConsistencyError,
    CorruptError,
    ExistsError,
    FullError,
    MalformedConfigError,
    MalformedError,
    MalformedNoteError,
    MalformedProofError,
    NotFoundError,
    SignerError,
    SplitViewError,
    StaleSizeError,
    TrustError,
    UnknownOriginError,
)
from attestlog.testing import FaultSigner, MemorySigner

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


class Clock:
    now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tree() -> SignedTree:
    return SignedTree()


@pytest.fixture
def signer() -> MemorySigner:
    return MemorySigner("Ed25519")


@pytest.fixture
def witness(tmp_path: Path, tree: SignedTree, signer: MemorySigner, clock: Clock) -> Witness:
    return Witness.begin(tmp_path / "witness", NAME, [signer], [tree.key.verifier], clock)


def again(witness: Witness, *signers: Signer, clock: Callable[[], float] | None = None) -> Witness:
    """The same, as after a restart."""
    return Witness(
        WitnessState(witness.state.path.parent), signers or witness._signers, clock or witness._clock
    )


def seen(witness: Witness, tree: SignedTree) -> tuple[int, bytes]:
    log = witness.state.log(tree.origin)
    assert log is not None
    return log.seen.size, log.seen.root


# --- requests ---


@pytest.mark.parametrize("old, size", [(0, 0), (0, 1), (0, 40), (1, 2), (7, 7), (7, 40), (32, 33)])
def test_a_request_is_read_as_it_was_written(tree: SignedTree, old: int, size: int) -> None:
    data = tree.request(old, size)
    request = parse_add_checkpoint(data)
    assert (request.old, request.proof) == (old, tree.proof(old, size))
    assert format_add_checkpoint(request.old, request.proof, tree.note(size)) == data


@pytest.mark.parametrize("name", mutants(SignedTree().request(7, 40)))
def test_what_is_no_request(witness: Witness, tree: SignedTree, name: str) -> None:
    with pytest.raises(MalformedError):
        witness.add_checkpoint(mutants(tree.request(7, 40))[name])


def test_63_hashes_are_read_and_64_are_not(tree: SignedTree) -> None:
    assert len(parse_add_checkpoint(format_add_checkpoint(1, bytes(63 * 32), tree.note(1))).proof) == 63 * 32
    with pytest.raises(MalformedProofError, match="64 hashes"):
        parse_add_checkpoint(format_add_checkpoint(1, bytes(64 * 32), tree.note(1)))


def test_a_request_of_the_largest_size_is_read_and_one_byte_more_is_not(tree: SignedTree) -> None:
    request = tree.request(0, 1)
    filler = REQUEST_SIZE_MAX_BYTES - len(request) - len("—  \n".encode())
    name, triples = "x" * ((filler - 1) % 4 + 1), (filler - 1) // 4
    padded = request + format_cosignatures([NoteSignature(name, bytes(4), bytes(3 * triples - 4))])
    assert len(padded) == REQUEST_SIZE_MAX_BYTES
    assert parse_add_checkpoint(padded).old == 0
    with pytest.raises(MalformedProofError, match="at most 131072"):
        parse_add_checkpoint(padded + b"x")


def test_an_answer_is_signature_lines_and_nothing_else() -> None:
    lines = [NoteSignature("a", b"1234", b"x" * 72), NoteSignature("b", b"1234", b"y" * 72)]
    data = format_cosignatures(lines)
    assert parse_cosignatures(data) == tuple(lines)
    for bad in (b"", b"text\n\n" + data, data + b"\n" + data, data[:-1], b"\n" + data):
        with pytest.raises(MalformedNoteError):
            parse_cosignatures(bad)


# --- what it cosigns ---


def test_a_log_grows_and_each_step_is_cosigned(witness: Witness, tree: SignedTree, clock: Clock) -> None:
    sizes = [0, 0, 1, 2, 3, 3, 7, 8, 16, 17, 31, 40, 40]
    assert check_answer(witness.add_checkpoint(tree.request(0, 0)), tree, 0, witness.keys) == [NOW]
    for old, size in pairwise(sizes):
        clock.now += 1.5
        times = check_answer(witness.add_checkpoint(tree.request(old, size)), tree, size, witness.keys)
        assert times == [int(clock.now)]
        assert seen(witness, tree) == (size, tree.checkpoint(size).root)


def test_from_any_size_to_another(
    witness: Witness, tree: SignedTree, tmp_path: Path, signer: MemorySigner
) -> None:
    for old in range(1, 18):
        fresh = Witness.begin(tmp_path / f"from-{old}", NAME, [signer], [tree.key.verifier])
        fresh.add_checkpoint(tree.request(0, old))
        with pytest.raises(ConsistencyError):
            fresh.add_checkpoint(format_add_checkpoint(old, bytes(32), tree.note(18)))
        check_answer(fresh.add_checkpoint(tree.request(old, 18)), tree, 18, fresh.keys)


def test_two_keys_cosign_both_of_either_kind(
    tmp_path: Path, tree: SignedTree, signer: MemorySigner, clock: Clock
) -> None:
    post_quantum = MlDsaSigner()
    witness = Witness.begin(tmp_path / "witness", NAME, [signer, post_quantum], [tree.key.verifier], clock)
    assert [key.kind for key in witness.keys] == [COSIGNATURE_ED25519, COSIGNATURE_ML_DSA_44]
    answer = witness.add_checkpoint(tree.request(0, 5))
    assert check_answer(answer, tree, 5, witness.keys) == [NOW, NOW]
    assert witness.checkpoint(tree.origin) == tree.note(5) + answer


def test_a_log_may_sign_with_either_of_its_keys_or_with_a_post_quantum_one(
    witness: Witness, tree: SignedTree
) -> None:
    other = SignedTree()
    other.key = type(tree.key)(number=2, name=tree.origin)
    with pytest.raises(TrustError):
        witness.add_checkpoint(other.request(0, 3))
    witness.state.add_log(other.key.verifier)
    check_answer(witness.add_checkpoint(other.request(0, 3)), other, 3, witness.keys)
    check_answer(witness.add_checkpoint(tree.request(3, 4)), tree, 4, witness.keys)
    key = MlDsaSigner()
    vkey = VerifierKey(tree.origin, COSIGNATURE_ML_DSA_44, key.public_key.key.public_bytes_raw())  # type: ignore[union-attr]
    witness.state.add_log(vkey)
    line = cosign(tree.text(5), vkey, NOW, key.sign)
    note = tree.text(5).encode() + b"\n" + format_cosignatures([line])
    answer = witness.add_checkpoint(format_add_checkpoint(4, tree.proof(4, 5), note))
    assert witness.checkpoint(tree.origin) == note + answer


def test_a_log_whose_key_has_another_name(witness: Witness) -> None:
    """Go's checksum database is such a log: its origin even has spaces."""
    tree = SignedTree("go.sum database tree")
    key = type(tree.key)(number=7, name="sum.example.org")
    tree.key = key
    with pytest.raises(UnknownOriginError):
        witness.add_checkpoint(tree.request(0, 5))
    witness.add_log(key.verifier, tree.origin)
    answer = witness.add_checkpoint(tree.request(0, 5))
    check_answer(answer, tree, 5, witness.keys)
    assert witness.checkpoint(tree.origin) == tree.note(5) + answer
    with pytest.raises(MalformedConfigError, match="own name"):
        witness.add_log(key.verifier, NAME)


def test_it_cosigns_what_it_parsed_and_keeps_what_it_verified(witness: Witness, tree: SignedTree) -> None:
    """A planted line under the witness's own name must not stand in what it hands on as its own."""
    mine = witness.keys[0]
    planted = NoteSignature(mine.name, mine.key_id, NOW.to_bytes(8, "big") + bytes(64))
    strange = NoteSignature("other.example.com/w", b"abcd", b"x" * 72)
    note = tree.note(5, [planted, strange])
    answer = witness.add_checkpoint(format_add_checkpoint(0, b"", note))
    assert witness.checkpoint(tree.origin) == tree.note(5) + answer
    check_answer(answer, tree, 5, witness.keys)
    check_answer(witness.add_checkpoint(tree.request(5, 9)), tree, 9, witness.keys)


# --- what it refuses ---


@pytest.mark.parametrize("name", bad_requests(SignedTree()))
def test_what_is_refused_changes_nothing(witness: Witness, tree: SignedTree, name: str) -> None:
    witness.add_checkpoint(tree.request(0, 7))
    before = witness.checkpoint(tree.origin)
    body, kind = bad_requests(tree)[name]
    for _ in range(2):
        with pytest.raises(kind) as caught:
            again(witness).add_checkpoint(body)
        assert type(caught.value) is kind
        assert caught.value.evidence().get("known_size", 7) == 7
    assert seen(witness, tree) == (7, tree.checkpoint(7).root)
    assert witness.checkpoint(tree.origin) == before
    check_answer(witness.add_checkpoint(tree.request(7, 20)), tree, 20, witness.keys)


def test_another_root_at_the_same_size_is_kept_as_evidence_also_after_a_restart(
    witness: Witness, tree: SignedTree
) -> None:
    ours = tree.note(7) + witness.add_checkpoint(tree.request(0, 7))
    theirs = forged(tree, 7, bytes(32))
    planted = NoteSignature("other.example.com/w", b"abcd", b"x" * 72)
    body = format_add_checkpoint(7, b"", theirs + format_cosignatures([planted]))
    for _ in range(2):
        with pytest.raises(SplitViewError) as caught:
            again(witness).add_checkpoint(body)
        assert (caught.value.ours, caught.value.theirs) == (ours.decode(), theirs.decode())
    (kept,) = again(witness).state.evidence()
    assert (kept.origin, kept.ours, kept.theirs) == (tree.origin, ours, theirs)


def test_evidence_of_one_log_has_an_end(witness: Witness) -> None:
    for number in range(EVIDENCE_MAX + 1):
        witness.state.keep_evidence(Evidence("a", NOW, "reason", b"ours", b"%d" % number))
    witness.state.keep_evidence(Evidence("b", NOW, "reason", b"ours", b"theirs"))
    kept = witness.state.evidence()
    assert [item.origin for item in kept] == ["a"] * EVIDENCE_MAX + ["b"]


# --- its memory ---


def test_it_knows_after_a_restart_what_it_cosigned(witness: Witness, tree: SignedTree) -> None:
    witness.add_checkpoint(tree.request(0, 7))
    restarted = again(witness)
    assert restarted.checkpoint(tree.origin) == witness.checkpoint(tree.origin)
    with pytest.raises(StaleSizeError):
        restarted.add_checkpoint(tree.request(0, 7))
    check_answer(restarted.add_checkpoint(tree.request(7, 9)), tree, 9, restarted.keys)


def test_of_two_that_race_one_is_cosigned_and_the_other_is_told_the_new_size(
    witness: Witness, tree: SignedTree, signer: MemorySigner, clock: Clock
) -> None:
    """Both were found good against the same memory: the slower must not roll it back."""
    witness.add_checkpoint(tree.request(0, 7))
    slow, fast = again(witness), again(witness)
    outcome: list[AttestlogError | bytes] = []
    reached, go_on = threading.Event(), threading.Event()

    def held_clock() -> float:
        reached.set()  # after the judgement, before the UPDATE
        go_on.wait()
        return clock()

    slow._clock = held_clock

    def ask() -> None:
        try:
            outcome.append(slow.add_checkpoint(tree.request(7, 9)))
        except AttestlogError as error:
            outcome.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    reached.wait()
    check_answer(fast.add_checkpoint(tree.request(7, 20)), tree, 20, fast.keys)
    go_on.set()
    thread.join()
    (error,) = outcome
    assert isinstance(error, StaleSizeError)
    assert error.known_size == 20
    assert seen(witness, tree) == (20, tree.checkpoint(20).root)


def test_many_threads_and_a_fork_of_the_log_cosign_one_history(
    witness: Witness, tree: SignedTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two histories are offered, by many at once: what is cosigned is consistent, each size once."""
    monkeypatch.setattr(witness_state, "BUSY_TIMEOUT_S", 60)
    fork, answers = SignedTree(fork=3), list[tuple[SignedTree, int, bytes]]()

    def climb(log: SignedTree) -> None:
        old = 0
        while old < 29:
            try:
                answers.append((log, old + 1, witness.add_checkpoint(log.request(old, old + 1))))
                old += 1
            except StaleSizeError as error:
                old = error.known_size
            except ConsistencyError:
                return

    threads = [threading.Thread(target=climb, args=(log,)) for log in (tree, fork) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    roots: dict[int, set[bytes]] = {}
    for log, size, answer in answers:
        check_answer(answer, log, size, witness.keys)
        roots.setdefault(size, set()).add(log.checkpoint(size).root)
    assert all(len(found) == 1 for found in roots.values())
    winners = {id(log) for log, size, _ in answers if size > 3}
    assert len(winners) == 1


def test_a_signer_that_fails_leaves_a_promise_that_is_kept_when_asked_again(
    tmp_path: Path, tree: SignedTree, signer: MemorySigner, clock: Clock
) -> None:
    faulty = FaultSigner(signer)
    witness = Witness.begin(tmp_path / "witness", NAME, [faulty], [tree.key.verifier], clock)
    first = witness.add_checkpoint(tree.request(0, 3))
    for answer in (b"", bytes(64)):
        faulty.answer = lambda message, answer=answer: answer
        with pytest.raises(SignerError):
            witness.add_checkpoint(tree.request(seen(witness, tree)[0], 7))
    assert seen(witness, tree)[0] == 7  # it may not cosign anything else any more
    with pytest.raises(SignerError):
        witness.checkpoint(tree.origin)
    faulty.answer = None
    clock.now += 10
    cosigned = witness.checkpoint(tree.origin)
    assert cosigned.startswith(tree.note(7))
    assert check_answer(cosigned.removeprefix(tree.note(7)), tree, 7, witness.keys) == [NOW]
    assert witness.checkpoint(tree.origin) == cosigned
    assert check_answer(witness.add_checkpoint(tree.request(7, 7)), tree, 7, witness.keys) == [NOW + 10]
    assert first


def test_a_clock_that_steps_back_a_little_repeats_and_further_refuses(
    witness: Witness, tree: SignedTree, clock: Clock
) -> None:
    witness.add_checkpoint(tree.request(0, 3))
    clock.now -= 60
    assert check_answer(witness.add_checkpoint(tree.request(3, 4)), tree, 4, witness.keys) == [NOW]
    clock.now -= 1
    with pytest.raises(ClockError):
        witness.add_checkpoint(tree.request(4, 5))
    assert seen(witness, tree)[0] == 4
    clock.now = NOW + 5
    assert check_answer(witness.add_checkpoint(tree.request(4, 5)), tree, 5, witness.keys) == [NOW + 5]


def test_an_old_copy_of_its_memory_is_noticed_by_its_own_cosignature(
    witness: Witness, tree: SignedTree, tmp_path: Path
) -> None:
    witness.add_checkpoint(tree.request(0, 7))
    copied = shutil.copytree(witness.state.path.parent, tmp_path / "copy")
    newer = witness.add_checkpoint(tree.request(7, 9))
    rolled_back = Witness(WitnessState(copied), witness._signers, witness._clock)
    # A client that sends what it holds, cosignatures and all, as FORMATS allow.
    note = tree.note(9) + newer
    with pytest.raises(CorruptError, match="rolled back"):
        rolled_back.add_checkpoint(format_add_checkpoint(7, tree.proof(7, 9), note))
    forged_line = NoteSignature(NAME, witness.keys[0].key_id, NOW.to_bytes(8, "big") + bytes(64))
    check_answer(
        rolled_back.add_checkpoint(
            format_add_checkpoint(7, tree.proof(7, 20), tree.note(20, [forged_line]))
        ),
        tree, 20, witness.keys,
    )  # fmt: skip


def test_a_witness_is_begun_in_an_empty_folder_only_and_opened_where_it_is(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        WitnessState(tmp_path)
    state = WitnessState.create(tmp_path / "witness", NAME, {"vkey": "file:x"})
    assert WitnessState(tmp_path / "witness").keys == {"vkey": "file:x"}
    with pytest.raises(ExistsError):
        WitnessState.create(tmp_path / "witness", NAME, {})
    state.path.rename(tmp_path / "witness" / "lost.db")
    with pytest.raises(ExistsError):
        WitnessState.create(tmp_path / "witness", NAME, {})
    with pytest.raises(NotFoundError):
        WitnessState(tmp_path / "witness")


def test_what_is_no_memory_of_a_witness(tmp_path: Path) -> None:
    (tmp_path / "witness.db").write_bytes(b"not a database" * 100)
    with pytest.raises(CorruptError):
        WitnessState(tmp_path)
    (tmp_path / "witness.db").unlink()
    sqlite3.connect(tmp_path / "witness.db").execute("CREATE TABLE x (y)").connection.close()
    with pytest.raises(CorruptError, match="not a witness"):
        WitnessState(tmp_path)


def test_closing_closes_every_connection(witness: Witness, tree: SignedTree) -> None:
    """Also those that other threads opened: newer Pythons warn of each that is left."""
    check_answer(witness.add_checkpoint(tree.request(0, 3)), tree, 3, witness.keys)
    threads = [threading.Thread(target=witness.state.log, args=(tree.origin,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    opened = list(witness.state._open)
    witness.close()
    assert opened
    for connection in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
            connection.execute("SELECT 1")


def test_a_memory_that_another_holds_locked_is_busy(
    witness: Witness, tree: SignedTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witness_state, "BUSY_TIMEOUT_S", 0.01)
    connection = sqlite3.connect(witness.state.path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    with pytest.raises(BusyError):
        again(witness).add_checkpoint(tree.request(0, 3))
    connection.execute("ROLLBACK")
    connection.close()
    check_answer(witness.add_checkpoint(tree.request(0, 3)), tree, 3, witness.keys)


def test_a_full_disk_cosigns_nothing_and_what_was_remembered_stays(
    witness: Witness, tree: SignedTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness.add_checkpoint(tree.request(0, 3))
    connect = witness_state._connection

    def full(uri: str) -> sqlite3.Connection:
        connection = connect(uri)
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    key = SignedTree("example.com/" + "x" * 200).key.verifier
    with monkeypatch.context() as patch:
        patch.setattr(witness_state, "_connection", full)
        with pytest.raises(FullError):
            fresh = again(witness)
            for number in range(1_000):
                fresh.add_log(key, f"{number} " + "x" * 250)
        with pytest.raises(FullError):
            for number in range(1_000):
                fresh.state.keep_evidence(Evidence("a", NOW, "reason", b"ours", b"%d" % number * 500))
    assert seen(witness, tree)[0] == 3
    check_answer(witness.add_checkpoint(tree.request(3, 9)), tree, 9, witness.keys)


def test_a_key_or_a_name_that_a_witness_cannot_have(tmp_path: Path, signer: MemorySigner) -> None:
    folder, own = tmp_path / "witness", SignedTree(NAME).key.verifier
    with pytest.raises(MalformedConfigError, match="want Ed25519 or ML-DSA-44"):
        Witness.begin(folder, NAME, [MemorySigner()])
    with pytest.raises(MalformedNoteError):
        Witness.begin(folder, "a b", [signer])
    with pytest.raises(MalformedConfigError, match="own name"):
        Witness.begin(folder, NAME, [signer], [own])
    assert not folder.exists()
    witness = Witness.begin(folder, NAME, [signer])
    with pytest.raises(MalformedConfigError, match="own name"):
        witness.add_log(own)
    with pytest.raises(MalformedConfigError, match="type 04"):
        witness.add_log(VerifierKey("example.com/log", COSIGNATURE_ED25519, bytes(32)))
    assert witness.state.origins() == []


def test_another_key_than_it_was_begun_with_is_not_cosigned_with(witness: Witness) -> None:
    with pytest.raises(SignerError, match="the witness cosigns with"):
        again(witness, MemorySigner("Ed25519"))
    with pytest.raises(SignerError):
        again(witness, *witness._signers, MlDsaSigner())


def test_a_forked_child_and_its_parent_share_one_memory(witness: Witness, tree: SignedTree) -> None:
    witness.add_checkpoint(tree.request(0, 3))
    child = os.fork()
    if child == 0:
        try:
            witness.add_checkpoint(tree.request(3, 9))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(StaleSizeError) as caught:
        witness.add_checkpoint(tree.request(3, 8))
    assert caught.value.known_size == 9
    check_answer(witness.add_checkpoint(tree.request(9, 12)), tree, 12, witness.keys)


KILLED = """
import os, signal, sys
from pathlib import Path
from attestlog._internal.signers import open_signer
from attestlog._internal.witness import Witness
from attestlog._internal.witness.state import WitnessState
state, step = WitnessState(Path(sys.argv[1])), sys.argv[2]
def killed(method):
    def die(*arguments):
        if step.startswith("after"):
            method(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)
    return die
setattr(state, step.split()[1], killed(getattr(state, step.split()[1])))
Witness(state, [open_signer(uri) for uri in state.keys.values()]).add_checkpoint(sys.stdin.buffer.read())
"""


@pytest.fixture
def on_disk(tmp_path: Path, tree: SignedTree) -> Iterator[Witness]:
    from attestlog._internal.signers.file import save_key
    from attestlog._internal.signers.private_keys import make_key

    signer = save_key(make_key("Ed25519"), tmp_path / "key.pem", None)
    yield Witness.begin(tmp_path / "on-disk", NAME, [signer], [tree.key.verifier])
    signer.close()


@pytest.mark.parametrize(
    "step, size",
    [("before advance", 7), ("after advance", 20), ("before keep_cosigned", 20), ("after keep_cosigned", 20)],
)
def test_killed_at_each_step_it_has_promised_no_more_than_it_remembers(
    on_disk: Witness, tree: SignedTree, step: str, size: int
) -> None:
    on_disk.add_checkpoint(tree.request(0, 7))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, on_disk.state.path.parent, step],
        input=tree.request(7, 20),
        check=False,
    )
    assert done.returncode == -9
    restarted = again(on_disk)
    assert seen(restarted, tree) == (size, tree.checkpoint(size).root)
    fork = SignedTree(fork=10)
    with pytest.raises((StaleSizeError, ConsistencyError)):
        restarted.add_checkpoint(fork.request(7, 20) if size == 20 else fork.request(8, 20))
    assert restarted.checkpoint(tree.origin).startswith(tree.note(size))
    check_answer(restarted.add_checkpoint(tree.request(size, 21)), tree, 21, restarted.keys)
