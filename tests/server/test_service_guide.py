"""docs/service.md: who types what stands there has a recorder, a token, a scrape, a verification."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.proxy import free_port
from tests.support.repository import ROOT
from tests.support.tools import missing

import attestlog
from attestlog._internal.server import metrics

GUIDE = ROOT / "docs" / "service.md"
FILES = ROOT / "docs" / "service"
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
METRIC = re.compile(r"\battestlog_[a-z_]+")
SERVICES_PYTHON = ROOT / ".venv-services/bin/python"


@contextmanager
def started(words: list[str], folder: Path) -> Iterator[None]:
    """A command that goes on, once it has said all that the guide shows; interrupted at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "attestlog", *words], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        shown = [process.stdout.readline().split() for _ in range(3)]
        assert [line[0] for line in shown] == ["service", "socket", "log"]
        yield
    finally:
        process.terminate()
        assert process.wait(60) == 0
        process.stdout.close()


def run(line: str, folder: Path) -> str:
    """A command of the guide, as a shell runs it."""
    own = folder / "bin"
    own.mkdir(exist_ok=True)
    script = own / "attestlog"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m attestlog "$@"\n')
    script.chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", f'PATH={shlex.quote(str(own))}:"$PATH"; {line}'], cwd=folder, capture_output=True,
        text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, (line, done.stdout, done.stderr)
    return done.stdout


@pytest.mark.slow
def test_the_guide(tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = GUIDE.read_text().replace("8460", str(free_port()))
    blocks = [(found[1], found[2]) for found in BLOCK.finditer(text)]
    lines = [
        line[2:]
        for language, content in blocks
        if language == "console"
        for line in content.splitlines()
        if line.startswith("$ ")
    ]
    serve = next(line for line in lines if line.startswith("attestlog serve"))
    before, after = lines[: lines.index(serve)], lines[lines.index(serve) + 1 :]
    for line in before:
        run(line, tmp_path)
    monkeypatch.chdir(tmp_path)
    said: dict[str, str] = {}
    with started(shlex.split(serve)[1:], tmp_path):
        for language, content in blocks:
            if language == "python":
                exec(compile(content, GUIDE.name, "exec"), {})  # noqa: S102 - our own document
        for line in after:
            if not line.startswith("curl") or shutil.which("curl"):
                said[line] = run(line, tmp_path)
        deadline = time.monotonic() + 60
        while not list((tmp_path / "service").glob("verified/**/*.*")) and time.monotonic() < deadline:
            time.sleep(0.05)
    entries = list(attestlog.query_log(tmp_path / "audit", newest_first=False))
    assert [entry.event_type for entry in entries[1:4]] == ["ACTION", "DECISION", "ACTION"]
    if shutil.which("curl"):
        assert entries[4].environment["attestlog_key"] == "order-17"
        (page,) = [told for line, told in said.items() if "/metrics" in line]
        assert 'attestlog_entries{origin="example.com/agents"} 5' in page
        (receipt,) = [told for line, told in said.items() if "order-17" in line]
        assert json.loads(receipt)["sequence_number"] == 4
    assert attestlog.verify(tmp_path / "audit", remember=False).ok


def test_alert_rules_speak_of_metrics_that_there_are() -> None:
    families = {**metrics.HELP, **metrics.REPLICA_HELP, **metrics.WITNESS_HELP}
    text = (FILES / "alerts.yaml").read_text()
    expressions = re.findall(r"^ +expr: (.+)$", text, re.MULTILINE)
    assert len(expressions) == text.count("- alert:") == text.count("summary:")
    for name in METRIC.findall("\n".join(expressions)):
        assert name.removesuffix("_bucket") in families
    if not SERVICES_PYTHON.exists():
        missing("the servers that tests ask are not installed: make services")
    program = "import sys, json, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))"
    done = subprocess.run(
        [SERVICES_PYTHON, "-c", program, FILES / "alerts.yaml"], capture_output=True, text=True, check=True
    )
    (group,) = json.loads(done.stdout)["groups"]
    for rule in group["rules"]:
        assert {"alert", "expr", "labels", "annotations"} <= set(rule)


def test_unit_and_container_call_what_there_is(tmp_path: Path) -> None:
    unit = (FILES / "attestlog.service").read_text().replace("\\\n", " ")
    (line,) = re.findall(r"^ExecStart=\S+/attestlog (.+)$", unit, re.MULTILINE)
    container = (FILES / "Containerfile").read_text()
    instructions = re.findall(r"^([A-Z]+) ", container, re.MULTILINE)
    assert instructions == [
        "FROM", "RUN", "COPY", "RUN", "USER", "ENV", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK",
        "ENTRYPOINT", "CMD",
    ]  # fmt: skip
    (command,) = re.findall(r"^CMD (\[.+\])$", container, re.MULTILINE)
    known = (ROOT / "docs" / "cli.md").read_text().split("Usage: attestlog serve log", 1)[1].split("```")[0]
    for words in (shlex.split(line), json.loads(command)):
        assert words[:2] == ["serve", "log"]
        for word in words:
            assert not word.startswith("--") or word in known
    if shutil.which("systemd-analyze"):
        file = tmp_path / "attestlog.service"
        file.write_text(re.sub(r"/opt/attestlog/bin/attestlog", "/bin/true", unit))
        done = subprocess.run(
            ["systemd-analyze", "verify", file], capture_output=True, text=True, check=False, timeout=60
        )
        if "attestlog.service" in done.stderr:
            pytest.fail(done.stderr)
