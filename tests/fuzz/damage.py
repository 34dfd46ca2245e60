"""What becomes of a log: plain damage, and changes by somebody who holds every key.

    files = damaged(random, history, files)      # bytes, lines, files; of another log or an older copy
    files = forged(random, history)              # members changed, then hashed, signed and chained again

Both give the files of a directory; most of them are no sound log any more. Nothing but `random` decides.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

from tests.support.both import Content, Fifo, Folder, Link
from tests.support.histories import ALL_KEYS, Files, History, Members, rebuild
from tests.support.logs import CheckpointKey
from tests.support.packing import frames_of, joined

from attestlog._internal.core.cosignature import cosign
from attestlog._internal.core.hashes import leaf_hash
from attestlog._internal.core.merkle import Span
from attestlog._internal.core.note import COSIGNATURE_ED25519, VerifierKey
from attestlog._internal.core.reserved import GENESIS, GOVERNING, OF_THE_LOG
from attestlog._internal.core.witness import format_cosignatures
from attestlog.errors import AttestlogError

Mutable = dict[str, Content]


# --- other ways to store the same ---


def stored(random: Random, files: Mapping[str, Content]) -> Mutable:
    """Some segments are compressed, the last has room, a witness cosigned the checkpoint."""
    mutable: Mutable = dict(files)
    segments = sorted(name for name in files if name.startswith("entries/") and name.endswith(".jsonl"))
    if random.random() < 0.3:
        for name in segments if random.random() < 0.1 else segments[:-1]:
            data = mutable[name]
            if random.random() < 0.7 and isinstance(data, bytes) and data:
                mutable[f"{name}.zst"] = joined(frames_of(data))
                if random.random() < 0.95:
                    del mutable[name]
    if segments and random.random() < 0.2:
        name = random.choice(segments[-1:] * 9 + segments)
        last = mutable.get(name)
        if isinstance(last, bytes):
            mutable[name] = last + b" " * random.choice([1, 70, 4_096])
    note = mutable.get("checkpoint")
    if isinstance(note, bytes) and random.random() < 0.2:
        mutable["checkpoint"] = note + _cosigned(note)
    return mutable


def _cosigned(note: bytes) -> bytes:
    """A line by a witness that the log does not know."""
    text = note.rpartition(b"\n\n")[0].decode("utf-8", "replace") + "\n"
    made = CheckpointKey(9, name="witness.example.com/one")
    key = VerifierKey(made.verifier.name, COSIGNATURE_ED25519, made.verifier.public_key)
    try:
        return format_cosignatures([cosign(text, key, 1_764_000_000, made.sign)])
    except AttestlogError:  # nobody cosigns what is no checkpoint
        return b""


# --- plain damage ---


def damaged(random: Random, history: History, files: Mapping[str, Content]) -> Mutable:
    """One to three things happen to the files."""
    mutable: Mutable = dict(files)
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        random.choice(_DAMAGE)(random, history, mutable)
    return mutable


def _pick(random: Random, files: Mutable) -> str:
    return random.choice(sorted(files))


def _segment(random: Random, files: Mutable) -> str | None:
    names = sorted(name for name, data in files.items() if name.startswith("entries/") and data)
    return random.choice(names) if names else None


def change_bytes(random: Random, _: History, files: Mutable) -> None:
    """Some bytes of one file are others, more or fewer."""
    name = _pick(random, files)
    data = files[name]
    if not isinstance(data, bytes) or not data:
        return
    changed, at = bytearray(data), random.randrange(len(data))
    match random.randrange(5):
        case 0:
            changed[at] ^= 1 << random.randrange(8)
        case 1:
            del changed[at:]
        case 2:
            changed[at:at] = random.choice(_PIECES)
        case 3:
            del changed[at : at + random.randrange(1, 400)]
        case _:
            start = random.randrange(len(data))
            changed[at:at] = data[start : start + random.randrange(1, 400)]
    files[name] = bytes(changed)


_PIECES: Final = (
    b"0", b"\n", b"\xff", b'"', b"{}\n", b" ", b"\n\n", b"\r", b"\x00" * 70, b"x" * 80 + b"\n", b"  \n", b"-",
    b"1e5",
)  # fmt: skip


def change_lines(random: Random, _: History, files: Mutable) -> None:
    """Lines are left out, repeated, in another order, or from another place of the log."""
    name = _segment(random, files)
    data = files.get(name or "")
    if name is None or not isinstance(data, bytes):
        return
    lines = data.splitlines(keepends=True)
    at, other = random.randrange(len(lines)), random.randrange(len(lines))
    match random.randrange(9):
        case 0:
            del lines[at]
        case 1:
            lines.insert(other, lines[at])
        case 2:
            lines[at], lines[other] = lines[other], lines[at]
        case 3:
            del lines[at:]
        case 4:
            lines[at] = lines[at].rstrip(b"\n")
        case 5:
            lines[at] = random.choice(_PIECES)
        case 6:
            lines[at] = respelled(random, lines[at])
        case 7:
            source = files[_segment(random, files) or name]
            if isinstance(source, bytes) and source:
                lines.insert(at, random.choice(source.splitlines(keepends=True)))
        case _:
            lines += lines[at:]
    files[name] = b"".join(lines)


def respelled(random: Random, line: bytes) -> bytes:
    """The same members in another spelling."""
    try:
        members = json.loads(line)
    except (ValueError, RecursionError):
        return line
    if not isinstance(members, dict) or not members:
        return line
    name = random.choice(sorted(members))
    match random.randrange(6):
        case 0:
            return json.dumps(members).encode() + b"\n"
        case 1:
            members = dict(reversed(list(members.items())))
        case 2:
            members["composite_score"] = random.choice([5.0, 0.0, -0.0, 1e-7, 10.5, 3])
        case 3:
            return line.replace(b'"severity":1', random.choice([b'"severity":1.0', b'"severity":1e0']), 1)
        case 4:
            value = random.choice([members[name], members[name], *_VALUES])
            twice = json.dumps({name: value}, separators=(",", ":"))[1:-1].encode()
            return b"{" + twice + b"," + line[1:]
        case _:
            return line.replace(b'"actor_id":"a', b'"actor_id":"\\u0061', 1)
    return json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def change_files(random: Random, history: History, files: Mutable) -> None:
    """A file is missing, another's, an older copy's, somewhere else, or none that can be read."""
    name, other = _pick(random, files), _pick(random, files)
    width = history.settings.segment_entries
    match random.randrange(10):
        case 0:
            files.pop(name)
        case 1:
            files[name] = files[other]
        case 2:
            files[name], files[other] = files[other], files[name]
        case 3 if name in history.older:
            files[name] = history.older[name]
        case 4:
            files.pop(name)
            files[f"entries/{random.choice([0, 1, width, 2 * width, 50 * width]):012d}.jsonl"] = b""
        case 5:
            stray = random.choice(
                ["torn-x.jsonl", "x.jsonl", "0.jsonl", f"{width + 1:012d}.jsonl", "x.txt", "torn-1"]
            )
            files[f"entries/{stray}"] = files[other]
        case 6:
            files[name] = Link("/nowhere/at/all")
        case 7:
            files[name] = random.choice(_NO_FILES)
        case 8:
            files[f"tree/{random.choice(['0', '1', '2', '00', '9', '10', 'x'])}"] = bytes(
                random.choice([0, 1, 32, 64])
            )
        case _:
            files[name] = b""


_NO_FILES: Final[list[Content]] = [Fifo(), Folder(), Link(".")]


def put_back(random: Random, history: History, files: Mutable) -> None:
    """Some files of an older copy; what it did not have stays or goes."""
    for name in sorted(files):
        if random.random() < 0.5:
            if name in history.older:
                files[name] = history.older[name]
            elif random.random() < 0.5:
                files.pop(name)


_DAMAGE: Final[list[Callable[[Random, History, Mutable], None]]] = [
    change_bytes, change_bytes, change_lines, change_lines, change_lines, change_files, put_back,
]  # fmt: skip


# --- by somebody who holds every key ---


def forged(random: Random, history: History) -> Mutable:
    """A changed history with true hashes and signatures, and files that agree with it, or nearly so."""
    entries = [json.loads(line) for line in history.lines]
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        random.choice(_FORGERIES)(random, history, entries)
    if not entries:
        return dict(history.files())
    try:
        lines = rebuild(
            history, entries,
            links=random.random() < 0.9, names=random.random() < 0.8, numbers=random.random() < 0.7,
            key_of=random.choice([None, None, None, None, lambda _: ALL_KEYS[0], lambda _: ALL_KEYS[1]]),
        )  # fmt: skip
    except (AttestlogError, RecursionError):  # what has no canonical spelling cannot be hashed
        lines = history.lines
    files: Files = history.files(lines)
    if random.random() < 0.15:
        size = random.choice([0, 1, len(lines) - 1, len(lines) + 1])
        root = Span().extended([leaf_hash(bytes(32))] * size).root()
        files["checkpoint"] = history.checkpoint(size, random.choice([root, bytes(32)]))
    if random.random() < 0.1:
        files = {**files, **{name: data for name, data in history.files().items() if random.random() < 0.3}}
    if random.random() < 0.15:
        return damaged(random, history, files)
    return dict(files)


def change_member(random: Random, history: History, entries: list[Members]) -> None:
    """A member has another value, often one that it has elsewhere."""
    members = random.choice(entries)
    name = random.choice([*sorted(members), *_OFTEN])
    value = random.randrange(8 if name in _SPECIAL else 4)
    if value == 0:
        members[name] = random.choice(entries).get(name)
    elif value == 1:
        members[name] = random.choice(_VALUES)
    elif value < 4:
        members[name] = _nested(random, members.get(name))
    else:
        members[name] = _SPECIAL[name](random, history, members)


def change_payload(random: Random, history: History, entries: list[Members]) -> None:
    """A member of what an entry that acts on the log says."""
    acting = [entry for entry in entries if str(entry.get("action_type")).startswith("attestlog.")]
    members = random.choice(acting or entries)
    members["action_payload"] = _nested(random, members.get("action_payload"))


def drop_payload(random: Random, _: History, entries: list[Members]) -> None:
    random.choice(entries)["action_payload"] = None


def leave_out(random: Random, _: History, entries: list[Members]) -> None:
    at = random.randrange(len(entries))
    del entries[at : at + random.choice([1, 1, 1, 2, 5])]
    if not entries:
        entries.append({})


def repeat(random: Random, _: History, entries: list[Members]) -> None:
    entries.insert(random.randrange(len(entries) + 1), dict(random.choice(entries)))


def swap(random: Random, _: History, entries: list[Members]) -> None:
    one, other = random.randrange(len(entries)), random.randrange(len(entries))
    entries[one], entries[other] = entries[other], entries[one]


def cut(random: Random, _: History, entries: list[Members]) -> None:
    del entries[random.randrange(1, len(entries) + 1) :]


def _nested(random: Random, value: Any) -> Any:
    """With something in it changed."""
    match value:
        case dict() if value:
            name = random.choice(sorted(value))
            match random.randrange(5):
                case 0:
                    return {key: item for key, item in value.items() if key != name}
                case 1:
                    return {**value, "more": random.choice(_VALUES)}
                case _:
                    return {**value, name: _nested(random, value[name])}
        case list() if value:
            at = random.randrange(len(value))
            return random.choice(
                [value[:at], value + value[at:], [*value[:at], _nested(random, value[at]), *value[at + 1 :]]]
            )
        case bool():
            return not value
        case int():
            return random.choice([value + 1, value - 1, 0, -value, float(value) + 0.5, 2**53 - 1, str(value)])
        case str() if value:
            at = random.randrange(len(value))
            other = value[:at] + random.choice("0a9f:é\n ") + value[at + 1 :]
            return random.choice([value[:at], value.upper(), other, value + "x", ""])
    return random.choice(_VALUES)


_VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, 1, 2, -1, 5, 0.5, 10, 11, 2**53 - 1, "", "x", "é", "\u0000", "x" * 257, [], {}, [1],
    ["x"], {"x": 1}, {"x": "y"}, "0" * 64, "2025-10-30T12:00:00.000000Z", "2025-02-30T12:00:00.000000Z",
    [[[[]]]], 1e300,
)  # fmt: skip
_OFTEN: Final = (
    "action_type", "event_type", "execution_status", "environment", "environment", "timestamp",
    "signing_key_id", "signature_algorithm", "sequence_number", "system_state_snapshot", "action_payload",
)  # fmt: skip
_TYPES: Final = (
    *sorted(GOVERNING | OF_THE_LOG | {GENESIS}), "attestlog.set_colour", "Attestlog.set_policy", "attestlog.",
    "pay",
)  # fmt: skip


def _pointers(random: Random, history: History, members: Members) -> Any:
    """Pointers of another entry, to another one, or in another spelling."""
    environment = dict(members.get("environment") or {})
    name = random.choice(["attestlog_rules", "attestlog_holds"])
    number = random.randrange(len(history.lines))
    text = f"{number}:{history.entry(number)['entry_hash']}"
    known = str(environment.get(name, text))
    match random.randrange(6):
        case 0:
            environment.pop(name, None)
        case 1:
            environment[name] = text
        case 2:
            environment[name] = random.choice(["0", "+", " "]) + known
        case 3:
            environment[name] = known.upper()
        case 4:
            environment[name] = f"{number}:" + known.partition(":")[2]
        case _:
            environment[name] = f"{random.choice([2**53 - 1, 2**53, 10**17])}:" + "a" * 64
    return environment


def _moment(random: Random, _: History, members: Members) -> Any:
    text = str(members.get("timestamp"))
    return random.choice([
        text.replace("2025", "2024"), text.replace("2025", "2026"), text.replace("-10-", "-13-"), text[:-1],
        text.replace("T", " "), text.replace("-30T", "-31T"), "0000-01-01T00:00:00.000000Z", text + "\n",
        text.replace("T12", "T24"), "٢٠٢٥" + text[4:],
    ])  # fmt: skip


def _one_of(*values: Any) -> Callable[[Random, History, Members], Any]:
    return lambda random, _history, _members: random.choice(values)


def _head(random: Random, history: History, _: Members) -> Any:
    at = random.randrange(len(history.lines))
    return {"log_head": {"size": at + 1, "entry_hash": history.entry(at)["entry_hash"]}}


_SPECIAL: Final[dict[str, Callable[[Random, History, Members], Any]]] = {
    "environment": _pointers,
    "timestamp": _moment,
    "action_type": _one_of(*_TYPES),
    "event_type": _one_of("ACTION", "CHANGE", "DECISION", "VIOLATION", "BOOT", "SHUTDOWN"),
    "execution_status": _one_of("SUCCESS", "FAILED", "BLOCKED", "ROLLED_BACK"),
    "signing_key_id": _one_of(*(key.public.key_id for key in ALL_KEYS)),
    "signature_algorithm": _one_of(
        "Ed25519", "Ed25519+BATCH", "ECDSA-P256-SHA256", "", "+BATCH", "Ed25519+BATCH+BATCH"
    ),
    "sequence_number": _one_of(0, 1, 2, 3, 5, 9, 2**53 - 1),
    "system_state_snapshot": _head,
}  # fmt: skip
_FORGERIES: Final[list[Callable[[Random, History, list[Members]], None]]] = [
    change_member, change_member, change_member, change_member, change_payload, change_payload, drop_payload,
    leave_out, repeat, swap, cut,
]  # fmt: skip
