"""Logs with rich histories, small and made from a seed: what the two verifiers are compared on.

    history = History(Random(7))        # a log in memory, by the core alone
    files = history.files()             # path within the directory → its bytes
    files = history.files(rebuild(history, members))

Everything that verifiers judge happens in some of them: policies, approvals used once, legal holds and their
release, rotations, admissions, revocations, erasures, batches, guarded acts, heads seen, records of failed
changes, several segments. Keys are Ed25519, for speed, and all known to `History.keys`: whoever holds them
can seal a changed history, as `rebuild` does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.support.logs import Key, LogMaker, admission, draft, revocation, rotation
from tests.support.people import PEOPLE, governed

from attestlog._internal.core import canonical
from attestlog._internal.core.checkpoint import Checkpoint, sign_checkpoint
from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.erasure import Erasure, RangeErasure, erase_line, format_erasure
from attestlog._internal.core.hashes import batch_message, hex_hash, leaf_hash
from attestlog._internal.core.merkle import Grown, Span, inclusion_paths
from attestlog._internal.core.policy import format_policy, parse_policy
from attestlog._internal.core.policy_change import set_policy_payload
from attestlog._internal.core.reserved import (
    ERASE_PAYLOAD,
    ERASE_PAYLOADS,
    GOVERNING,
    PLACE_LEGAL_HOLD,
    RELEASE_LEGAL_HOLD,
    SET_POLICY,
    is_kept,
)
from attestlog._internal.core.rules import format_hold, release_of
from attestlog._internal.core.seen_head import seen_head
from attestlog.errors import RuleChangeError

Members = dict[str, Any]
Files = dict[str, bytes]

POLICY: Final = governed(
    rules={
        "pay": {"action_types": ["pay"], "required_approvals": 1},
        "keys": {"action_types": ["attestlog.*_signing_key"], "required_approvals": 0},
    },
    erasure={"action_types": ["*"]},
)
NUMBER_OF_KEYS: Final = 8
OUTSIDE: Final = frozenset({"action_payload", "entry_hash", "hsm_signature"})
"""Members that `entry_hash` does not cover."""

ALL_KEYS: Final = [Key(number, "Ed25519") for number in range(1, NUMBER_OF_KEYS + 1)]


class History(LogMaker):
    """A log whose steps are drawn from `random`. `older` has the files of an earlier copy."""

    def __init__(self, random: Random, steps: int = 14, segment_entries: int | None = None) -> None:
        width = segment_entries or random.choice([4, 6, 9, 64])
        super().__init__(Path("/nowhere"), key=ALL_KEYS[0], policy=POLICY, segment_entries=width)
        self.random = random
        self.keys = {key.public.key_id: key for key in ALL_KEYS}
        self._spare = ALL_KEYS[1:]
        self._holds: list[str] = []
        self._admitted: list[Key] = []
        self.older: Files = {}
        for _ in range(steps):
            getattr(self, f"_{random.choice(STEPS)}")()
            if random.random() < 0.1:
                self.older = self.files()
        self.older = self.older or self.files(self.lines[: len(self.lines) // 2 + 1])

    def files(self, lines: Sequence[bytes] | None = None) -> Files:
        """The log's directory with these lines: segments, tree and a checkpoint of all."""
        lines = self.lines if lines is None else lines
        width, found = self.settings.segment_entries, dict[str, bytes]()
        for first in range(0, len(lines), width):
            joined = b"".join(line + b"\n" for line in lines[first : first + width])
            found[f"entries/{first:012d}.jsonl"] = joined
        leaves = [leaf_hash(_stated_hash(line)) for line in lines]
        grown: list[Grown] = []
        edge = Span().extended(leaves, grown)
        found["tree/0"] = b"".join(leaves)
        for level, run in groupby(sorted(grown), key=lambda item: item[0]):
            found[f"tree/{level}"] = found.get(f"tree/{level}", b"") + b"".join(node for _, _, node in run)
        found["checkpoint"] = self.checkpoint(len(leaves), edge.root())
        found["lock"] = b""
        return found

    def checkpoint(self, size: int, root: bytes) -> bytes:
        """Signed by the log's key, whatever it says."""
        key = self.checkpoint_key
        return sign_checkpoint(Checkpoint(self.origin, size, root), [(key.verifier, key.sign)])

    # --- steps ---

    def _plain(self) -> None:
        self.append(*(draft(number) for number in range(self.random.randint(1, 3))))

    def _alone(self) -> None:
        self.append(draft(7), batched=False)

    def _pay(self) -> None:
        number = len(self.lines)
        act = draft(number, action_type="pay")
        status = self.random.choice(["SUCCESS", "SUCCESS", "FAILED", "BLOCKED"])
        approvals = [self.random.choice(PEOPLE).approve(act, self.log)]
        self.append({**act, "received_approvals": approvals, "execution_status": status})

    def _guarded(self) -> None:
        act = draft(len(self.lines), action_type="call")
        self.append({**act, "event_type": "DECISION", "actor_context": {"guard": "intent", "counter": 1}})
        intent = self.entry(-1)["entry_id"]
        if self.random.random() < 0.5:
            self._plain()
        self.append({**act, "actor_context": {"guard": "outcome"}, "dependencies": [intent]})

    def _hold(self) -> None:
        name = f"case-{len(self.lines)}"
        self._holds.append(name)
        hold = {"name": name, "start": len(self.lines) + 50, "stop": None, "reason": "litigation"}
        self._change(PLACE_LEGAL_HOLD, hold)

    def _release(self) -> None:
        if self._holds:
            name = self._holds.pop()
            self._change(RELEASE_LEGAL_HOLD, format_hold(release_of(self.rules, name, "settled")))

    def _policy(self) -> None:
        members = {**format_policy(self.rules.policy), "safety_floor": self.random.randint(1, 6)}
        self._change(SET_POLICY, set_policy_payload(self.rules, parse_policy(members)))

    def _rotation(self) -> None:
        if self._spare:
            new = self._spare.pop()
            self._governed(rotation(self.origin, self.key, new, len(self.lines)))
            self.key = new

    def _admission(self) -> None:
        if self._spare:
            new = self._spare.pop()
            self._governed(admission(self, new))
            self._admitted.append(new)

    def _other_key(self) -> None:
        if self._admitted:
            self.key, other = self._admitted.pop(), self.key
            self._admitted.append(other)
            self._plain()

    def _revocation(self) -> None:
        if self._admitted:
            key = self._admitted.pop(0)
            start = self.rules.terms[key.public.key_id].start
            last = self.random.randint(max(start - 1, 0), len(self.lines) - 1)
            try:
                self._governed(revocation(key, last))
            except RuleChangeError:
                return
            self._admitted = [key for key in self._admitted if key.public.key_id in self.rules.keys]

    def _erasure(self) -> None:
        numbers = range(1, len(self.lines))
        targets = [
            place for place in numbers
            if not is_kept(entry := decode_line(self.lines[place])) and entry.action_payload is not None
        ]  # fmt: skip
        if targets:
            place = self.random.choice(targets)
            self._erase(place, status=self.random.choice(["SUCCESS", "SUCCESS", "SUCCESS", "FAILED"]))

    def _range_erasure(self) -> None:
        stop = self.random.randint(2, len(self.lines)) if len(self.lines) > 2 else 0
        places = [
            place for place in range(1, stop)
            if (entry := decode_line(self.lines[place])).action_payload is not None
            and entry.action_type == "execute_autonomous_task"
        ]  # fmt: skip
        if places:
            erasure = RangeErasure(
                start=places[0], stop=stop, action_types=["execute_*"], count=len(places),
                last_entry_hash=self.entry(stop - 1)["entry_hash"], reason="asked for", legal_basis=None,
            )  # fmt: skip
            self._change(ERASE_PAYLOADS, format_erasure(erasure))
            for place in places:
                self.lines[place] = erase_line(self.lines[place])

    def _erase(self, place: int, status: str) -> None:
        erasure = format_erasure(Erasure.of(decode_line(self.lines[place]), "asked for", None))
        self._change(ERASE_PAYLOAD, erasure, execution_status=status)
        if status == "SUCCESS":
            self.lines[place] = erase_line(self.lines[place])

    def _boot(self) -> None:
        size = len(self.lines)
        seen = self.random.choice([size, size, size - 1 or 1])
        snapshot = seen_head(seen, self.entry(seen - 1)["entry_hash"])
        kind = self.random.choice(["BOOT", "SHUTDOWN"])
        self.append(draft(0, event_type=kind, system_state_snapshot=snapshot))

    def _record(self) -> None:
        name = self.random.choice(sorted(GOVERNING | {ERASE_PAYLOAD}))
        kind = self.random.choice(["CHANGE", "DECISION", "VIOLATION"])
        status = "FAILED" if kind == "CHANGE" else "SUCCESS"
        self.append(draft(1, event_type=kind, action_type=name, execution_status=status))

    def _change(self, name: str, payload: Members, **members: Any) -> None:
        act = draft(0, event_type="CHANGE", action_type=name, action_payload=payload, **members)
        self._governed(act)

    def _governed(self, act: Members) -> None:
        """A change of the rules, perhaps with others before it in its batch."""
        before = [draft(1)] if self.random.random() < 0.3 and "rotate" not in act["action_type"] else []
        self.append(*before, act, batched=self.random.random() < 0.7)


