"""The façade: every name it promises is there, and no room of the house stands in its place."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.repository import ROOT

import attestlog
from attestlog.testing import MemorySigner

MODULES = ["errors", "haios", "schemas", "testing"]
USER_FILES = [
    ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").rglob("*.py")),
]  # fmt: skip


def test_all_is_sorted_and_each_name_is_the_object_at_its_home() -> None:
    assert sorted(attestlog.__all__) == attestlog.__all__
    for name, home in attestlog._HOMES.items():
        module, _, path = home.partition(":")
        found = importlib.import_module(f"attestlog._internal.{module}")
        for part in (path or name).split("."):
            found = getattr(found, part)
        assert getattr(attestlog, name) == found  # a class method is another object each time, and equal
    assert set(attestlog.__all__) == {*attestlog._HOMES, "AttestlogError", "__version__"}


def test_type_checkers_see_what_is_loaded() -> None:
    tree = ast.parse(inspect.getsource(attestlog))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen: dict[str, str] = {}
    for node in block.body:
        match node:
            case ast.ImportFrom(module=str(module), names=names):
                home = module.removeprefix("attestlog._internal.")
                for alias in names:
                    seen[alias.asname or alias.name] = f"{home}:{alias.name}" if alias.asname else home
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                seen[name] = f"{seen['Log']}:{ast.unparse(value)}"
    assert seen == attestlog._HOMES


def test_dir_is_the_api() -> None:
    assert dir(attestlog) == sorted([*attestlog.__all__, *MODULES])


@pytest.mark.parametrize("name", MODULES)
def test_public_modules_are_attributes(name: str) -> None:
    assert getattr(attestlog, name) is importlib.import_module(f"attestlog.{name}")


@pytest.mark.parametrize("name", ["haios", "schemas", "testing"])
def test_public_modules_say_what_is_theirs(name: str) -> None:
    module = importlib.import_module(f"attestlog.{name}")
    own = {
        key
        for key, item in vars(module).items()
        if not key.startswith("_") and getattr(item, "__module__", "").startswith(f"attestlog.{name}")
    }
    assert own <= set(module.__all__)
    assert all(hasattr(module, key) for key in module.__all__)


def test_there_is_no_other_public_module() -> None:
    there = {path.stem for path in Path(attestlog.__file__).parent.iterdir() if path.suffix != ".typed"}
    assert {name for name in there if not name.startswith("_")} == set(MODULES)


def test_the_tour_names_everything() -> None:
    named = set(re.findall(r"\w+", attestlog.__doc__ or ""))
    of_entries = {"EventType", "EventCategory", "ActorType", "ExecutionStatus"}
    assert set(attestlog.__all__) - named - of_entries == {"__version__"}


@pytest.mark.parametrize("path", USER_FILES, ids=lambda path: path.name)
def test_what_users_read_imports_public_names_only(path: Path) -> None:
    """The specifications under docs/spec are for those who read the source, and name its modules."""
    text = path.read_text(encoding="utf-8")
    assert "_internal" not in text
    for name in re.findall(r"\battestlog\.(\w+)\(", text):
        assert name in dir(attestlog), name


def test_public_objects_say_what_they_are(tmp_path: Path) -> None:
    signer = MemorySigner("Ed25519")
    with attestlog.create(tmp_path / "audit", origin="example.com/x", checkpoint_signer=signer) as log:
        act = log.guard(action_type="deploy", actor_id="agent-7")
        assert repr(act) == "Guard('deploy', actor_id='agent-7')"
        actor = attestlog.NumberedActor(log, "agent-7", session="s")
        assert repr(actor) == "NumberedActor('agent-7', session='s')"
        key = signer.public_key
        assert repr(key) == f"PublicKey('Ed25519', key_id={key.key_id!r})"
        objects = [log, log.rules, log.genesis, log.head(), signer, actor.heartbeat(), attestlog.Filter()]
        objects += [attestlog.verify(log.path), attestlog.query_page(log.path), attestlog.TrustPolicy()]
    for item in objects:
        assert repr(item).startswith(f"{type(item).__name__}(")
        assert " at 0x" not in repr(item)
        assert "_internal" not in repr(item)


def test_no_name_is_also_a_room() -> None:
    rooms = {path.stem for path in Path(attestlog.__file__).parent.iterdir()}
    assert not rooms & set(attestlog.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = attestlog.nonsense  # type: ignore[attr-defined]


def test_names_work_in_any_order_of_loading(tmp_path: Path) -> None:
    script = (
        "import attestlog, attestlog._internal.query, attestlog._internal.verifying\n"
        "import attestlog._internal.log\n"
        f"log = attestlog.create({str(tmp_path / 'audit')!r}, origin='example.com/facade')\n"
        "log.violation('breach', actor_id='a')\n"
        "assert [e.action_type for e in log.query(event_type='VIOLATION')] == ['breach']\n"
        "log.close()\n"
        "assert attestlog.verify(log.path).verdict == attestlog.Verdict.VERIFIED\n"
        "assert [e.sequence_number for e in attestlog.query_log(log.path, since='1h')] == [1, 0]\n"
    )
    environment = {"ATTESTLOG_HOME": str(tmp_path / "home"), "PATH": ""}
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, env=environment)
