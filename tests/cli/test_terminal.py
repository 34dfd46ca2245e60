"""Terminals, pipes and signals: prompts, colours, progress, readers that go away, Ctrl-C."""

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.cli.running import ATTESTLOG, ORIGIN, Run, lines_of
from tests.support.logs import draft

from attestlog._internal.log import Log
from attestlog._internal.storage.resolve import open_source

PATIENCE_S = 60
APPEND = ["--event-type", "ACTION", "--action-type", "a", "--actor-id", "b"]

# The process takes the terminal as its own, as one started from a shell has it.
TAKE_TERMINAL = f"""
import fcntl, sys, termios
fcntl.ioctl(int(sys.argv.pop(1)), termios.TIOCSCTTY, 0)
{ATTESTLOG[2]}
"""


class Terminal:
    """A process on a terminal of its own, and what it wrote there."""

    def __init__(
        self, arguments: list[object], *, stdin: int | None = None, stdout: int | None = None
    ) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.process = subprocess.Popen(
            [ATTESTLOG[0], "-c", TAKE_TERMINAL, str(slave), *map(str, arguments)],
            stdin=slave if stdin is None else stdin, stdout=slave if stdout is None else stdout, stderr=slave,
            start_new_session=True, pass_fds=[slave], env={**os.environ, "TERM": "xterm"},
        )  # fmt: skip
        os.close(slave)
        self.seen = ""

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if not self._read():
                assert text in self.seen, self.seen

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def finish(self) -> int:
        deadline = time.monotonic() + PATIENCE_S
        while self._read():
            assert time.monotonic() < deadline, self.seen
        return self.process.wait(PATIENCE_S)

    def _read(self) -> bool:
        if not select.select([self.master], [], [], 1)[0]:
            return True
        try:
            data = os.read(self.master, 65_536)
        except OSError:  # the other side is closed
            return False
        self.seen += data.decode()
        return bool(data)


@contextmanager
def terminal(arguments: list[object], **streams: int) -> Iterator[Terminal]:
    running = Terminal(arguments, **streams)
    try:
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            running.process.kill()
        running.process.wait()
        os.close(running.master)


