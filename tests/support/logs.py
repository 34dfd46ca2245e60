"""Drafts and logs for tests. This is the one home of both.

    draft(7)                            # what a user would append; `MINIMAL` is the shortest there is
    with create(path) as log: ...       # a log written by the product, with keys in memory

    made = LogMaker(root)               # a log by the core alone, without the writer: to be forged
    made.append(draft(1), draft(2))
    made.reseal(1, actor_id="x")        # as somebody who holds the key could change it
    made.lay_out()

`LogMaker.lines` are the entries as they will be laid out. A `GrowingLog` stores every line at once.
"""

import json
import shutil
import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from attestlog._internal import last_signed, places
from attestlog._internal.config import change_config
from attestlog._internal.core import canonical
from attestlog._internal.core.batch import Head, plan_batch, prepare
from attestlog._internal.core.checkpoint import NO_LOG, Checkpoint, LogId, sign_checkpoint
from attestlog._internal.core.curves import to_low_s
from attestlog._internal.core.entry import EntryDraft, decode_line, parse_draft
from attestlog._internal.core.erasure import format_erasure, plan_range
from attestlog._internal.core.genesis import Genesis, Settings, Software, draft_genesis, parse_genesis
from attestlog._internal.core.hashes import hex_hash, leaf_hash
from attestlog._internal.core.merkle import Grown, Span
from attestlog._internal.core.note import ED25519, VerifierKey, format_vkey
from attestlog._internal.core.policy import Policy
from attestlog._internal.core.reserved import (
    ADMIT_SIGNING_KEY,
    ERASE_PAYLOADS,
    REVOKE_SIGNING_KEY,
    ROTATE_SIGNING_KEY,
)
from attestlog._internal.core.rotation import (
    Admission,
    Rotation,
    admission_message,
    format_admission,
    format_rotation,
    rotation_message,
)
from attestlog._internal.core.rules import Rules
from attestlog._internal.core.signature import PublicKey, public_key
from attestlog._internal.log import Log
from attestlog._internal.signers.private_keys import make_key, sign_with
from attestlog._internal.storage.files import layout
from attestlog._internal.storage.resolve import open_source
from attestlog.testing import ManualClock, MemorySigner

START_US = 1_761_825_600_000_000  # 2025-10-30T12:00:00Z
ORIGIN = "example.com/made"
OWNED = "log.attestlog.dev/agents"
"""Not an example's name: another log of this origin is a fork of the one that is remembered."""


MINIMAL: Final[dict[str, Any]] = {"event_type": "ACTION", "action_type": "deploy", "actor_id": "agent-7"}
"""The members that every draft has."""


def parsed(**members: Any) -> EntryDraft:
    """A parsed draft: the shortest there is, with these members."""
    return parse_draft({**MINIMAL, **members})


def draft(number: int = 1, **members: Any) -> dict[str, Any]:
    """A draft with a payload that holds its number; `members` replace or add."""
    return {
        "event_type": "ACTION", "action_type": "execute_autonomous_task", "actor_id": "agent-1",
        "action_payload": {"task_id": f"T-{number}", "number": number}, **members,
    }  # fmt: skip


def drafts(numbers: Iterable[int]) -> list[dict[str, Any]]:
    """A draft for each number."""
    return list(map(draft, numbers))


class Key:
    """A key that signs entries."""

    def __init__(self, number: int = 1, algorithm: str = "P-256") -> None:
        if algorithm == "P-256":
            private = derive_private_key(number, SECP256R1())
            self.sign: Callable[[bytes], bytes] = lambda message: to_low_s(
                private.sign(message, ECDSA(SHA256()))
            )
            self.public: PublicKey = public_key(private.public_key())
        elif algorithm == "Ed25519":
            edwards = Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big"))
            self.sign, self.public = edwards.sign, public_key(edwards.public_key())
        else:
            made = make_key(algorithm)  # a new one each time: its seed cannot be given everywhere
            self.sign, self.public = partial(sign_with, made), public_key(made.public_key())


class CheckpointKey:
    """A key that signs checkpoints."""

    def __init__(self, number: int = 1, name: str = ORIGIN) -> None:
        private = Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "little"))
        self.sign = private.sign
        self.verifier = VerifierKey(name, ED25519, private.public_key().public_bytes_raw())
        self.vkey = format_vkey(self.verifier)


