"""A log laid out in a directory by the core alone: no writer, no lock, one file key made up on the spot."""

import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from attestlog.core.batch import Head, plan_batch, prepare
from attestlog.core.entry import EntryDraft, parse_draft
from attestlog.core.genesis import Genesis, Settings, Software, draft_genesis
from attestlog.core.note import ED25519, VerifierKey
from attestlog.core.policy import Policy
from attestlog.core.signature import public_key
from attestlog.storage.layout import ENTRIES_DIR, segment_name

START_US = 1_761_825_600_000_000  # 2025-10-30T12:00:00Z
ORIGIN = "example.com/laid-out"


class LaidOutLog:
    """Grows a log directory line by line; each batch is one second after the last."""

    def __init__(self, root: Path, segment_entries: int = 65_536, start_us: int = START_US) -> None:
        self.root, self.segment_entries, self.now_us = root, segment_entries, start_us
        self.key = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
        self.public = public_key(self.key.public_key())
        self.head, self.policy, self.ids = Head(), Policy(), 0
        (root / ENTRIES_DIR).mkdir(parents=True)
        checkpoint_key = VerifierKey(ORIGIN, ED25519, self.key.public_key().public_bytes_raw())
        genesis = Genesis(
            ORIGIN,
            {self.public.key_id: self.public},
            [checkpoint_key],
            self.policy,
            Settings(segment_entries=segment_entries),
            Software("tests", "0"),
        )
        self._append([draft_genesis(genesis)])

    def append(self, *drafts: dict[str, Any]) -> None:
        self._append([parse_draft(members) for members in drafts])

    def append_at(self, moment_us: int, *drafts: dict[str, Any]) -> None:
        self.now_us = moment_us
        self.append(*drafts)

    def path_of(self, number: int) -> Path:
        return self.root / ENTRIES_DIR / segment_name(number // self.segment_entries * self.segment_entries)

    def write_raw(self, data: bytes, number: int | None = None) -> None:
        with self.path_of(self.head.size if number is None else number).open("ab") as file:
            file.write(data)

    def lines(self) -> list[bytes]:
        """Read back without the reader."""
        paths = sorted((self.root / ENTRIES_DIR).glob("*.jsonl"))
        return [line for path in paths for line in path.read_bytes().splitlines()]

    def _append(self, drafts: Iterable[EntryDraft]) -> None:
        prepared = [
            prepare(draft, self.policy, entry_id=self._entry_id(), environment={"os": "test"})
            for draft in drafts
        ]
        plan = plan_batch(
            self.head, prepared, self.now_us,
            algorithm=self.public.algorithm, key_id=self.public.key_id, batched=True,
        )  # fmt: skip
        lines = plan.seal([self.key.sign(message) for message in plan.messages])
        for number, line in enumerate(lines, self.head.size):
            self.write_raw(line + b"\n", number)
        self.head = plan.head
        self.now_us += 1_000_000

    def _entry_id(self) -> str:
        self.ids += 1
        return str(uuid.UUID(int=self.ids << 64 | self.ids, version=4))


def action(number: int, **members: Any) -> dict[str, Any]:
    """A draft; every one differs."""
    defaults = {
        "event_type": "ACTION",
        "action_type": "execute_autonomous_task",
        "actor_id": "agent-1",
        "action_payload": {"task_id": f"T-{number}", "number": number},
    }
    return {**defaults, **members}
