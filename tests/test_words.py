"""What no file of the project may say: where it was built, what only stood beside it there, whom it asked."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.support.repository import ROOT

FORBIDDEN = {
    "a path of one machine": re.compile(
        r"(?<![\w.~$}])/(?:root|work|home|Users|farm)(?:/|\b(?![\w./-]))|[A-Z]:\\Users"
    ),
    "a folder beside the checkout": re.compile(r"\.\./shared\b"),
    "a package registry's host": re.compile(
        r"pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|crates\.io|golang\.org/proxy|proxy\.golang\.org"
        r"|sum\.golang\.org|maven\.org|maven\.apache\.org|deb\.debian\.org|security\.debian\.org"
    ),
    "a ticket's number": re.compile(r"\bissue #?\d", re.IGNORECASE),
}
ALLOWED = {
    ("a folder beside the checkout", ".ci/run")
}  # it hands that folder to the tests, where there is one


def tracked_files() -> list[Path]:
    """What git tracks; outside a checkout (an unpacked sdist), every file but hidden and built ones."""
    paths = []
    git = shutil.which("git")
    if git:
        listed = subprocess.run(
            [git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    if not paths:
        paths = [path for path in ROOT.rglob("*") if not is_built(path.relative_to(ROOT))]
    return sorted(path for path in paths if path.is_file())


def is_built(path: Path) -> bool:
    return any(
        (part.startswith(".") and part != ".ci") or part in {"build", "dist", "__pycache__"}
        for part in path.parts
    )


def findings(name: str, text: str) -> list[str]:
    return [
        f"{name}:{number} {what}: {line.strip()[:120]}"
        for number, line in enumerate(text.splitlines(), start=1)
        for what, pattern in FORBIDDEN.items()
        if pattern.search(line) and (what, name) not in ALLOWED
    ]


def test_no_file_says_where_it_was_built() -> None:
    files = tracked_files()
    assert ROOT / "pyproject.toml" in files
    found = []
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        found += findings(name, name)
        found += findings(name, path.read_text(encoding="utf-8", errors="replace"))
    assert found == []


@pytest.mark.parametrize(
    "parts",
    [
        ("see /", "work/main"),
        ("PATH=/", "root/.cache/x"),
        ("'/", "home/someone'"),
        ("cd /", "work"),
        ("vectors in ..", "/shared/vectors"),
        ("--index-url https://pypi", ".org/simple"),
        ("fixes issue", " #12"),
    ],
)
def test_forbidden_words_are_seen(parts: tuple[str, str]) -> None:
    assert len(findings("x", "".join(parts))) == 1


@pytest.mark.parametrize("text", ["docs/work/x", "the network", "https://example.org/home", "{root}/work/x"])
def test_ordinary_words_are_let_be(text: str) -> None:
    assert findings("x", text) == []
