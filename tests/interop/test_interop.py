"""Logs made here, judged by other people's verifiers: each accepts the good and refuses the tampered.

`make interop` fetches and builds them.
"""

import base64
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.interop.verifiers import RefusedError, aics, driver, fsck, metamorphic
from tests.support.logs import LogMaker, draft, drafts

from attestlog._internal.core.consistency import parse_consistency
from attestlog._internal.core.hashes import leaf_hash
from attestlog._internal.core.proof import parse_proof
from attestlog._internal.core.trust import parse_trust_policy
from attestlog._internal.log import Log
from attestlog._internal.proving import prove, prove_prefix
from attestlog._internal.storage.publishing import publish_log
from attestlog.testing import MemorySigner

SIZE = 600
PROVEN = 300


class Made:
    """A log of 600 entries, published at 200 and at 600, with proofs."""

    def __init__(self, folder: Path) -> None:
        log = LogMaker(folder / "log", origin="example.com/interop")
        self.vkey, self.public = log.checkpoint_key.vkey, folder / "public"
        self.policy = folder / "policy"
        self.policy.write_text(f"log {self.vkey}\nquorum none\n")
        parse_trust_policy(self.policy.read_bytes())
        log.append(*drafts(range(1, 200)))
        log.lay_out()
        publish_log(log.root, self.public)
        self.old_note = (self.public / "checkpoint").read_bytes()
        log.append(*drafts(range(200, SIZE)))
        log.lay_out()
        publish_log(log.root, self.public)
        self.note = (self.public / "checkpoint").read_bytes()
        self.root = log.head.edge.root().hex()
        self.entry_hashes = [str(log.entry(number)["entry_hash"]) for number in range(SIZE)]
        self.proofs = {payload: prove(log.root, PROVEN, payload=payload) for payload in (True, False)}
        self.prefix = parse_consistency(prove_prefix(log.root, 200))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("interop"))


@pytest.fixture
def public(made: Made, tmp_path: Path) -> Path:
    shutil.copytree(made.public, tmp_path / "public")
    return tmp_path / "public"


def hashes(path: bytes) -> list[str]:
    return [path[at : at + 32].hex() for at in range(0, len(path), 32)]


# --- whole folders ---

Judge = Callable[[Made, Path, Path], object]

JUDGES: dict[str, Judge] = {
    "x/mod": lambda made, folder, scratch: driver("tree", made.vkey, folder, 1, 200, 256, 599),
    "torchwood": lambda made, folder, scratch: driver("entries", made.vkey, folder),
    "fsck": lambda made, folder, scratch: fsck(folder, made.vkey, scratch),
    "aics-tlog": lambda made, folder, scratch: aics(folder, made.vkey),
}


def test_each_accepts_the_published_log(made: Made, public: Path, tmp_path: Path) -> None:
    found = {name: judge(made, public, tmp_path) for name, judge in JUDGES.items() if name != "aics-tlog"}
    assert found == {"x/mod": f"{SIZE} {made.root}", "torchwood": "".join(made.entry_hashes), "fsck": None}


def test_aics_tlog_accepts_the_published_log(made: Made, public: Path) -> None:
    assert aics(public, made.vkey) == f"{SIZE} {made.root}"


def flip(data: bytes) -> bytes:
    return data[:5] + bytes([data[5] ^ 1]) + data[6:]


def swap_root(note: bytes) -> bytes:
    lines = note.split(b"\n")
    lines[2] = base64.b64encode(flip(base64.b64decode(lines[2])))
    return b"\n".join(lines)


SPOILED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "a full tile": ("tile/0/001", flip),
    "a partial tile": ("tile/0/002.p/88", flip),
    "a tile above": ("tile/1/000.p/2", flip),
    "an entry bundle": ("tile/entries/001", flip),
    "a partial bundle": ("tile/entries/002.p/88", flip),
    "an entry exchanged": ("tile/entries/000", lambda data: data[34:68] + data[:34] + data[68:]),
    "a bundle cut short": ("tile/entries/002.p/88", lambda data: data[:-34]),
    "the checkpoint's size": ("checkpoint", lambda data: data.replace(b"\n600\n", b"\n599\n")),
    "the checkpoint's root": ("checkpoint", swap_root),
    "the checkpoint's signature": ("checkpoint", lambda data: data[:-20] + flip(data[-20:-10]) + data[-10:]),
}


