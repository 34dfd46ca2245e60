"""The façade: every name it promises is there, and no room of the house stands in its place."""

import subprocess
import sys
from pathlib import Path

import pytest

import attestlog


def test_every_name_is_there() -> None:
    assert sorted(attestlog.__all__) == attestlog.__all__
    assert all(getattr(attestlog, name) is not None for name in attestlog.__all__)
    assert len(attestlog.__all__) <= 20


def test_no_name_is_also_a_room() -> None:
    rooms = {path.stem for path in Path(attestlog.__file__).parent.iterdir()}
    assert not rooms & set(attestlog.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = attestlog.nonsense


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
