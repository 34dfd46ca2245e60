"""The lock files pin, with hashes, what pyproject.toml asks for, and say nothing else."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.support.repository import ROOT

PIN = re.compile(
    r"^([a-z0-9-]+)==([^ ;\\]+)(?: ; [^\\\n]+)? \\\n"  # name==version ; marker \
    r"(?:    --hash=sha256:[0-9a-f]{64} \\\n)*    --hash=sha256:[0-9a-f]{64}$",
    re.MULTILINE,
)


def pins(lock: str) -> dict[str, str]:
    """Name → version. Fails if anything in the file is neither a comment nor a pin with hashes."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    rest = PIN.sub("", text)
    assert [line for line in rest.splitlines() if line and not line.startswith("#")] == []
    found = {match[1]: match[2] for match in PIN.finditer(text)}
    assert found
    return found


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def assert_pinned(requirements: list[str], pinned: dict[str, str]) -> None:
    assert requirements
    for requirement in map(Requirement, requirements):
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


def test_base_lock_pins_what_is_asked_for(project: dict[str, Any]) -> None:
    pinned = pins("requirements.lock")
    assert_pinned(project["project"]["dependencies"], pinned)
    assert_pinned(project["dependency-groups"]["build"], pinned)


def test_the_wheel_is_typed_and_whole(tmp_path: Path) -> None:
    """What a type checker needs of an installed package is in it, and all that git keeps of the source."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        packed = {name for name in opened.namelist() if name.startswith("attestlog/")}
    source = ROOT / "src"
    there = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    assert packed == {name for name in there if "__pycache__" not in name}
    assert "attestlog/py.typed" in packed


def test_what_builds_the_wheel_is_in_the_lock(project: dict[str, Any]) -> None:
    assert project["dependency-groups"]["build"] == project["build-system"]["requires"]


def test_dev_lock_extends_the_base_lock(project: dict[str, Any]) -> None:
    base, dev = pins("requirements.lock"), pins("requirements-dev.lock")
    assert {name: dev.get(name) for name in base} == base
    assert_pinned([line for line in project["dependency-groups"]["dev"] if isinstance(line, str)], dev)


def test_no_python_is_claimed_that_is_not_tested(project: dict[str, Any]) -> None:
    """README's table says which Pythons are tested; .ci/run holds it to what it ran."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (3\.\d+) \| (.+) \|$", readme, re.MULTILINE)
    prefix = "Programming Language :: Python :: 3."
    claimed = [name for name in project["project"]["classifiers"] if name.startswith(prefix)]
    assert rows
    assert [f"{prefix}{version[2:]}" for version, tested in rows if tested != "untested"] == claimed
