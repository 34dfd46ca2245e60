"""The command line as the tests call it: in this process through `main`, or as a process of its own."""

import os
import subprocess
from pathlib import Path

import pytest
from tests.cli.approving import ROLES, policy_text
from tests.cli.running import ATTESTLOG, ORIGIN, Result, Run
from tests.support.logs import LogMaker, draft, drafts

from attestlog._internal.cli import main
from attestlog._internal.core.note import format_vkey
from attestlog._internal.log import Log
from attestlog._internal.signers.file import open_file_signer
from attestlog._internal.storage.resolve import open_source


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home for keys and state; nothing of the person who runs the tests is read or written."""
    for name in ("ATTESTLOG_PASSPHRASE", "ATTESTLOG_STATE", "ATTESTLOG_CACHE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "home"
    monkeypatch.setenv("ATTESTLOG_HOME", str(path))
    monkeypatch.setenv("HOME", str(path))
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("verify", log)`: in this process."""

    def call(*arguments: object) -> Result:
        code = main([str(argument) for argument in arguments])
        return Result(code, *capsys.readouterr())

    return call


@pytest.fixture
def shell() -> Run:
    """`shell("append", log, "-", stdin=b"…")`: as a process of its own."""

    def call(*arguments: object, stdin: bytes = b"", **environment: str) -> Result:
        done = subprocess.run(
            [*ATTESTLOG, *map(str, arguments)], input=stdin, capture_output=True, check=False, timeout=120,
            env={**os.environ, **environment},
        )  # fmt: skip
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    return call


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of four entries: genesis, an action, a violation, a decision."""
    path = tmp_path / "audit"
    with Log.create(path, origin=ORIGIN) as made:
        made.append(draft(1, pillars_scores={"an_toan": 9, "duong_dai": 8}))
        made.append(
            draft(
                2,
                event_type="VIOLATION",
                event_category="CRITICAL",
                execution_status="BLOCKED",
                actor_id="x",
                actor_context={"session": "s-1", "turn": 4},
            )
        )
        made.append(draft(3, event_type="DECISION", action_payload={"number": 3, "reason": "a quiet night"}))
    return path


@pytest.fixture
def vkey(log: Path) -> str:
    """The checkpoint key of the log."""
    return format_vkey(open_source(log).genesis().checkpoint_keys[0])


@pytest.fixture
def keys(run: Run, tmp_path: Path) -> dict[str, Path]:
    """A PEM key for each approver's role."""
    found = {}
    for role in ROLES:
        found[role] = tmp_path / f"{role}.pem"
        algorithm = "Ed25519" if role == "creator" else "ECDSA-P256-SHA256"
        assert run("keys", "generate", found[role], "--algorithm", algorithm).code == 0
    return found


@pytest.fixture
def governed_log(run: Run, tmp_path: Path, keys: dict[str, Path]) -> Path:
    """A log under the rules of `approving`, with these approvers."""
    public = {role: open_file_signer(f"file:{path}").public_key.pem for role, path in keys.items()}
    (tmp_path / "policy.toml").write_text(policy_text(public))
    made = run("init", tmp_path / "audit", "--origin", ORIGIN, "--policy", tmp_path / "policy.toml")
    assert made.code == 0, made.err
    return tmp_path / "audit"


@pytest.fixture
def made(tmp_path: Path) -> LogMaker:
    """A log to send to a replica, made without a writer."""
    log = LogMaker(tmp_path / "made")
    log.append(*drafts(range(4)))
    log.lay_out()
    return log
