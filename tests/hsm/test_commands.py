"""The command line with keys in a device: docs/keys.md word for word, and a PIN that shows nowhere."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support.repository import ROOT
from tests.support.tokens import PIN, RemoteToken, SoftToken, softhsm
from tests.support.tools import tool, tools_in

from attestlog._internal.cli import main
from attestlog._internal.config import read_config
from attestlog._internal.storage.resolve import open_source
from attestlog.testing import check_log

SH = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ATTESTLOG = [sys.executable, "-c", "import sys; from attestlog._internal.cli import main; sys.exit(main())"]


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`attestlog` as a command, whether or not the package is installed."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "attestlog"
    command.write_text(f'#!/bin/sh\nexec {shlex.join(ATTESTLOG)} "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")


def test_the_five_commands_of_the_document(
    on_path: None, tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From nothing to a log signed by a device, as docs/keys.md says it; the shell is asked for the PIN."""
    module = softhsm()
    page = (ROOT / "docs" / "keys.md").read_text()
    once, five, verify = SH.findall(
        page.split("\n## A log signed by a device, in five commands\n")[1].split("\n## ")[0]
    )
    assert len(five.splitlines()) == 5
    tools_in(once + five + verify)
    once = once.replace("/usr/lib/softhsm/libsofthsm2.so", module)  # where this machine has it
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    monkeypatch.delenv("ATTESTLOG_PIN", raising=False)
    done = subprocess.run(
        [tool("bash"), "-euo", "pipefail", "-c", once + five + verify],
        input=f"{PIN}\n", cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "VERIFIED" in done.stdout
    entries = check_log(tmp_path / "audit")
    assert [entry.action_type for entry in entries] == ["attestlog.genesis", "deploy"]
    signers = read_config(open_source(tmp_path / "audit")).signers
    assert signers.entry == f"pkcs11:token=attest;object=entries?module-path={module}"
    assert signers.checkpoint == f"pkcs11:token=attest;object=checkpoints?module-path={module}"
    assert not (own_home / "keys").exists()
    assert PIN not in done.stdout + done.stderr


@pytest.fixture
def log(keys: SoftToken, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    path = tmp_path / "audit"
    assert main([
        "init", str(path), "--origin", "example.com/agents", "--signer", keys.uri("entries"),
        "--checkpoint-signer", keys.uri("checkpoints"),
    ]) == 0  # fmt: skip
    capsys.readouterr()
    return path


APPEND = ["--event-type", "ACTION", "--action-type", "a", "--actor-id", "b"]


def test_doctor_says_what_a_key_and_a_library_are(
    keys: SoftToken, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--signer", keys.uri("entries"), "--pkcs11-module", keys.module]) == 0
    said = capsys.readouterr().out
    assert "SoftHSM" in said
    assert "signs with ECDSA and EDDSA" in said
    assert "made in the device, cannot leave it, signs only" in said
    assert re.search(r"signature +(good|note) +[0-9.]+ ms", said)


def test_doctor_says_what_is_weak_about_a_key(keys: SoftToken, capsys: pytest.CaptureFixture[str]) -> None:
    keys.run(
        "pkcs11-tool", "--module", keys.module, "--token-label", keys.label, "--login", "--pin", PIN,
        "--keypairgen", "--key-type", "EC:prime256v1", "--label", "weak", "--extractable", "--usage-derive",
        "--usage-sign",
    )  # fmt: skip
    assert main(["doctor", "--signer", keys.uri("weak")]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("key ")]
    assert line.startswith("key          note")
    assert "extractable" in line
    assert "derive" in line


@pytest.mark.parametrize(
    "arguments", [["--signer", "KEY"], ["--pkcs11-module", "/nowhere.so"], ["--signer", "file:/nowhere.pem"]]
)
def test_doctor_says_what_cannot_sign(
    token: SoftToken, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    given = [token.uri("nobody") if argument == "KEY" else argument for argument in arguments]
    assert main(["doctor", *given]) == 4
    assert re.search(r"^(key|module) +bad", capsys.readouterr().out, re.MULTILINE)


def test_doctor_sees_a_device_that_signs_with_another_key_and_one_without_tokens(
    keys: SoftToken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", "generate", str(tmp_path / "stranger.pem"), "--json"]) == 0
    (tmp_path / "public.pem").write_text(json.loads(capsys.readouterr().out)["public_key"])
    keys.run(
        "pkcs11-tool", "--module", keys.module, "--token-label", keys.label, "--login", "--pin", PIN,
        "--delete-object", "--type", "pubkey", "--label", "entries",
    )  # fmt: skip
    uri = keys.uri("entries", public_key=str(tmp_path / "public.pem"))
    assert main(["doctor", "--signer", uri]) == 4
    assert re.search(
        r"^signature +bad +the signer of key \w+ returned", capsys.readouterr().out, re.MULTILINE
    )
    (tmp_path / "none").mkdir()
    (tmp_path / "none.conf").write_text(f"directories.tokendir = {tmp_path}/none\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "none.conf"))
    assert main(["doctor", "--pkcs11-module", keys.module]) == 0
    assert re.search(r"^token +note +no token is initialised", capsys.readouterr().out, re.MULTILINE)


def test_a_device_that_is_gone_is_unknown_not_tampered(
    remote: RemoteToken, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = str(tmp_path / "audit")
    assert main(["init", log, "--origin", "example.com/agents", "--signer", remote.uri("entries")]) == 0
    remote.kill()
    assert main(["append", log, *APPEND]) == 4
    said = capsys.readouterr().err
    assert "retry when the device answers" in said
    assert main(["verify", log, "--no-remember"]) == 0  # who verifies needs no device
    remote.start()
    assert main(["append", log, *APPEND]) == 0
    check_log(log)


@pytest.mark.parametrize(
    "arguments",
    [
        ["keys", "generate", "--signer", "pkcs11:token=t;object=k"],
        ["init", "LOG", "--origin", "example.com/x", "--signer", "pkcs11:token=t;object=k"],
        ["doctor", "--signer", "pkcs11:token=t;object=k"],
        ["doctor", "--pkcs11-module", "/m.so"],
    ],
)
def test_where_the_driver_is_not_installed_one_line_says_what_installs_it(
    arguments: list[str], tmp_path: Path
) -> None:
    given = [str(tmp_path / "audit") if argument == "LOG" else argument for argument in arguments]
    script = (
        "import sys; sys.modules['pkcs11'] = None; from attestlog._internal.cli import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *given], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 4
    said = done.stderr or done.stdout
    assert "signers of scheme pkcs11 need the extra 'hsm', which is not installed" in said
    if arguments[0] != "doctor":
        assert said.splitlines()[1:] == ["attestlog: hint: pip install 'attestlog[hsm]'"]
    assert not (tmp_path / "audit").exists()


def test_a_log_goes_over_from_a_file_to_a_device_and_to_another_key_in_it(
    keys: SoftToken, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "audit"
    assert main(["init", str(log), "--origin", "example.com/agents"]) == 0
    (genesis,) = read_config(open_source(log)).signers.entries
    assert genesis.startswith("file:")
    for label in ("entries", "other"):
        assert main(["append", str(log), *APPEND]) == 0
        assert main(["keys", "rotate", str(log), "--to", keys.uri(label)]) == 0
        assert read_config(open_source(log)).signers.entry == keys.uri(label)
    assert main(["append", str(log), *APPEND]) == 0
    capsys.readouterr()
    assert main(["verify", str(log), "--no-remember"]) == 0
    assert "VERIFIED" in capsys.readouterr().out
    assert main(["append", str(log), *APPEND, "--signer", genesis]) == 4  # the old key counts no more


# --- the PIN ---


def test_a_pin_is_nowhere_to_be_seen(
    log: Path, keys: SoftToken, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Right and wrong, from the environment and from a file: not in outputs, nor in any file of the log."""
    (log.parent / "pin").write_text(PIN)
    (log.parent / "pin").chmod(0o600)
    assert main(["append", str(log), *APPEND]) == 0
    assert main(["keys", "generate", "--signer", keys.uri("more")]) == 0
    assert (
        main(["doctor", "--json", "--signer", keys.uri("entries", pin_source=f"file:{log.parent}/pin")]) == 0
    )
    wrong = "wrong-314159"
    monkeypatch.setenv("ATTESTLOG_PIN", wrong)
    for verb in (["append", str(log), *APPEND], ["doctor", "--signer", keys.uri("entries")]):
        for as_json in ([], ["--json"]):
            assert main([*verb, *as_json]) == 4
    (log.parent / "pin").chmod(0o644)
    bad = keys.uri("entries", pin_source=f"file:{log.parent}/pin")
    assert main(["append", str(log), *APPEND, "--signer", bad]) == 4
    for pin in (PIN, wrong):
        assert main(["append", str(log), *APPEND, "--signer", f"{keys.uri('entries')}&pin-value={pin}"]) == 3
    said = capsys.readouterr()
    written = b"".join(path.read_bytes() for path in log.rglob("*") if path.is_file())
    assert b"attestlog.genesis" in written
    for pin in (PIN, wrong):
        assert pin not in said.out + said.err
        assert pin.encode() not in written


def test_no_core_file_can_hold_a_pin_nor_do_arguments(log: Path) -> None:
    """While the command line runs with the token logged in."""
    process = subprocess.Popen(
        [*ATTESTLOG, "append", str(log), "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b'{"event_type":"ACTION","action_type":"a","actor_id":"b"}\n')
    process.stdin.flush()
    proc = Path(f"/proc/{process.pid}")
    deadline = time.monotonic() + 60
    while b"libsofthsm2" not in (proc / "maps").read_bytes():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    limits = (proc / "limits").read_text()
    assert re.search(r"^Max core file size +0 ", limits, re.MULTILINE)
    assert PIN.encode() not in (proc / "cmdline").read_bytes()
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_pin_asked_for_on_the_terminal(log: Path) -> None:
    """Asked once for two keys of one token, and not echoed."""
    import pty

    environment = {name: value for name, value in os.environ.items() if name != "ATTESTLOG_PIN"}
    child, terminal = pty.fork()
    if not child:
        os.execve(sys.executable, [*ATTESTLOG, "append", str(log), *APPEND], environment)  # noqa: S606
    shown = b""
    while b"token attest" not in shown:
        shown += os.read(terminal, 1_024)
    os.write(terminal, f"{PIN}\n".encode())
    try:
        while more := os.read(terminal, 1_024):
            shown += more
    except OSError:  # the other side has gone
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, shown
    os.close(terminal)
    assert shown.count(b"PIN for token attest") == 1
    assert PIN.encode() not in shown
