"""Exceptions and results that raise when they are read: neither costs the act its outcome."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.support.logs import create

from attestlog._internal.core.entry import Entry
from attestlog._internal.guard.recording import error_members, result_members
from attestlog._internal.log import Log
from attestlog._internal.storage.resolve import open_source
from attestlog.testing import MemorySigner

SIGNER, CHECK_SIGNER = MemorySigner(), MemorySigner("Ed25519")


def outcome(log: Log) -> Entry:
    return list(open_source(log.path).entries(1))[-1]


def raising(*_: Any) -> Any:
    raise RuntimeError("not to be read")


def leaving(*_: Any) -> Any:
    raise SystemExit("not to be read")


_Text: Any = type("_Text", (str,), {"encode": raising, "__getitem__": raising})


def _shy(base: type[BaseException] = Exception, **members: Any) -> Any:
    return type("Shy", (base,), members)("text")


EXCEPTIONS = {
    "str": _shy(__str__=raising),
    "repr": _shy(__repr__=raising, __str__=raising),
    "leaves": _shy(__str__=leaving, __repr__=leaving),
    "no text": _shy(__str__=lambda _: 7),
    "text of its own": _shy(__str__=lambda _: _Text("text")),
    "class": _shy(__class__=property(raising)),
    "traceback": _shy(__traceback__=property(raising)),
    "notes": _shy(__notes__=property(raising)),
    "notes that are none": _shy(__notes__=7),
    "cause": _shy(__cause__=property(raising)),
    "add_note": _shy(add_note=raising),
    "getattribute": _shy(__getattribute__=raising),
    "bool": _shy(__bool__=raising, __len__=raising, __eq__=raising, __hash__=None),
    "base": _shy(BaseException, __str__=raising),
    "group": ExceptionGroup("several", [_shy(__str__=raising)]),
}


@pytest.mark.parametrize("name", EXCEPTIONS)
@pytest.mark.parametrize("is_async", [False, True])
def test_the_act_s_own_exception_reaches_the_caller_and_is_recorded(
    log: Log, name: str, is_async: bool
) -> None:
    error = EXCEPTIONS[name]

    caught: list[BaseException] = []

    def act() -> None:
        try:
            with log.guard(action_type="send", actor_id="robot-1"):
                raise error
        except BaseException as raised:  # noqa: BLE001
            caught.append(raised)

    async def act_async() -> None:
        # Not outside of the loop, which reads exceptions itself (`repr` of a task).
        try:
            async with log.guard(action_type="send", actor_id="robot-1"):
                raise error
        except BaseException as raised:  # noqa: BLE001
            caught.append(raised)

    asyncio.run(act_async()) if is_async else act()
    assert list(map(id, caught)) == [id(error)]
    end = outcome(log)
    details = end.error_details or {}
    assert (end.event_type, end.execution_status, details["kind"]) == ("ACTION", "FAILED", "error")
    assert details["type"] in ("Shy", "ExceptionGroup")
    assert "test_recording.py" in details["traceback"]


def test_a_text_that_cannot_be_read_is_recorded_as_such() -> None:
    assert "cannot be read" in error_members(_shy(__str__=raising))["message"]
    assert error_members(_shy())["message"] == "text"


def test_a_note_that_cannot_be_added_costs_nothing(tmp_path: Path) -> None:
    log = create(tmp_path / "log", signer=SIGNER.uri, checkpoint_signer=CHECK_SIGNER.uri)
    error = EXCEPTIONS["add_note"]
    with pytest.raises(type(error)) as caught, log.guard(action_type="send", actor_id="robot-1"):
        log.close()  # so the outcome cannot be recorded
        raise error
    assert caught.value is error


class _Unreadable(dict[str, Any]):
    items = __iter__ = keys = values = raising


_NoClass: Any = type("_NoClass", (), {"__class__": property(raising)})
RESULTS: dict[str, Any] = {
    "dict": _Unreadable(a=1), "value": _NoClass(), "in a dict": {"a": _NoClass()},
    "in a list": [_Unreadable(a=1)],
}  # fmt: skip


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_that_cannot_be_read_does_not_cost_the_outcome(log: Log, name: str) -> None:
    with log.guard(action_type="send", actor_id="robot-1") as act:
        act.result = RESULTS[name]
    assert outcome(log).execution_status == "SUCCESS"


def test_a_function_returns_whatever_it_returns(log: Log) -> None:
    value = _NoClass()

    @log.guard(action_type="send", actor_id="robot-1")
    def send() -> Any:
        return value

    assert send() is value
    assert outcome(log).execution_status == "SUCCESS"


def test_a_result_is_recorded_as_it_was() -> None:
    result = {"a": [1]}
    recorded = result_members(result)
    result["a"].append(2)
    assert recorded == {"a": [1]}
