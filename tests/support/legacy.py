"""Legacy logs made by the rule of their format, as its first writer made them."""

import hashlib
import json
import uuid
from typing import Any


def hash_of(members: dict[str, Any]) -> str:
    bare = {name: value for name, value in members.items() if name != "entry_hash"}
    return hashlib.sha256(json.dumps(bare, sort_keys=True).encode("utf-8")).hexdigest()


def sealed(members: dict[str, Any]) -> bytes:
    """The line of these members under their true hash."""
    return json.dumps({**members, "entry_hash": hash_of(members)}).encode()


def legacy_members(number: int, previous: str, **members: Any) -> dict[str, Any]:
    return {
        "entry_id": str(uuid.UUID(int=number, version=4)),
        "timestamp": f"2025-10-30T12:{number // 60:02d}:{number % 60:02d}.000001",
        "sequence_number": number,
        "event_type": "ACTION",
        "action_type": f"act_{number}",
        "action_payload": {"number": number, "text": "an toàn ✓ 🛡"},
        "prev_entry_hash": previous,
        "actor_id": "organism-1",
        "execution_status": "SUCCESS",
        **members,
    }


def legacy_lines(size: int, changes: dict[int, dict[str, Any]] | None = None) -> list[bytes]:
    """A sound log; `changes`: members of some entries, before they are hashed."""
    lines: list[bytes] = []
    previous = "0" * 64
    for number in range(size):
        line = sealed(legacy_members(number, previous, **(changes or {}).get(number, {})))
        previous = json.loads(line)["entry_hash"]
        lines.append(line)
    return lines


def joined(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)