@pytest.fixture
def locked_log(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log whose keys are under the passphrase `correct horse`."""
    monkeypatch.setenv("ATTESTLOG_PASSPHRASE", "correct horse")
    run("init", tmp_path / "locked", "--origin", ORIGIN)
    monkeypatch.delenv("ATTESTLOG_PASSPHRASE")
    return tmp_path / "locked"


def test_passphrase_is_asked_on_the_terminal_and_not_echoed(locked_log: Path) -> None:
    with terminal(["append", locked_log, *APPEND]) as running:
        for key in ("-entry-", "-checkpoint-"):
            running.wait_for(key)
            running.wait_for(".pem: ")
            running.seen = ""
            running.type("correct horse\n")
        assert running.finish() == 0
        assert "horse" not in running.seen
    assert open_source(locked_log).size() == 2


def test_passphrase_is_asked_on_the_terminal_even_when_drafts_come_from_a_pipe(
    locked_log: Path, tmp_path: Path
) -> None:
    (tmp_path / "drafts").write_bytes(lines_of(draft(1), draft(2)))
    with (
        (tmp_path / "drafts").open("rb") as drafts,
        (tmp_path / "out").open("wb") as out,
        terminal(["append", locked_log, "-"], stdin=drafts.fileno(), stdout=out.fileno()) as running,
    ):
        for key in ("-entry-", "-checkpoint-"):
            running.wait_for(key)
            running.wait_for(".pem: ")
            running.seen = ""
            running.type("correct horse\n")
        assert running.finish() == 0
    assert [line.split()[0] for line in (tmp_path / "out").read_text().splitlines()] == ["1", "2"]


def test_a_wrong_passphrase_is_an_error_not_a_loop(locked_log: Path) -> None:
    with terminal(["append", locked_log, *APPEND]) as running:
        running.wait_for(".pem: ")
        running.type("wrong pony\n")
        assert running.finish() == 4
        assert "the passphrase is wrong" in running.seen
        assert "pony" not in running.seen


def test_without_a_terminal_nobody_is_asked(locked_log: Path) -> None:
    done = subprocess.run(
        [*ATTESTLOG, "append", str(locked_log), *APPEND],
        capture_output=True, text=True, check=False, start_new_session=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (4, "")
    assert "needs a passphrase" in done.stderr
    assert "set ATTESTLOG_PASSPHRASE" in done.stderr


@pytest.mark.parametrize("second, code", [("new secret", 0), ("another", 2)])
def test_a_new_passphrase_is_asked_for_twice(tmp_path: Path, second: str, code: int) -> None:
    with terminal(["keys", "generate", tmp_path / "k.pem", "--protect"]) as running:
        running.wait_for("new passphrase")
        running.type("new secret\n")
        running.wait_for("the same again: ")
        running.type(f"{second}\n")
        assert running.finish() == code
        assert "secret" not in running.seen
    assert (tmp_path / "k.pem").exists() == (code == 0)
    if code == 0:
        assert b"ENCRYPTED" in (tmp_path / "k.pem").read_bytes()


def test_protect_needs_someone_to_ask(tmp_path: Path) -> None:
    done = subprocess.run(
        [*ATTESTLOG, "keys", "generate", str(tmp_path / "k.pem"), "--protect"],
        capture_output=True, text=True, check=False, start_new_session=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 2
    assert not (tmp_path / "k.pem").exists()


def test_the_approver_types_the_digits_they_have_read(run: Run, log: Path, tmp_path: Path) -> None:
    (tmp_path / "draft.json").write_bytes(lines_of(draft(1)))
    request = tmp_path / "request.json"
    assert run("approval", "request", log, tmp_path / "draft.json", "-o", request).code == 0
    assert run("keys", "generate", tmp_path / "ana.pem").code == 0
    action_hash = json.loads(request.read_bytes())["action_hash"]
    sign = ["approval", "sign", request, "--key", tmp_path / "ana.pem", "--name", "ana"]
    for typed, code in (("0" * 8, 2), (action_hash[:8], 0)):
        approval = tmp_path / f"{code}.json"
        with terminal([*sign, "-o", approval]) as running:
            running.wait_for("First 8 digits of the action hash")
            assert action_hash in running.seen
            running.type(f"{typed}\n")
            assert running.finish() == code
        assert approval.exists() is (code == 0)


def test_a_terminal_gets_colour_and_a_pipe_does_not(shell: Run, log: Path) -> None:
    with terminal(["verify", log]) as running:
        assert running.finish() == 0
    assert "\x1b[32m\x1b[1mVERIFIED\x1b[0m" in running.seen
    assert "\x1b" not in shell("verify", log).out


def test_colour_can_be_declined(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with terminal(["verify", log]) as running:
        assert running.finish() == 0
    assert "VERIFIED, SELF-ATTESTED" in running.seen


def test_a_table_fits_the_terminal_and_is_whole_in_a_pipe(shell: Run, log: Path) -> None:
    with Log.open(log) as opened:
        opened.append(draft(1, actor_id="y" * 200))
    with terminal(["stats", log]) as running:
        assert running.finish() == 0
    assert "y" * 200 not in running.seen
    assert "…" in running.seen
    assert "y" * 200 in shell("stats", log).out


def test_csv_on_a_terminal_holds_no_control_character(log: Path) -> None:
    with Log.open(log) as opened:
        opened.append(draft(1, actor_id="\x1b[2Jgone"))
    with terminal(["query", log, "--format", "csv"]) as running:
        assert running.finish() == 0
    assert "\\x1b[2Jgone" in running.seen
    assert "\x1b[2J" not in running.seen


def test_a_reader_that_goes_away_is_no_error(log: Path, tmp_path: Path) -> None:
    with Log.open(log) as opened:
        opened.append_many(draft(number) for number in range(2_000))
    for arguments in (["export", log], ["query", log, "--json"], ["tail", log, "-n", "5000"]):
        with (tmp_path / "err").open("wb") as errors:
            running = subprocess.Popen(
                [*ATTESTLOG, *map(str, arguments)], stdout=subprocess.PIPE, stderr=errors
            )
            assert running.stdout is not None
            assert running.stdout.readline()
            running.stdout.close()
            assert running.wait(PATIENCE_S) == 141
        assert (tmp_path / "err").read_bytes() == b""


def test_a_reader_that_never_came_is_no_error(log: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*ATTESTLOG, "verify", str(log), "--json"], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_tail_follows_until_it_is_interrupted(log: Path) -> None:
    running = subprocess.Popen(
        [*ATTESTLOG, "tail", str(log), "-n", "1", "-f", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert running.stdout is not None
    assert json.loads(running.stdout.readline())["sequence_number"] == 3
    with Log.open(log) as opened:
        opened.append(draft(4))
    assert json.loads(running.stdout.readline())["sequence_number"] == 4
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 130
    assert b"Traceback" not in errors


def test_a_slow_pipes_lines_are_appended_as_they_come(log: Path) -> None:
    running = subprocess.Popen(
        [*ATTESTLOG, "append", str(log), "-", "--json"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert running.stdin is not None
    assert running.stdout is not None
    for number in range(4, 7):
        running.stdin.write(lines_of(draft(number)))
        running.stdin.flush()
        assert json.loads(running.stdout.readline())["sequence_number"] == number
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 130
    assert errors.decode().splitlines() == ["attestlog: note: 3 entries were appended before this"]
    assert open_source(log).size() == 7


def test_progress_is_drawn_on_a_terminal_only_and_only_once_it_takes_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from attestlog._internal.cli import output

    def work() -> str:
        with output.Bar("verifying") as bar:
            for done in range(3):
                bar(done, 3)
        return capsys.readouterr().err

    assert work() == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(output, "_DELAY_S", 600.0)
    assert work() == ""
    monkeypatch.setattr(output, "_DELAY_S", -1.0)
    assert "verifying" in work()
