"""The reference pages say what there is: every verb, option, code and type, and none that there is not."""

import ast
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from tests.support.commands import commands
from tests.support.repository import ROOT, parsed

from attestlog import errors
from attestlog._internal.cli import exits, main
from attestlog._internal.cli.verbs import VERBS
from attestlog._internal.core.report import Verdict
from attestlog._internal.verifying import FINDINGS, VERDICTS
from attestlog.errors import AttestlogError

SOURCE = ROOT / "src" / "attestlog"
ROOMS = SOURCE / "_internal"
DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md")), *sorted(DOCS.rglob("*.md")),
]  # fmt: skip
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HELP = re.compile(r"^```text\n(Usage: (attestlog[^\[{\n]*?) *[\[{].*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = ["", *VERBS, *chain.from_iterable(commands().values())]


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def rows(text: str) -> Iterator[list[str]]:
    """The cells of each table row, headings apart."""
    for line in text.splitlines():
        if line.startswith("| ") and not re.fullmatch(r"\| (code|class|type|variable|room)\b.*", line):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def section(text: str, title: str) -> str:
    """What stands under a heading of the second level."""
    return text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_on_the_page_is_the_help_there_is(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*command.split(), "--help"]) == 0
    shown = {name: text for text, name in HELP.findall(page("cli.md"))}
    assert shown[f"attestlog {command}".strip()] == capsys.readouterr().out


def test_every_command_is_on_the_page_once() -> None:
    shown = [name for _, name in HELP.findall(page("cli.md"))]
    assert sorted(shown) == sorted(f"attestlog {command}".strip() for command in COMMANDS)
    for verb in VERBS:
        assert f"$ attestlog {verb}" in section(page("cli.md"), verb), f"no example of {verb}"


def test_exit_codes() -> None:
    documented = [int(code) for code, _ in rows(section(page("cli.md"), "Exit codes"))]
    known = {*exits.BY_VERDICT.values(), *exits.BY_ERROR.values(), exits.USAGE, exits.NOT_WANTED}
    assert documented == sorted(known | {exits.DEFECT, exits.INTERRUPTED, exits.BROKEN_PIPE})


def test_types_of_json_output() -> None:
    emitted = {"error"}
    for path in (ROOMS / "cli").glob("*.py"):
        for node in ast.walk(parsed(path)):
            match node:
                case ast.Call(func=ast.Attribute(attr="emit"), args=[ast.Constant(value=str(kind)), _]):
                    emitted.add(kind)
    documented = [cells[0].strip("`") for cells in rows(section(page("cli.md"), "`--json`"))]
    assert sorted(documented) == sorted(emitted)


def test_environment_variables() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    read = set(re.findall(r'"(ATTESTLOG_[A-Z_]+|XDG_[A-Z_]+|[A-Z]+_DIRECTORY|NO_COLOR)"', text)) | {"TERM"}
    documented = chain.from_iterable(
        re.findall(r"`([A-Z_]+)`", cells[0]) for cells in rows(section(page("cli.md"), "Environment"))
    )
    assert sorted(documented) == sorted(read)


@pytest.mark.parametrize("verdict", Verdict)
def test_findings_of_a_whole_log(verdict: Verdict) -> None:
    text = section(page("findings.md"), verdict)
    documented = {cells[0].strip("`"): cells[1] for cells in rows(text)}
    assert documented == {code: FINDINGS[code] for code in FINDINGS if VERDICTS[code] == verdict}
    assert f"Exit code {exits.BY_VERDICT[verdict]}." in text


def test_findings_of_a_legacy_file() -> None:
    made: dict[str, str] = {}
    for path in (ROOMS / "legacy").glob("*.py"):
        for node in ast.walk(parsed(path)):
            match node:
                case ast.Call(
                    func=ast.Name(id="Finding" | "_finding"), args=[ast.Constant(value=str(code)), *_]
                ):
                    made[code] = "TAMPERED"
                case ast.Call(func=ast.Name(id="Finding" | "_finding"), keywords=keywords):
                    made |= _stated(keywords)
    assert len(made) > 10
    documented = {
        cells[0].strip("`"): cells[1] for cells in rows(section(page("findings.md"), "Legacy files"))
    }
    assert documented == made


def _stated(keywords: list[ast.keyword]) -> dict[str, str]:
    values = {keyword.arg: keyword.value for keyword in keywords}
    match values.get("code"), values.get("verdict"):
        case ast.Constant(value=str(code)), ast.Attribute(attr=verdict):
            return {code: verdict}
    return {}


def test_every_finding_says_what_to_do() -> None:
    for cells in rows(page("findings.md")):
        assert all(cells), cells


def test_errors() -> None:
    classes = {
        name: cls
        for name, cls in vars(errors).items()
        if isinstance(cls, type) and issubclass(cls, AttestlogError)
    }
    documented = {cells[0].split()[0].strip("`"): cells for cells in rows(page("errors.md"))}
    assert list(documented) == list(classes)
    for name, cls in classes.items():
        first, code, when, _, exit_code = documented[name]
        assert code == f"`{cls.code}`"
        assert first.endswith(" V") == issubclass(cls, ValueError)
        assert when
        assert exit_code == ("–" if cls is AttestlogError else str(exits.exit_code(cls("x")))), name


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in LINK.findall(FENCE.sub("", path.read_text(encoding="utf-8"))):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        there = path.parent / name if name else path
        assert there.exists(), f"{target} is not there"
        assert not anchor or anchor in anchors(there), f"{target} is no heading there"


def test_tests_that_show_the_guarantees_exist() -> None:
    named = re.findall(r"`(tests/[^`]+)`", page("threat-model.md"))
    assert named
    for name in named:
        found = [
            path
            for path in ROOT.glob(name.rstrip("/"))
            if path.suffix == ".py" or any(path.glob("test_*.py"))
        ]
        assert found, name


def test_paths_named_in_the_architecture_exist() -> None:
    text = FENCE.sub("", (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"))
    table = text.split("## Rooms")[1].split("## ")[0]
    rooms = {name for cells in rows(table) for name in re.findall(r"`(\w+)/?`", cells[0])}
    there = {
        path.stem for folder in (SOURCE, ROOMS) for path in folder.iterdir() if not path.name.startswith("_")
    } - {"py"}
    assert rooms == there
    for name in re.findall(r"`(\w+(?:/\w+)*\.py)`", text):
        assert any((folder / name).exists() for folder in (ROOMS, SOURCE, ROOT)), name
