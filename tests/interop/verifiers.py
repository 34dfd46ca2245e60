"""Calls of other people's verifiers: what one says of a file, or that it refuses it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.interop.install import TARGET, newer_python
from tests.support.tools import missing

METAMORPHIC = """
import json, sys
sys.path.insert(0, sys.argv[1])
import metamorphic_log as them
note, keys, rest = sys.argv[3], json.loads(sys.argv[4]), json.loads(sys.argv[5])
def raw(hexed): return [bytes.fromhex(item) for item in hexed]
try:
    if sys.argv[2] == "checkpoint":
        head = them.checkpoint_verify(note, keys)
        print(head.size, bytes(head.root).hex())
    elif sys.argv[2] == "inclusion":
        index, leaf, path = rest
        them.checkpoint_verify_inclusion(note, keys, index, bytes.fromhex(leaf), raw(path))
    else:
        old, path = rest
        them.checkpoint_verify_consistency(old, note, keys, raw(path))
except them.VerifyError as error:
    print(repr(error), file=sys.stderr)
    sys.exit(3)
"""

AICS = """
import sys
from aics_tlog.checkpoint import checkpoint_from_note, verify_checkpoint
from aics_tlog.note import parse_note, parse_vkey
from aics_tlog.tiles import FileSystemTileReader, TileMissingError, TileVerificationError
from aics_tlog.verified import audit_tiles
def refuse(why):
    print(why, file=sys.stderr)
    sys.exit(3)
folder, key = sys.argv[1:]
data = open(folder + "/checkpoint", "rb").read().decode()
result = verify_checkpoint(parse_note(data), parse_vkey(key))
if not result.ok:
    refuse(result.error)
checkpoint, _ = checkpoint_from_note(data)
try:
    report = audit_tiles(FileSystemTileReader(folder), checkpoint.size, checkpoint.root)
except (TileMissingError, TileVerificationError) as error:
    refuse(error)
print(report.size, checkpoint.root.hex())
"""


class RefusedError(Exception):
    """They refuse it; the text is theirs."""


def installed(name: str) -> Path:
    """A verifier's place. Where it is not installed the test is skipped, in CI it fails."""
    path = TARGET / name
    if not path.exists():
        if name.startswith("aics") and newer_python() is None:
            pytest.skip("aics-tlog needs Python 3.12 or later")
        missing(f"needs {name}: make interop")
    return path


def run(command: list[str], refused: int) -> str:
    """What it prints. `refused`: the exit code by which it refuses; any other is a crash, and no refusal."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode == refused:
        raise RefusedError(done.stderr)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def driver(verb: str, *arguments: object) -> str:
    """Our driver over golang.org/x/mod and torchwood."""
    return run([str(installed("interop")), verb, *map(str, arguments)], 1)


def fsck(folder: Path, vkey: str, scratch: Path) -> None:
    """Tessera's fsck. It exits with 0 whatever it found, or waits for ever: what it writes is what counts."""
    key = scratch / "key.pub"
    key.write_text(vkey)
    checking = subprocess.Popen(
        [str(installed("fsck")), "--ui=false", "-v=1", "--storage_url", folder.as_uri(),
         "--public_key", str(key)],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    said = ""
    with checking:
        assert checking.stderr is not None
        for line in checking.stderr:
            said += line
            if "fsck failed" in line or "Invalid" in line:
                checking.kill()
                raise RefusedError(said)
    assert checking.returncode == 0
    ranges = said.partition("Completed ranges")[2]
    assert "OK" in ranges
    assert "Unchecked" not in ranges


def reader(what: str, path: Path, *rest: object) -> str:
    """Readers of exports, each in `validators`."""
    python = installed("exports") / "bin" / "python"
    script = Path(__file__).with_name("validators.py")
    return run([str(python), str(script), what, str(path), *map(str, rest)], 3)


def metamorphic(verb: str, note: bytes, vkey: str, *rest: object) -> str:
    """PyPI's metamorphic-log: Rust behind Python."""
    return run(
        [sys.executable, "-c", METAMORPHIC, str(installed("metamorphic")), verb, note.decode(),
         json.dumps([vkey]), json.dumps(rest)],
        3,
    )  # fmt: skip


def aics(folder: Path, vkey: str) -> str:
    """PyPI's aics-tlog: pure Python."""
    return run([str(installed("aics") / "bin" / "python"), "-c", AICS, str(folder), vkey], 3)
