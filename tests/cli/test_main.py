"""What every verb has in common: help, streams, exit codes, what is loaded."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.running import Run
from tests.support.commands import RUNNABLE

from attestlog._internal import cli
from attestlog._internal.cli import verbs
from attestlog._internal.cli.verbs import VERBS, UsageError, Verbs
from attestlog._internal.native import loading
from attestlog._internal.version import VERSION
from attestlog.errors import FullError


def test_help_lists_every_verb_and_the_exit_codes(run: Run) -> None:
    result = run("--help")
    assert (result.code, result.err) == (0, "")
    assert all(f"  {name} " in result.out for name in verbs.VERBS)
    assert "Exit codes: 0 done, VERIFIED; 1 TAMPERED" in " ".join(result.out.split())
    assert run() == result


def test_version(run: Run) -> None:
    told = f"attestlog {VERSION}\nnative core: {loading.loaded().what}\n"
    assert run("--version").out == run("-V").out == told


def test_python_m_attestlog_is_the_command_line(log: Path) -> None:
    for arguments, code in (("--version", 0), (f"verify {log}", 0), ("verfy", 2)):
        done = subprocess.run(
            [sys.executable, "-m", "attestlog", *arguments.split()],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert (done.returncode, "Traceback" in done.stderr) == (code, False)


@pytest.mark.parametrize("verb", RUNNABLE)
def test_every_verb_has_help_with_an_example_and_json(run: Run, verb: str) -> None:
    result = run(*verb.split(), "--help")
    assert result.code == 0
    assert f"Example:\n    attestlog {verb}" in result.out
    assert "--json" in result.out
    assert "[default: None]" not in result.out


def test_every_verb_has_its_module_and_no_module_is_without_verb() -> None:
    folder = Path(cli.__file__).parent
    apps = {
        f"attestlog._internal.cli.{path.stem}"
        for path in folder.glob("*.py")
        if re.search(r"^app = new_(app|group)\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert apps == {verbs.module_of(verb) for verb in verbs.VERBS}


def test_unknown_verb_says_what_was_perhaps_meant(run: Run) -> None:
    result = run("verfy", "x")
    assert (result.code, result.out) == (2, "")
    assert result.err.splitlines() == [
        "attestlog: error: no verb 'verfy'; did you mean 'verify'?",
        "attestlog: hint: attestlog --help",
    ]


@pytest.mark.parametrize(
    "arguments", [["show", "x"], ["tail", "x", "-n", "ten"], ["init", "x"], ["tail", "--nope"]]
)
def test_usage_errors_name_the_help(run: Run, arguments: list[str]) -> None:
    result = run(*arguments)
    assert (result.code, result.out) == (2, "")
    assert f"attestlog: hint: attestlog {arguments[0]} --help" in result.err


def test_a_usage_error_is_one_line_without_escapes(run: Run, tmp_path: Path) -> None:
    assert run("tokens", "add", tmp_path, "a").err.splitlines() == [
        (
            "attestlog: error: Missing option '--scope'."
            " Choose from: read, replicate, append, approve, metrics, admin"
        ),
        "attestlog: hint: attestlog tokens add --help",
    ]


@pytest.mark.parametrize("verb", ["append", "checkpoint", "tail", "query", "stats", "export"])
def test_missing_log_is_unknown_not_tampered(run: Run, tmp_path: Path, verb: str) -> None:
    options = ["--event-type", "ACTION", "--action-type", "a", "--actor-id", "b"] if verb == "append" else []
    result = run(verb, tmp_path / "nothing", *options)
    assert (result.code, result.out) == (4, "")
    assert result.err.startswith("attestlog: error: ")
    assert "attestlog: hint: attestlog init LOG --origin NAME makes a log" in result.err


def test_error_with_json_is_one_object_on_stderr(run: Run, tmp_path: Path) -> None:
    result = run("tail", tmp_path / "nothing", "--json")
    assert (result.code, result.out) == (4, "")
    error = result.error
    assert error["code"] == "storage.not_found"
    assert error["path"] == str(tmp_path / "nothing")
    assert set(error) >= {"message", "hint"}


def test_system_error_is_unknown_and_has_no_traceback(run: Run, tmp_path: Path, log: Path) -> None:
    result = run("export", log, "-o", tmp_path / "no" / "such" / "folder")
    assert (result.code, result.out) == (4, "")
    assert result.err.startswith("attestlog: error: ")
    assert "No such file or directory" in result.err


def test_a_defect_is_not_taken_for_a_verdict(run: Run, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("attestlog._internal.verifying.judge_log", broken)
    result = run("verify", log)
    assert (result.code, result.out) == (70, "")
    assert "ZeroDivisionError" in result.err


def test_an_interrupted_command_ends_as_shells_expect(
    run: Run, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("attestlog._internal.verifying.judge_log", interrupted)
    result = run("verify", log)
    assert (result.code, result.out) == (130, "")
    assert "Traceback" not in result.err


def test_an_error_deep_down_keeps_its_code(run: Run, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise FullError("writing failed: no space left")

    monkeypatch.setattr("attestlog._internal.log.Log.append", full)
    result = run("append", log, "--event-type", "ACTION", "--action-type", "a", "--actor-id", "b")
    assert result.code == 4
    assert "make room" in result.err


def test_nothing_from_a_log_reaches_the_terminal_as_a_control_character(run: Run, log: Path) -> None:
    name = "a\x1b[2J\nVERIFIED\u202e\x9b"
    receipt = run(
        "append", log, "--event-type", "ACTION", "--action-type", name, "--actor-id", name, "--json"
    ).object
    for arguments in (
        ["tail", log],
        ["query", log],
        ["show", log, receipt["sequence_number"]],
        ["stats", log],
    ):
        result = run(*arguments)
        assert result.code == 0
        assert "a\\x1b[2J\\nVERIFIED\\u202e\\x9b" in result.out
        assert not set(result.out) & set("\x1b\u202e\x9b")
    assert not set(run("show", log, "a\x1b").err) & {"\x1b"}


LOADED = """
import json, sys
from attestlog._internal.cli import main
code = main(json.loads(sys.argv[1]))
loaded = {name.split(".")[0] for name in sys.modules} & set(json.loads(sys.argv[2]))
print(json.dumps(sorted(loaded)), file=sys.stderr)
sys.exit(code)
"""


def test_no_help_loads_what_a_verb_works_with() -> None:
    """All helps in one process: what none of them may load, and what typer and the enumerations need."""
    commands = [["--help"], *[[*verb.split(), "--help"] for verb in [*verbs.VERBS, *RUNNABLE]]]
    script = f"import sys\nfrom attestlog._internal.cli import main\nfor line in {commands!r}: main(line)\n"
    script += "import json; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    loaded = set(json.loads(done.stderr))
    assert loaded & {"cryptography", "rich", "sqlite3", "multiprocessing", "asyncio", "ctypes"} == set()
    working = {name.split(".")[2] for name in loaded if name.startswith("attestlog._internal.")}
    assert working == {"cli", "core", "disk", "places", "server", "version"}


@pytest.mark.parametrize(
    "arguments, heavy",
    [
        (["--help"], ["cryptography", "rich", "sqlite3", "multiprocessing", "asyncio"]),
        (
            ["append", "LOG", "--event-type", "ACTION", "--action-type", "a", "--actor-id", "b"],
            ["rich", "sqlite3", "multiprocessing", "asyncio", "concurrent"],
        ),
        (["tail", "LOG"], ["rich", "sqlite3", "multiprocessing", "asyncio"]),
        (["checkpoint", "LOG"], ["rich", "sqlite3", "multiprocessing", "asyncio"]),
        (["verify", "LOG"], ["rich", "sqlite3", "asyncio"]),
    ],
)
def test_a_verb_loads_only_what_it_needs(log: Path, arguments: list[str], heavy: list[str]) -> None:
    given = [str(log) if argument == "LOG" else argument for argument in arguments]
    done = subprocess.run(
        [sys.executable, "-c", LOADED, json.dumps(given), json.dumps(heavy)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr.splitlines()[-1]) == []


OF_NO_NUMBER = [
    "1_1",
    "+4",
    "０５",
    "٥",
    " 6",
    "6 ",
    "05",
    "0x1",
    "1e3",
    "",
    "9" * 16,
    "9" * 5_000,
    "9007199254740992",
]


def _numbers(command: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, inner in getattr(command, "commands", {}).items():
        yield from _numbers(inner, *path, name)
    for parameter in command.params:
        if parameter.type.name.startswith("int"):
            yield path, parameter


NUMBERS = [item for verb in VERBS for item in _numbers(Verbs().get_command(None, verb), verb)]


def test_numbers_are_read_wherever_there_are_some() -> None:
    assert {path[0] for path, _ in NUMBERS} >= {
        "append",
        "archive",
        "erase",
        "hold",
        "prove",
        "query",
        "verify",
    }


IDS = [" ".join([*path, found.name]) for path, found in NUMBERS]


@pytest.mark.parametrize("path, parameter", NUMBERS, ids=IDS)
def test_a_number_has_one_spelling_in_every_verb(path: tuple[str, ...], parameter: Any) -> None:
    for text in OF_NO_NUMBER:
        with pytest.raises(UsageError, match="is not a number: want decimal digits"):
            parameter.type(text, parameter, None)
    assert parameter.type("12", parameter, None) == 12


def test_an_option_is_given_once(run: Run, log: Path) -> None:
    result = run(
        "append", log, "--event-type", "ACTION", "--action-type", "a", "--action-type", "b", "--actor-id", "c"
    )
    assert (result.code, result.out) == (2, "")
    assert "--action-type" in result.err
    assert "is given 2 times" in result.err