@pytest.mark.parametrize(
    "who, what",
    # fsck 1.0.4 accepts nothing of a bundle that is cut short either: it crashes, which is no refusal.
    [(who, what) for who in JUDGES for what in SPOILED if (who, what) != ("fsck", "a bundle cut short")],
)
def test_each_refuses_what_was_tampered_with(
    made: Made, public: Path, tmp_path: Path, who: str, what: str
) -> None:
    name, spoil = SPOILED[what]
    path = public / name
    good = path.read_bytes()
    path.write_bytes(spoil(good))
    assert path.read_bytes() != good
    with pytest.raises(RefusedError):
        JUDGES[who](made, public, tmp_path)


@pytest.mark.parametrize("who", JUDGES)
def test_each_refuses_another_logs_key(made: Made, public: Path, tmp_path: Path, who: str) -> None:
    stranger = LogMaker(tmp_path / "stranger", origin="example.com/stranger")
    other = Made.__new__(Made)
    other.vkey = stranger.checkpoint_key.vkey
    with pytest.raises(RefusedError):
        JUDGES[who](other, public, tmp_path)


# --- checkpoints ---

OF_CHECKPOINTS: dict[str, Callable[[Made, Path], str]] = {
    "x/mod note": lambda made, note: driver("note", made.vkey, note),
    "torchwood": lambda made, note: driver("checkpoint", made.policy, note),
    "metamorphic-log": lambda made, note: metamorphic("checkpoint", note.read_bytes(), made.vkey),
}


@pytest.mark.parametrize("who", OF_CHECKPOINTS)
def test_a_checkpoint(made: Made, public: Path, who: str) -> None:
    assert OF_CHECKPOINTS[who](made, public / "checkpoint") == f"{SIZE} {made.root}"


@pytest.mark.parametrize("what", [name for name in SPOILED if "checkpoint" in name])
@pytest.mark.parametrize("who", OF_CHECKPOINTS)
def test_a_tampered_checkpoint(made: Made, public: Path, who: str, what: str) -> None:
    _, spoil = SPOILED[what]
    (public / "checkpoint").write_bytes(spoil(made.note))
    with pytest.raises(RefusedError):
        OF_CHECKPOINTS[who](made, public / "checkpoint")


# --- proofs ---


def judge_proof(made: Made, tmp_path: Path, data: bytes, entry_hash: str) -> str:
    path = tmp_path / "x.tlog-proof"
    path.write_bytes(data)
    return driver("proof", made.policy, path, entry_hash)


@pytest.mark.parametrize("payload", [True, False])
def test_torchwood_accepts_a_proof_file(made: Made, tmp_path: Path, payload: bool) -> None:
    proof = parse_proof(made.proofs[payload])
    found = judge_proof(made, tmp_path, made.proofs[payload], made.entry_hashes[PROVEN])
    assert proof.extra is not None
    assert int(found) == len(proof.extra)


def swap_hash(data: bytes, *, drop: bool = False) -> bytes:
    lines = data.split(b"\n")
    at = next(number for number, line in enumerate(lines) if line.startswith(b"index ")) + 1
    new = [] if drop else [base64.b64encode(flip(base64.b64decode(lines[at])))]
    return b"\n".join([*lines[:at], *new, *lines[at + 1 :]])


SPOILED_PROOFS: dict[str, Callable[[bytes], bytes]] = {
    "another index": lambda data: data.replace(b"\nindex 300\n", b"\nindex 301\n"),
    "a hash": swap_hash,
    "a hash fewer": lambda data: swap_hash(data, drop=True),
    "the root": lambda data: replace_note(data, swap_root),
    "the size": lambda data: data.replace(b"\n600\n", b"\n601\n"),
    "the signature": lambda data: data[:-20] + flip(data[-20:-10]) + data[-10:],
    "the header": lambda data: data.replace(b"@v1", b"@v2"),
}


def replace_note(data: bytes, spoil: Callable[[bytes], bytes]) -> bytes:
    head, _, note = data.partition(b"\n\n")
    return head + b"\n\n" + spoil(note)