class LogMaker:
    """A log in memory, laid out in `root` on request. Each batch is a second after the last."""

    def __init__(
        self,
        root: Path,
        *,
        origin: str = ORIGIN,
        key: Key | None = None,
        segment_entries: int = 65_536,
        policy: Policy | None = None,
        first_id: int = 0,
    ) -> None:
        self.root, self.origin, self.now_us = root, origin, START_US
        self.key, self.checkpoint_key = key or Key(), CheckpointKey(name=origin)
        self.settings = Settings(segment_entries=segment_entries)
        self.policy = policy or Policy()
        self.ids = first_id
        self.head = Head()
        self.lines: list[bytes] = []
        self.genesis = Genesis(
            origin,
            {self.key.public.key_id: self.key.public},
            [self.checkpoint_key.verifier],
            self.policy,
            self.settings,
            Software("tests", "0"),
        )
        self.log = NO_LOG
        self.rules = Rules.of(self.genesis)
        """Those in force at the end: what the next entries name as theirs."""
        self._append([draft_genesis(self.genesis)], batched=False)
        self.log = LogId(origin, self.head.entry_hash)
        self.genesis = parse_genesis(decode_line(self.lines[0]))
        self.rules = Rules.of(self.genesis)

    def append(self, *drafts: dict[str, Any], batched: bool = True) -> None:
        """Signed together, or each alone."""
        self._append([parse_draft(members) for members in drafts], batched=batched)

    def rotate(self, new: Key, **options: Any) -> None:
        """A rotation that holds; `new` signs from then on."""
        self.append(rotation(self.origin, self.key, new, len(self.lines), **options))
        self.key = new

    def revoke(self, key: Key, last_trusted: int) -> None:
        """An entry that says since when a key is not trusted."""
        self.append(revocation(key, last_trusted))

    def entry(self, number: int) -> dict[str, Any]:
        members: dict[str, Any] = json.loads(self.lines[number])
        return members

    def reseal(self, number: int, *, links: bool = True, key: Key | None = None, **changes: Any) -> None:
        """Change members of an entry and give it true hashes and a true signature of its own.

        `links`: do the same for every entry after it, so that the chain and the pointers hold again.
        """
        renamed: dict[str, str] = {}
        for place in range(number, len(self.lines) if links else number + 1):
            members = self.entry(place)
            members.update(changes if place == number else {})
            if place and links:
                members["prev_entry_hash"] = self.entry(place - 1)["entry_hash"]
            if place != number or "environment" not in changes:
                environment = members["environment"].items()
                members["environment"] = {name: renamed.get(value, value) for name, value in environment}
            if members["action_payload"] is not None:
                members["action_hash"] = hex_hash(canonical.encode(members["action_payload"]))
            before = f"{place}:{self.entry(place)['entry_hash']}"
            self.lines[place] = seal(members, key or self.key)
            renamed[before] = f"{place}:{self.entry(place)['entry_hash']}"

    # --- the directory ---

    def lay_out(self, *, size: int | None = None, tree_size: int | None = None) -> None:
        """Everything; `size`: what the checkpoint covers, `tree_size`: what the stored tree does."""
        self.write_entries()
        self.write_tree(tree_size)
        self.write_checkpoint(size)
        (self.root / layout.LOCK_FILE).touch()

    def write_entries(self, tail: bytes = b"") -> None:
        """Segment files with the lines, and bytes after them."""
        folder = self.root / layout.ENTRIES_DIR
        folder.mkdir(parents=True, exist_ok=True)
        width = self.settings.segment_entries
        segments = {
            layout.segment_name(first): self.lines[first : first + width]
            for first in range(0, len(self.lines), width)
        }
        for name, lines in segments.items():
            self._put(folder / name, b"".join(line + b"\n" for line in lines))
        for path in folder.iterdir():
            if path.name not in segments:
                path.unlink()
        if tail:
            with max(folder.iterdir()).open("ab") as file:
                file.write(tail)

    def write_tree(self, size: int | None = None) -> None:
        leaves = self.leaves()[:size]
        grown: list[Grown] = []
        Span().extended(leaves, grown)
        levels = {0: leaves}
        for level, _, node in grown:
            levels.setdefault(level, []).append(node)
        (self.root / layout.TREE_DIR).mkdir(parents=True, exist_ok=True)
        for level, hashes in levels.items():
            self._put(layout.tree_path(self.root, level), b"".join(hashes))

    def write_checkpoint(self, size: int | None = None, key: CheckpointKey | None = None) -> None:
        leaves = self.leaves()[:size]
        checkpoint = Checkpoint(self.origin, len(leaves), Span().extended(leaves).root())
        key = key or self.checkpoint_key
        note = sign_checkpoint(checkpoint, [(key.verifier, key.sign)])
        self._put(self.root / layout.CHECKPOINT_FILE, note)

    def _put(self, path: Path, data: bytes) -> None:
        """In the place of what is there, at once: a sender may be reading it in another thread."""
        new = self.root / ".new"
        new.write_bytes(data)
        new.replace(path)

    def leaves(self) -> list[bytes]:
        return [leaf_hash(bytes.fromhex(json.loads(line)["entry_hash"])) for line in self.lines]

    def segment(self, first: int = 0) -> Path:
        return self.root / layout.ENTRIES_DIR / layout.segment_name(first)

    def _append(self, drafts: Sequence[EntryDraft], *, batched: bool) -> None:
        prepared = [
            prepare(
                draft,
                self.policy,
                entry_id=self._entry_id(),
                environment={"os": "test"},
                log=self.log,
                now_us=self.now_us,
            )
            for draft in drafts
        ]
        public = self.key.public
        plan = plan_batch(
            self.head, prepared, self.now_us,
            algorithm=public.algorithm, key_id=public.key_id, batched=batched, pointers=self.rules.pointers,
        )  # fmt: skip
        sealed = plan.seal([self.key.sign(message) for message in plan.messages])
        self.lines += sealed
        self.rules, _ = self.rules.following(sealed)
        self.head = plan.head
        self.now_us += 1_000_000

    def _entry_id(self) -> str:
        self.ids += 1
        return entry_id(self.ids)