STEPS: Final = (
    "plain", "plain", "alone", "pay", "guarded", "hold", "release", "policy", "rotation", "admission",
    "other_key", "revocation", "erasure", "range_erasure", "boot", "record",
)  # fmt: skip


def _stated_hash(line: bytes) -> bytes:
    try:
        digest = bytes.fromhex(json.loads(line)["entry_hash"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return bytes(32)
    return digest if len(digest) == 32 else bytes(32)


def rebuild(
    history: History,
    entries: Sequence[Members],
    *,
    links: bool = True,
    names: bool = True,
    numbers: bool = False,
    key_of: Callable[[Members], Key] | None = None,
) -> list[bytes]:
    """Lines of these entries, hashed and signed as somebody who holds every key can; batches stay batches.

    `links`: each names the hash of the one before. `names`: where an entry names another by its hash
    (pointers, payloads), it is that one's new hash. `numbers`: counted from 0. `key_of`: who signs; by
    default the key that the entry names, or the first.
    """
    renamed: dict[str, str] = {}
    lines, previous, first = list[bytes](), "0" * 64, ALL_KEYS[0]
    place = 0
    for _, run in groupby(entries, key=_batch_of):
        batch = [dict(members) for members in run]
        digests = list[bytes]()
        key = (
            history.keys.get(str(batch[0].get("signing_key_id")), first)
            if key_of is None
            else key_of(batch[0])
        )
        for index, stated in enumerate(batch):
            before = stated.get("entry_hash")
            batch[index] = members = _with_names(stated, renamed) if names else stated
            if links:
                members["prev_entry_hash"] = previous
            if numbers:
                members["sequence_number"] = place
            if key_of is not None:
                members["signing_key_id"] = key.public.key_id
            payload = members.get("action_payload")
            if payload is not None:
                members["action_hash"] = hex_hash(canonical.encode(payload))
            covered = {name: value for name, value in members.items() if name not in OUTSIDE}
            members["entry_hash"] = previous = hex_hash(canonical.encode(covered))
            if isinstance(before, str) and len(before) == len(previous):
                renamed[before] = previous
            digests.append(bytes.fromhex(previous))
            place += 1
        for members, signature in zip(batch, _signatures(batch, digests, key), strict=True):
            lines.append(canonical.encode({**members, "hsm_signature": signature}))
    return lines


def _signatures(batch: Sequence[Members], digests: Sequence[bytes], key: Key) -> list[str]:
    if not str(batch[0].get("signature_algorithm")).endswith("+BATCH"):
        return [key.sign(digest).hex() for digest in digests]
    root, paths = inclusion_paths([leaf_hash(digest) for digest in digests])
    head, size = key.sign(batch_message(root)).hex(), len(batch)
    return [f"{head}:{index}/{size}:{path.hex()}" for index, path in enumerate(paths)]


def _batch_of(members: Members) -> str:
    """Entries signed together have this in common; what is signed alone, with none."""
    signature, algorithm = str(members.get("hsm_signature")), str(members.get("signature_algorithm"))
    return signature.partition(":")[0] + algorithm if ":" in signature else signature + algorithm


def _with_names(members: Members, renamed: dict[str, str]) -> Members:
    """With the new hashes of entries that changed, wherever it names one."""
    changed = {name for name, new in renamed.items() if name != new}
    if not changed:
        return members
    text = json.dumps({name: value for name, value in members.items() if name != "entry_hash"})
    for name in changed:
        if name in text:
            text = text.replace(name, renamed[name])
    again: Members = json.loads(text)
    return {**members, **again}