@pytest.mark.parametrize("what", SPOILED_PROOFS)
def test_torchwood_refuses_a_tampered_proof_file(made: Made, tmp_path: Path, what: str) -> None:
    bad = SPOILED_PROOFS[what](made.proofs[True])
    assert bad != made.proofs[True]
    with pytest.raises(RefusedError):
        judge_proof(made, tmp_path, bad, made.entry_hashes[PROVEN])


def test_torchwood_refuses_a_proof_of_another_entry(made: Made, tmp_path: Path) -> None:
    with pytest.raises(RefusedError):
        judge_proof(made, tmp_path, made.proofs[True], made.entry_hashes[PROVEN + 1])


def test_metamorphic_log_judges_inclusion(made: Made) -> None:
    path = hashes(parse_proof(made.proofs[True]).path)
    leaf = leaf_hash(bytes.fromhex(made.entry_hashes[PROVEN])).hex()
    metamorphic("inclusion", made.note, made.vkey, PROVEN, leaf, path)
    other = leaf_hash(bytes.fromhex(made.entry_hashes[PROVEN + 1])).hex()
    for bad in ((PROVEN + 1, leaf, path), (PROVEN, other, path), (PROVEN, leaf, path[:-1]),
                (PROVEN, leaf, [*path[:-1], path[0]])):  # fmt: skip
        with pytest.raises(RefusedError):
            metamorphic("inclusion", made.note, made.vkey, *bad)


def test_metamorphic_log_judges_consistency(made: Made) -> None:
    path, old = hashes(made.prefix.path), made.old_note.decode()
    metamorphic("consistency", made.note, made.vkey, old, path)
    for bad in ((old, path[:-1]), (old, [*path[:-1], path[0]]), (old.replace("\n200\n", "\n201\n"), path)):
        with pytest.raises(RefusedError):
            metamorphic("consistency", made.note, made.vkey, *bad)


# --- hybrid checkpoints ---


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published log whose checkpoints are signed with Ed25519 and ML-DSA-44."""
    folder = tmp_path_factory.mktemp("hybrid")
    with Log.create(
        folder / "log", origin="example.com/hybrid", signer=MemorySigner(),
        checkpoint_signer=MemorySigner("Ed25519"), checkpoint_pq_signer=MemorySigner("ML-DSA-44"),
    ) as log:  # fmt: skip
        log.append_many([draft(number) for number in range(1, 300)])
        for number, vkey in enumerate(log.vkeys):
            (folder / f"vkey-{number}").write_text(vkey)
            (folder / f"policy-{number}").write_text(f"log {vkey}\nquorum none\n")
    publish_log(folder / "log", folder / "public")
    return folder


@pytest.mark.parametrize("number", [0, 1], ids=["Ed25519", "ML-DSA-44"])
def test_torchwood_verifies_either_line(hybrid: Path, tmp_path: Path, number: int) -> None:
    policy, checkpoint = hybrid / f"policy-{number}", hybrid / "public" / "checkpoint"
    assert driver("checkpoint", policy, checkpoint).startswith("300 ")
    lines = checkpoint.read_bytes().splitlines(keepends=True)
    own = 4 + number
    dash, name, encoded = lines[own].split(b" ")
    blob = base64.b64decode(encoded)
    bad = base64.b64encode(blob[:-1] + bytes([blob[-1] ^ 1]))
    for line in (b" ".join([dash, name, bad]) + b"\n", b""):
        path = tmp_path / "checkpoint"
        path.write_bytes(b"".join([*lines[:own], line, *lines[own + 1 :]]))
        with pytest.raises(RefusedError):
            driver("checkpoint", policy, path)


def test_those_who_know_ed25519_only_read_a_hybrid_log(hybrid: Path, tmp_path: Path) -> None:
    vkey, public = (hybrid / "vkey-0").read_text(), hybrid / "public"
    assert driver("tree", vkey, public, 1, 256).startswith("300 ")
    fsck(public, vkey, tmp_path)
    assert metamorphic("checkpoint", (public / "checkpoint").read_bytes(), vkey).startswith("300 ")
