"""The minimal log: what it writes verifies and can be imported, whatever breaks off, whoever else writes."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tests.support.legacy import joined, legacy_lines, sealed

import attestlog
from attestlog._internal import disk
from attestlog._internal.legacy import export_legacy_lines, import_legacy, judge_legacy
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import (
    BusyError,
    ClosedError,
    CorruptError,
    DeniedError,
    FilesystemError,
    FullError,
    LockLostError,
    MalformedEntryError,
    NotFoundError,
    StorageError,
    TooLargeError,
    UncertainCommitError,
)
from attestlog.haios import MinimalAttestationLog, _minimal
from attestlog.testing import MemorySigner

VECTORS = os.environ.get("ATTESTLOG_VECTORS")

WRITER = """
import sys
from attestlog.haios import MinimalAttestationLog
log = MinimalAttestationLog(sys.argv[1])
for number in range(int(sys.argv[3])):
    payload = {"name": sys.argv[2], "number": number, "padding": "x" * (number % 97) * 50}
    entry = log.append("ACTION", "step", payload)
    sys.stdout.write(f"{entry['sequence_number']} {entry['entry_hash']}\\n")
    sys.stdout.flush()
"""
"""A process that appends so many entries, and says what it was told of each."""


def start_writer(path: Path, name: str, count: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", WRITER, path, name, str(count)], stdout=subprocess.PIPE)


def entries_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def check(path: Path, size: int) -> list[dict[str, Any]]:
    """The file verifies: by the product, and by the rule as the schema has it, written out once more."""
    assert judge_legacy(path).verdict == "VERIFIED"
    previous = "0" * 64
    entries = entries_of(path)
    for number, entry in enumerate(entries):
        bare = {name: value for name, value in entry.items() if name != "entry_hash"}
        assert (entry["sequence_number"], entry["prev_entry_hash"]) == (number, previous)
        previous = sha256(json.dumps(bare, sort_keys=True).encode()).hexdigest()
        assert entry["entry_hash"] == previous
    assert len(entries) == size
    return entries


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "haios_audit.jsonl"


@pytest.fixture
def log(path: Path) -> MinimalAttestationLog:
    return MinimalAttestationLog(path)


def self_containing() -> list[Any]:
    nested: list[Any] = []
    nested.append(nested)
    return nested


def deep(levels: int) -> list[Any]:
    """So many lists within a list."""
    nested: list[Any] = []
    for _ in range(levels):
        nested = [nested]
    return nested


# --- what it writes ---


def test_the_schemas_quick_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log = MinimalAttestationLog()
    entry = log.append(
        event_type="ACTION",
        action_type="soft_launch",
        action_payload={"commit": "372b274", "files": ["RELEASE_NOTES_v1.0.0.md"]},
        actor_id="digital_organism_01",
        execution_status="SUCCESS",
    )
    assert log.verify()
    assert check(tmp_path / "haios_audit.jsonl", 1) == [entry]
    assert list(entry) == [
        "entry_id", "timestamp", "sequence_number", "event_type", "action_type", "action_payload",
        "prev_entry_hash", "actor_id", "execution_status", "entry_hash",
    ]  # fmt: skip
    assert len(entry["timestamp"]) == len("2025-10-30T12:00:00.000001")
    assert log.recovered == []


def test_any_values_of_json(log: MinimalAttestationLog, path: Path) -> None:
    payloads: list[Any] = [
        {"ghi chú": "an toàn ✓ 🛡", "n": 2**64, "pi": 3.14, "tiny": 1e-7, "none": None},
        {2: "two", 10: "ten", True: "yes"},  # numbers sort otherwise than the text that they become
        {"lone": "\ud800", "nan": float("nan"), "infinite": float("inf")},
        ["list", ("tuple", 1)], "text", None, 7,
        {"nested": {"b": [1, {"d": 1, "c": 2}], "a": "\n\x00\x7f"}},
        {"long": "x" * 100_000},
        deep(62),
    ]  # fmt: skip
    written = [
        log.append("ACTION", "note", payload, more=[number]) for number, payload in enumerate(payloads)
    ]
    assert judge_legacy(path).verdict == "VERIFIED"
    assert list(map(repr, entries_of(path))) == list(map(repr, written))
    assert written[1]["action_payload"] == {"2": "two", "10": "ten", "true": "yes"}
    check(path, len(payloads))


def test_it_can_be_imported_byte_for_byte(log: MinimalAttestationLog, path: Path, tmp_path: Path) -> None:
    for number in range(3):
        log.append("CHANGE", "modify_policy_rule", {"number": number}, actor_id="a")
    with attestlog.create(
        tmp_path / "audit", origin="example.com/audit", signer=MemorySigner(),
        checkpoint_signer=MemorySigner("Ed25519"),
    ) as full:  # fmt: skip
        receipt = import_legacy(full, path)
        assert (receipt.lines, receipt.report.verdict) == (3, "VERIFIED")
        log.append("ACTION", "note", {"number": 3})
        assert import_legacy(full, path).appended == 1
        assert (
            joined(list(export_legacy_lines(open_source(full.path), receipt.legacy_log))) == path.read_bytes()
        )


@pytest.mark.parametrize(
    "members, words",
    [
        ({"event_type": 5}, "event_type: expected str, got int"),
        ({"action_type": None}, "action_type: expected str, got NoneType"),
        ({"action_payload": {"when": object()}}, "not JSON serializable"),
        ({"action_payload": b"bytes"}, "not JSON serializable"),
        ({"action_payload": {(1, 2): 3}}, "keys must be str"),
        ({"action_payload": {1: "a", "1": "b"}}, "'1' is there twice"),
        ({"action_payload": self_containing()}, "[Cc]ircular|too deep"),
        ({"action_payload": deep(100_000)}, "too deep|recursion"),
        ({"action_payload": deep(63)}, "nested deeper than 64 levels"),
        ({"more": deep(63)}, "nested deeper than 64 levels"),
        ({"action_payload": 10**5_000}, "limit"),
        *(({name: "x"}, f"{name}: is assigned by the log") for name in (
            "entry_id", "timestamp", "sequence_number", "prev_entry_hash", "entry_hash", "hsm_signature",
        )),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_refused(
    log: MinimalAttestationLog, path: Path, members: dict[str, Any], words: str
) -> None:
    with pytest.raises(MalformedEntryError, match=words):
        log.append(**{"event_type": "ACTION", "action_type": "note", "action_payload": {}, **members})
    assert not path.exists()


def test_what_no_import_could_take_is_refused(
    log: MinimalAttestationLog, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append("ACTION", "note", {})
    before = path.read_bytes()
    for payload in ("x" * (16 << 20), '"' * (5 << 20)):
        with pytest.raises(TooLargeError) as error:
            log.append("ACTION", "note", payload)
        assert error.value.evidence()["size_bytes"] > error.value.evidence()["size_bytes_max"]
    assert path.read_bytes() == before
    # The largest that is taken is one that an import takes.
    log.append("ACTION", "note", "x" * ((16 << 20) - 9_000))
    with attestlog.create(
        tmp_path / "audit", origin="example.com/audit", signer=MemorySigner(),
        checkpoint_signer=MemorySigner("Ed25519"),
    ) as full:  # fmt: skip
        assert import_legacy(full, path).lines == 2
    log.append("ACTION", "note", {})  # after the longest last line there is
    check(path, 3)


# --- going on ---


def test_only_the_end_of_the_file_is_read(
    log: MinimalAttestationLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(joined(legacy_lines(3_000)))
    assert path.stat().st_size > 1 << 20
    read = 0
    pread = os.pread

    def counting(descriptor: int, length: int, offset: int) -> bytes:
        nonlocal read
        read += length
        return pread(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", counting)
    assert log.append("ACTION", "note", {})["sequence_number"] == 3_000
    assert 0 < read <= 1 << 15
    monkeypatch.undo()
    check(path, 3_001)


def test_every_cut_of_the_last_line_goes_on_without_loss(path: Path) -> None:
    lines = legacy_lines(3)
    sound, last = joined(lines[:2]), lines[2]
    for cut in (1, 2, *range(3, len(last) - 2, 11), len(last) - 2, len(last) - 1):
        for file in path.parent.iterdir():
            file.unlink()
        path.write_bytes(sound + last[:cut])
        log = MinimalAttestationLog(path)
        assert not log.verify()
        assert log.append("ACTION", "note", {"cut": cut})["sequence_number"] == 2
        (torn,) = path.parent.glob("*.torn-*")
        assert torn.read_bytes() == last[:cut]
        assert path.read_bytes().startswith(sound)
        assert log.recovered == [f"{cut} bytes set aside in {torn}: a line that was cut short"]
        assert log.verify()
        log.append("ACTION", "note", {})
        assert len(log.recovered) == 1
    check(path, 4)


@pytest.mark.parametrize("tail", [b"\0" * 4_096, b"\xff\xfe", b"{", b"nonsense", b'"text"', b"7"])
def test_what_a_power_cut_may_leave_is_set_aside(log: MinimalAttestationLog, path: Path, tail: bytes) -> None:
    path.write_bytes(joined(legacy_lines(2)) + tail)
    log.append("ACTION", "note", {})
    check(path, 3)
    assert [file.read_bytes() for file in path.parent.glob("*.torn-*")] == [tail]


@pytest.mark.parametrize("content", [b"{", b'{"entry_id": ', b'{"entry_id": "5a', b"\0" * 512])
def test_a_torn_first_line_is_set_aside(log: MinimalAttestationLog, path: Path, content: bytes) -> None:
    path.write_bytes(content)
    log.append("ACTION", "note", {})
    check(path, 1)
    assert [file.read_bytes() for file in path.parent.glob("*.torn-*")] == [content]


@pytest.mark.parametrize(
    "content", [b"notes", b"{}", b"notes\nmore", b"notes\n{", b"%PDF\0\n\0\0", b'{"entry_ID']
)
def test_a_file_of_another_kind_is_left_alone(log: MinimalAttestationLog, path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(CorruptError):
        log.append("ACTION", "note", {})
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_whole_last_line_without_its_end_stays(log: MinimalAttestationLog, path: Path) -> None:
    path.write_bytes(joined(legacy_lines(3))[:-1])
    log.append("ACTION", "note", {})
    check(path, 4)
    assert log.recovered == []


@pytest.mark.parametrize("tail", [b"\n", b"\n\n  \n", b"  ", b"\r\n", b"\n" * 40_000])
def test_blank_lines_are_left_alone(log: MinimalAttestationLog, path: Path, tail: bytes) -> None:
    before = joined(legacy_lines(2)) + tail
    path.write_bytes(before)
    assert log.append("ACTION", "note", {})["sequence_number"] == 2
    assert path.read_bytes().startswith(before)
    assert log.verify()
    assert log.report().size == 3


@pytest.mark.parametrize("content", [b"", b"\n", b"  \n \n", b"   "])
def test_a_file_without_entries_begins(log: MinimalAttestationLog, path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert not log.verify()
    assert log.append("ACTION", "note", {})["prev_entry_hash"] == "0" * 64
    assert log.verify()


@pytest.mark.parametrize(
    "last, words",
    [
        (b"nonsense", "is not an entry: not JSON"),
        (b"[]", "is not an entry: expected an object"),
        (b"{}", "is not an entry of the minimal format"),
        (legacy_lines(3)[2].replace(b"act_2", b"act_3"), "does not hash to its entry_hash"),
        (sealed({"sequence_number": "2"}), "is not an entry of the minimal format"),
        (sealed({"sequence_number": True}), "is not an entry of the minimal format"),
        (sealed({"sequence_number": 2, "hsm_signature": "x"}), "is not an entry of the minimal format"),
    ],
)
def test_nothing_follows_a_damaged_last_line(
    log: MinimalAttestationLog, path: Path, last: bytes, words: str
) -> None:
    before = joined([*legacy_lines(2), last])
    path.write_bytes(before)
    with pytest.raises(CorruptError, match=words):
        log.append("ACTION", "note", {})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_an_endless_last_line_is_not_read(
    log: MinimalAttestationLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_minimal, "LEGACY_LINE_SIZE_MAX_BYTES", 50_000)
    path.write_bytes(joined(legacy_lines(2)) + b"x" * 2_000_000)
    with pytest.raises(CorruptError, match="has more than 50000 bytes"):
        log.append("ACTION", "note", {})


# --- many writers, and killed ones ---


def test_three_processes_at_once(log: MinimalAttestationLog, path: Path) -> None:
    writers = [start_writer(path, name, 40) for name in ("one", "two")]
    mine = [log.append("ACTION", "step", {"name": "mine", "number": number}) for number in range(40)]
    told = [(entry["sequence_number"], entry["entry_hash"]) for entry in mine]
    for writer in writers:
        output, _ = writer.communicate(timeout=120)
        assert writer.returncode == 0
        told += [(int(number), digest) for number, digest in map(str.split, output.decode().splitlines())]
    entries = check(path, 120)
    assert sorted(told) == [(entry["sequence_number"], entry["entry_hash"]) for entry in entries]
    for name in ("one", "two", "mine"):
        numbers = [e["action_payload"]["number"] for e in entries if e["action_payload"]["name"] == name]
        assert numbers == list(range(40))


def test_a_writer_killed_at_any_moment_leaves_a_file_that_goes_on(
    log: MinimalAttestationLog, path: Path
) -> None:
    told: dict[int, str] = {}
    for number in range(6):
        writer = start_writer(path, f"w{number}", 1_000_000)
        assert writer.stdout is not None
        output = writer.stdout.readline()
        time.sleep(0.01 * number)
        writer.send_signal(signal.SIGKILL)
        output += writer.communicate(timeout=120)[0]
        assert writer.returncode == -signal.SIGKILL
        for line in output.split(b"\n")[:-1]:
            place, digest = line.decode().split()
            told[int(place)] = digest
        entry = log.append("ACTION", "after", {"number": number})
        told[entry["sequence_number"]] = entry["entry_hash"]
    entries = entries_of(path)
    check(path, len(entries))
    assert {place: entries[place]["entry_hash"] for place in told} == told
    assert len(told) >= 12


def test_a_lock_that_is_held_is_waited_for_and_then_said(
    log: MinimalAttestationLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append("ACTION", "note", {})
    monkeypatch.setattr(_minimal, "LOCK_TIMEOUT_S", 0.01)
    with log._locked():
        with pytest.raises(BusyError):
            log.append("ACTION", "note", {})
        assert log.verify()  # it is looked at all the same
    log.append("ACTION", "note", {})
    check(path, 2)


def test_a_file_replaced_before_it_is_locked_is_opened_again(
    log: MinimalAttestationLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append("ACTION", "note", {})
    lock = disk.lock
    left = 1

    def rotating(descriptor: int, **options: Any) -> bool:
        nonlocal left
        if left:
            left -= 1
            path.rename(path.with_name("older.jsonl"))
        return lock(descriptor, **options)

    monkeypatch.setattr(disk, "lock", rotating)
    assert log.append("ACTION", "note", {})["sequence_number"] == 0
    check(path, 1)
    check(path.with_name("older.jsonl"), 1)
    left = 1_000
    with pytest.raises(LockLostError):
        log.append("ACTION", "note", {})


# --- faults ---


def test_a_disk_that_is_full_leaves_nothing(
    log: MinimalAttestationLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append("ACTION", "note", {})
    before = path.read_bytes()

    def half(descriptor: int, data: bytes) -> None:
        os.write(descriptor, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(disk, "write_all", half)
        with pytest.raises(FullError):
            log.append("ACTION", "note", {})
    assert path.read_bytes() == before
    log.append("ACTION", "note", {})
    check(path, 2)


def test_an_interrupted_write_leaves_nothing(
    log: MinimalAttestationLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append("ACTION", "note", {})

    def interrupted(descriptor: int, data: bytes) -> None:
        os.write(descriptor, data[:20])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(disk, "write_all", interrupted)
        with pytest.raises(KeyboardInterrupt):
            log.append("ACTION", "note", {})
    check(path, 1)


@pytest.mark.parametrize("broken", ["fsync", "ftruncate"])
def test_an_unknown_outcome_is_said_and_stops_the_log(
    log: MinimalAttestationLog, path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    log.append("ACTION", "note", {})

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, broken, refuse)
        if broken == "ftruncate":
            patch.setattr(disk, "write_all", refuse)
        with pytest.raises(UncertainCommitError, match="outcome unknown"):
            log.append("ACTION", "note", {})
    with pytest.raises(ClosedError, match="make a new object"):
        log.append("ACTION", "note", {})
    size = len(entries_of(path))
    assert MinimalAttestationLog(path).append("ACTION", "note", {})["sequence_number"] == size
    check(path, size + 1)


def test_torn_bytes_that_cannot_be_kept_stay(
    log: MinimalAttestationLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = joined(legacy_lines(2)) + b'{"torn'
    path.write_bytes(before)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(disk, "replace_file", refuse)
        with pytest.raises(FullError, match="setting aside"):
            log.append("ACTION", "note", {})
    assert path.read_bytes() == before
    # Kept, and the crash came before the file was cut: the same bytes are kept once.
    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", refuse)
        with pytest.raises(FullError):
            log.append("ACTION", "note", {})
    log.append("ACTION", "note", {})
    assert [file.read_bytes() for file in path.parent.glob("*.torn-*")] == [b'{"torn']
    check(path, 3)


def test_an_end_that_cannot_be_read_is_a_typed_error(
    log: MinimalAttestationLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append("ACTION", "note", {})

    def refuse(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", refuse)
        with pytest.raises(CorruptError, match="cannot be read"):
            log.append("ACTION", "note", {})
    log.append("ACTION", "note", {})
    check(path, 2)


def test_what_is_no_file_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def append(path: Path) -> None:
        MinimalAttestationLog(path).append("ACTION", "note", {})

    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", Path(os.devnull)):
        with pytest.raises(StorageError):
            append(path)
    with pytest.raises(NotFoundError):
        append(tmp_path / "none" / "haios_audit.jsonl")

    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(DeniedError):
            append(tmp_path / "denied.jsonl")
    monkeypatch.setattr(disk, "filesystem_of", lambda *_: "nfs4")
    with pytest.raises(FilesystemError, match="nfs4"):
        append(tmp_path / "remote.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fifo"]


# --- verifying ---


def test_verify(log: MinimalAttestationLog, path: Path) -> None:
    with pytest.raises(NotFoundError):
        log.verify()
    assert not path.exists()
    path.touch()
    assert not log.verify()
    for number in range(3):
        log.append("ACTION", "note", {"number": number})
    assert log.verify()
    sound = path.read_bytes()
    lines = sound.splitlines(keepends=True)
    for forged, code in (
        (sound.replace(b'"number": 1', b'"number": 9'), "legacy.hash"),
        (b"".join([lines[0], lines[2]]), "legacy.chain"),
        (b"".join([lines[1], lines[2]]), "legacy.chain"),
        (sound[:-5], "legacy.torn"),
    ):
        path.write_bytes(forged)
        assert not log.verify()
        assert code in {finding.code for finding in log.report().findings}
    path.write_bytes(b"".join(lines[:2]))
    assert log.verify()  # a cut at a line's end cannot show in this format


@pytest.mark.skipif(not VECTORS, reason="ATTESTLOG_VECTORS names no folder of vectors")
@pytest.mark.parametrize(
    "name, size, before, after",
    [
        ("good-1", 2, True, True),
        ("good-25", 26, True, True),
        ("good-truncated-20-of-25-undetectable-alone", 21, True, True),
        ("empty", 1, False, True),
        ("bad-torn-last-line", 25, False, True),
        ("bad-edited-payload-7", 26, False, False),
        ("bad-genesis-prev-not-zero", 2, False, False),
    ],
)
def test_vectors_are_gone_on_with(path: Path, name: str, size: int, before: bool, after: bool) -> None:
    vector = (Path(VECTORS or "") / "legacy" / f"{name}.jsonl").read_bytes()
    path.write_bytes(vector)
    log = MinimalAttestationLog(path)
    assert log.verify() is before
    assert log.append("ACTION", "note", {"after": name})["sequence_number"] == size - 1
    assert log.verify() is after
    kept = b"".join(file.read_bytes() for file in path.parent.glob("*.torn-*"))
    assert path.read_bytes()[: len(vector) - len(kept)] + kept == vector
    if after:
        check(path, size)
