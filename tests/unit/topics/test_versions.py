"""What a reader makes of what a newer attestlog may have written: see docs/formats-and-versions.md."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.audits import codes, verdicts, verify
from tests.support.logs import LogMaker, draft

from attestlog._internal.core import canonical
from attestlog._internal.core.approval import parse_request
from attestlog._internal.core.genesis import parse_genesis
from attestlog._internal.core.policy import format_policy, parse_policy
from attestlog._internal.core.policy_change import set_policy_payload
from attestlog._internal.storage.files.reader import FileSource
from attestlog.errors import MalformedApprovalError, NewerFormatError


@pytest.fixture
def log(tmp_path: Path) -> LogMaker:
    """Four entries, laid out."""
    made = LogMaker(tmp_path / "log")
    for number in range(1, 4):
        made.append(draft(number))
    made.lay_out()
    return made


def change(name: str, payload: Any) -> dict[str, Any]:
    return draft(0, event_type="CHANGE", action_type=f"attestlog.{name}", action_payload=payload)


def test_a_log_of_a_later_format_is_not_judged(log: LogMaker, tmp_path: Path) -> None:
    payload = {**log.entry(0)["action_payload"], "format": 2, "colour": "red"}
    log.reseal(0, action_payload=payload)
    log.lay_out()
    assert codes(verify(log, tmp_path)) == [("log.newer", 0)]
    assert verdicts(log.root) == ("UNKNOWN", "UNKNOWN")
    with pytest.raises(NewerFormatError):
        parse_genesis(FileSource(log.root).entry(0))


def test_an_acting_name_that_is_not_known_leaves_the_rules_unknown(log: LogMaker, tmp_path: Path) -> None:
    log.append(change("set_colour", {"colour": "red"}))
    log.append(draft(5))
    log.lay_out()
    assert codes(verify(log, tmp_path)) == [("entry.newer", 4)]
    assert verdicts(log.root) == ("UNKNOWN", "UNKNOWN")


def test_as_a_record_such_a_name_is_nothing_special(log: LogMaker) -> None:
    log.append({**change("set_colour", {"colour": "red"}), "execution_status": "FAILED"})
    log.append({**change("set_colour", {"colour": "red"}), "event_type": "DECISION"})
    log.lay_out()
    assert verdicts(log.root) == ("VERIFIED", "VERIFIED")


def test_a_member_of_the_logs_own_that_is_not_known_says_nothing(log: LogMaker) -> None:
    environment = {**log.entry(3)["environment"], "attestlog_colour": "red"}
    log.reseal(3, environment=environment)
    log.lay_out()
    assert verdicts(log.root) == ("VERIFIED", "VERIFIED")


def test_a_policy_with_a_member_that_is_not_known_does_not_hold(log: LogMaker, tmp_path: Path) -> None:
    """So no version may add one in a log of this format, but under a name of its own."""
    payload = set_policy_payload(log.rules, parse_policy({}))
    log.append(
        change("set_policy", {**payload, "policy": {**format_policy(parse_policy({})), "colour": "red"}})
    )
    log.lay_out()
    assert codes(verify(log, tmp_path)) == [("entry.change", 4)]


def test_an_entry_with_a_member_that_is_not_known_is_malformed(log: LogMaker, tmp_path: Path) -> None:
    log.lines[2] = canonical.encode({**json.loads(log.lines[2]), "colour": "red"})
    log.lay_out()
    assert ("entry.malformed", 2) in codes(verify(log, tmp_path))
    assert verdicts(log.root) == ("TAMPERED", "TAMPERED")


def test_a_request_of_another_version_is_no_request(log: LogMaker) -> None:
    asked = {
        "format": "attestlog/request/v3", "log": log.log.genesis, "origin": log.log.origin,
        "request_id": "00000000-0000-4000-8000-000000000001", "action_hash": "0" * 64, "draft": draft(1),
    }  # fmt: skip
    with pytest.raises(MalformedApprovalError, match="attestlog/request/v3"):
        parse_request(canonical.encode(asked) + b"\n")