class GrowingLog(LogMaker):
    """A LogMaker whose every line is in its segment file at once; nothing but segment files is made."""

    def __init__(self, root: Path, **members: Any) -> None:
        (root / layout.ENTRIES_DIR).mkdir(parents=True)
        super().__init__(root, **members)

    def append_at(self, moment_us: int, *drafts: dict[str, Any]) -> None:
        self.now_us = moment_us
        self.append(*drafts)

    def path_of(self, number: int) -> Path:
        """The segment file that entry `number` belongs in."""
        width = self.settings.segment_entries
        return self.segment(number // width * width)

    def write_raw(self, data: bytes, number: int | None = None) -> None:
        """Bytes at the end of the segment of entry `number`, or of the last entry."""
        with self.path_of(self.head.size - 1 if number is None else number).open("ab") as file:
            file.write(data)

    def stored_lines(self) -> list[bytes]:
        """Read back without the reader."""
        paths = sorted((self.root / layout.ENTRIES_DIR).glob("*.jsonl"))
        return [line for path in paths for line in path.read_bytes().splitlines()]

    def _append(self, drafts: Sequence[EntryDraft], *, batched: bool) -> None:
        start = len(self.lines)
        super()._append(drafts, batched=batched)
        for number, line in enumerate(self.lines[start:], start):
            self.write_raw(line + b"\n", number)


def entry_id(number: int) -> str:
    """The id of the number-th entry that a LogMaker makes, from 1."""
    return str(uuid.UUID(int=number << 64 | number, version=4))


def seal(members: dict[str, Any], key: Key) -> bytes:
    """The line of an entry with these members, hashed and signed alone by `key`, whatever they are."""
    members = {
        **members,
        "signature_algorithm": key.public.algorithm,
        "signing_key_id": key.public.key_id,
    }
    outside = ("action_payload", "entry_hash", "hsm_signature")
    covered = {name: value for name, value in members.items() if name not in outside}
    members["entry_hash"] = hex_hash(canonical.encode(covered))
    members["hsm_signature"] = key.sign(bytes.fromhex(members["entry_hash"])).hex()
    return canonical.encode(members)


def rotation(origin: str, old: Key, new: Key, number: int, **payload: Any) -> dict[str, Any]:
    """The draft of a rotation that holds as entry `number`, with members of its payload exchanged."""
    message = rotation_message(origin, old.public.key_id, new.public.key_id, number)
    members = format_rotation(Rotation(new.public, new.sign(message))) | payload
    return draft(0, event_type="CHANGE", action_type=ROTATE_SIGNING_KEY, action_payload=members)


def admission(
    log: "LogMaker", new: Key, label: str = "host-2", *, genesis_hash: str | None = None, **payload: Any
) -> dict[str, Any]:
    """The draft of an admission, with members of its payload exchanged."""
    genesis_hash = genesis_hash or log.rules.genesis_hash
    message = admission_message(log.origin, genesis_hash, new.public.key_id)
    members = format_admission(Admission(new.public, new.sign(message), label)) | payload
    return draft(0, event_type="CHANGE", action_type=ADMIT_SIGNING_KEY, action_payload=members)


def revocation(key: Key, last_trusted: int, reason: str = "stolen") -> dict[str, Any]:
    """The draft of a revocation."""
    members = {"key_id": key.public.key_id, "last_trusted_sequence_number": last_trusted, "reason": reason}
    return draft(0, event_type="CHANGE", action_type=REVOKE_SIGNING_KEY, action_payload=members)


def say_range_erased(
    log: "LogMaker",
    start: int,
    stop: int,
    action_types: Sequence[str] = ("execute_*",),
    changes: dict[str, Any] | None = None,
) -> None:
    """Append the entry that says that these payloads are erased, which stay where they are.

    `changes`: of members of its payload.
    """
    erasure = plan_range(
        log.lines[start:stop], start, stop, action_types=action_types, reason="too old", legal_basis=None
    )
    members = format_erasure(erasure) | (changes or {})
    log.append(draft(0, event_type="CHANGE", action_type=ERASE_PAYLOADS, action_payload=members))


# --- written by the product, and its files ---


def create(path: Path, *, segment_entries: int = 65_536, batch: bool = True, **options: Any) -> Log:
    """A new log; its signers are found again by `attestlog.open` within this process."""
    options.setdefault("signer", MemorySigner())
    options.setdefault("checkpoint_signer", MemorySigner("Ed25519"))
    options.setdefault("clock", ManualClock())
    options.setdefault("settings", Settings(segment_entries=segment_entries, batch=batch))
    return Log.create(path, **{"origin": ORIGIN, **options})


def contents(path: Path) -> dict[str, bytes]:
    """Every file of the log but the lock: to show that nothing was changed."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name != layout.LOCK_FILE
    }


def copied(path: Path, name: str) -> Path:
    """A copy beside it."""
    target = path.with_name(name)
    shutil.copytree(path, target)
    return target


def unremembered(path: Path) -> Path:
    """As on another machine: nothing is remembered of what was signed last, and nothing need be."""
    log = open_source(path)
    last_signed.forget(places.state_dir(), log.entry(0).entry_hash)
    change_config(log, partial(msgspec.structs.replace, state=""))
    return path


def remembering(monkeypatch: pytest.MonkeyPatch, kept: Path, folder: Path) -> None:
    """From here on what is remembered is a copy of `kept`, in this folder: one of several lives of a log."""
    shutil.copytree(kept, folder)
    monkeypatch.setenv("ATTESTLOG_STATE", str(folder))


def last_segment(path: Path) -> Path:
    return layout.list_segments(path)[-1][1]


def add_room(path: Path, size_bytes: int = 4_096) -> Path:
    """Room at the end of the last segment, as a writer leaves it that reserved it and was killed."""
    segment = last_segment(path)
    with segment.open("ab") as file:
        file.write(b" " * size_bytes)
    return segment


def torn_files(path: Path) -> list[Path]:
    return sorted((path / layout.ENTRIES_DIR).glob("torn-*"))


def checkpoint_file(path: Path) -> Path:
    return path / layout.CHECKPOINT_FILE


def tree_file(path: Path, level: int = 0) -> Path:
    return path / layout.TREE_DIR / str(level)


def cut_tree(path: Path, size: int) -> None:
    """As if the last entries' hashes had not been stored yet: what a crash between two steps leaves."""
    for file in (path / layout.TREE_DIR).iterdir():
        with file.open("r+b") as opened:
            opened.truncate((size >> (8 * int(file.name))) * 32)


def config_file(log: Path) -> Path:
    """The configuration of the log at this path."""
    genesis = open_source(log).entry(0).entry_hash
    (path,) = (places.config_dir() / "logs").glob(f"*-{genesis[:16]}.toml")
    return path
