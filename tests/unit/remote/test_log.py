"""A log in another process behaves as one that is open here."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.services_of_logs import ACTION, ORIGIN, Place, served_log

import attestlog
from attestlog._internal.guard import NumberedActor
from attestlog._internal.log import Log
from attestlog._internal.remote import RemoteLog
from attestlog._internal.server.tokens import Scope
from attestlog.errors import (
    ActionBlockedError,
    ClosedError,
    DerivedMemberError,
    ForbiddenError,
    IdempotencyError,
    MalformedConfigError,
    MalformedEntryError,
    NotFoundError,
    QueryError,
    UnauthenticatedError,
)
from attestlog.testing import MemorySigner

POLICY = {"rules": {"never": {"action_types": ["wipe"], "required_proofs": ["nobody.has.it"]}}}


@pytest.fixture
def place(tmp_path: Path, own_home: Path) -> Iterator[Place]:
    attestlog.create(tmp_path / "audit", origin=ORIGIN, policy=POLICY).close()
    with served_log(tmp_path) as served:
        yield served


@pytest.fixture
def log(place: Place) -> Iterator[RemoteLog]:
    with attestlog.connect(place.socket) as connected:
        yield connected


def entries(place: Place) -> list[attestlog.Entry]:
    return list(attestlog.query_log(place.folder / "audit", newest_first=False))


def test_a_receipt_is_that_of_the_log(place: Place, log: RemoteLog) -> None:
    receipt = log.append(ACTION)
    (stored,) = entries(place)[1:]
    assert (receipt.entry, receipt.line) == (stored, attestlog_line(place, 1))
    assert log.append(event_type="ACTION", action_type="a", actor_id="b").sequence_number == 2
    log.append(attestlog.EntryDraft(event_type=attestlog.EventType.ACTION, action_type="a", actor_id="b"))
    assert log.violation("a", actor_id="b").entry.event_category == "ERROR"
    assert [found.sequence_number for found in log.append_many([ACTION] * 2)] == [5, 6]
    assert log.append_many([]) == []
    assert log.origin == ORIGIN


def attestlog_line(place: Place, number: int) -> bytes:
    return (place.folder / "audit" / "entries" / "000000000000.jsonl").read_bytes().splitlines()[number]


@pytest.mark.parametrize(
    "draft, error",
    [
        ({**ACTION, "event_type": "X"}, MalformedEntryError),
        ({**ACTION, "action_payload": {"x": b"bytes"}}, MalformedEntryError),
        ({**ACTION, "action_payload": {"x": float("nan")}}, MalformedEntryError),
        ({**ACTION, "k_state": 0}, DerivedMemberError),
        ({**ACTION, "action_type": "attestlog.mine"}, MalformedEntryError),
    ],
)
def test_errors_are_those_of_a_log_here(
    place: Place, log: RemoteLog, tmp_path: Path, draft: dict[str, Any], error: type[Exception]
) -> None:
    with Log.create(tmp_path / "local", origin="example.com/local", policy=POLICY) as local:
        for each in (log, local):
            with pytest.raises(error):
                each.append(draft)
            with pytest.raises(error):
                each.append_many([ACTION, draft])
    assert len(entries(place)) == 1


def test_a_key_of_the_caller_s_own(log: RemoteLog) -> None:
    first = log.append(ACTION, idempotency_key="order-17")
    assert log.append(ACTION, idempotency_key="order-17") == first
    with pytest.raises(IdempotencyError):
        log.append({**ACTION, "actor_id": "another"}, idempotency_key="order-17")


def test_what_is_submitted_follows_in_order_and_each_learns_its_own(place: Place, log: RemoteLog) -> None:
    good = [log.submit({**ACTION, "action_payload": {"n": number}}) for number in range(50)]
    bad = log.submit({**ACTION, "k_state": 0})
    last = log.submit(ACTION)
    numbers = [future.result().sequence_number for future in good]
    assert numbers == sorted(numbers)
    assert isinstance(bad.exception(), DerivedMemberError)
    assert last.result().sequence_number == 51
    with pytest.raises(MalformedEntryError):
        log.submit({})
    actor = NumberedActor(log, "agent-7")
    assert [actor.heartbeat().entry.actor_context["counter"] for _ in range(3)] == [1, 2, 3]


def test_a_guard_decides_acts_and_records(place: Place, log: RemoteLog) -> None:
    with log.guard(action_type="deploy", actor_id="agent-7", action_payload={"x": 1}) as act:
        act.result = {"ok": True}
    assert act.intent is not None
    with pytest.raises(ValueError, match="no"), log.guard(action_type="deploy", actor_id="agent-7"):
        raise ValueError("no")
    ran = []
    with (
        pytest.raises(ActionBlockedError, match="proofs that do not hold"),
        log.guard(action_type="wipe", actor_id="a"),
    ):
        ran.append(1)
    assert ran == []
    found = entries(place)[1:]
    assert [entry.event_type for entry in found] == [
        "DECISION", "ACTION", "DECISION", "ACTION", "DECISION", "VIOLATION",
    ]  # fmt: skip
    assert found[1].dependencies == [act.intent.entry_id]
    assert found[3].execution_status == "FAILED"


def test_the_same_in_asyncio(place: Place, log: RemoteLog) -> None:
    async def work() -> list[int]:
        async with log.guard(action_type="deploy", actor_id="agent-7"):
            pass
        await asyncio.gather(*[log.append_async(ACTION) for _ in range(20)])
        return [entry.sequence_number async for entry in log.query_async(newest_first=False)]

    assert asyncio.run(work()) == list(range(23))


def test_a_change_of_the_policy_is_seen_with_the_next_entry(place: Place, log: RemoteLog) -> None:
    assert place.service is not None
    before = log.rules.policy
    payload = attestlog.modify_rule_payload(
        log.rules, "safety_floor", 9.5, proposal_id="p", change_description="stricter"
    )
    change = log.change("attestlog.modify_policy_rule", actor_id="ana", action_payload=payload)
    # The change stands under the old rules; the next entry shows the new ones.
    log.append(ACTION)
    assert log.rules.policy == place.service.logs[0].log.rules.policy != before
    assert log.rules.pointers.rules == f"{change.sequence_number}:{change.entry_hash}"


def test_queries_and_proofs(log: RemoteLog) -> None:
    log.append_many([{**ACTION, "action_payload": {"n": number}} for number in range(5)])
    assert [entry.sequence_number for entry in log.query(action_type="dep*", limit=3)] == [5, 4, 3]
    assert [entry.sequence_number for entry in log.query(payload={"n": 2})] == [3]
    assert len(list(log.query())) == 6
    attestlog.verify_proof(log.prove(3), trust=log.vkeys)
    attestlog.verify_proof(log.prove(3, payload=False), trust=log.vkeys)
    assert log.checkpoint().splitlines()[1] == b"6"
    with pytest.raises(NotFoundError):
        log.prove(99)
    with pytest.raises(QueryError):
        list(log.query(since="yesterday"))


def test_people_are_asked_and_answer_by_way_of_the_service(tmp_path: Path, own_home: Path) -> None:
    ana, signer = "ana", MemorySigner("Ed25519")
    policy = {
        "approvers": {ana: {"roles": ["owner"], "keys": [signer.public_key.pem]}},
        "rules": {"ask": {"action_types": ["deploy"], "required_approvals": 1}},
    }
    attestlog.create(tmp_path / "audit", origin=ORIGIN, policy=policy).close()
    with served_log(tmp_path) as place, attestlog.connect(place.socket) as log:
        request = log.request({**ACTION, "action_payload": {"x": 1}})
        log.propose(request)
        log.propose(request)
        assert log.requests() == [request]
        assert log.approvals(request) == []
        with pytest.raises(ActionBlockedError), log.resume(request):
            pass
        log.approve(attestlog.sign_approval(request, signer, name=ana))
        (found,) = log.approvals(request)
        with log.resume(request, approvals=[found]) as act:
            pass
        assert act.outcome is not None
        assert act.outcome.entry.quorum_met
        with pytest.raises(NotFoundError):
            log.approvals(attestlog.ApprovalRequest(
                log=request.log, origin=request.origin, request_id="8a9e3a0e-9a70-4a3e-9b0b-0b6f0f0f0f0f",
                action_hash=request.action_hash, draft=request.draft,
            ))  # fmt: skip


def test_tokens_over_a_port(place: Place, tmp_path: Path) -> None:
    text = place.tokens.mint("agent", [Scope.APPEND], ORIGIN, actor_id="agent-7")
    (tmp_path / "token").write_text(text)
    with attestlog.connect(place.url, token_file=tmp_path / "token") as log:
        assert text not in repr(log)
        assert log.append(ACTION).sequence_number == 1
        with pytest.raises(ForbiddenError):
            log.append({**ACTION, "actor_id": "agent-8"})
        with pytest.raises(ForbiddenError):
            list(log.query())
    with attestlog.connect(place.url, token="x" * 43) as log, pytest.raises(UnauthenticatedError):
        log.append(ACTION)


@pytest.mark.parametrize("url", ["unix:", "ftp://x", "http://log.example.com", "https://u:p@x", ""])
def test_where_nothing_is_asked(url: str) -> None:
    with pytest.raises(MalformedConfigError):
        attestlog.connect(url)


def test_a_closed_connection_asks_nothing(place: Place) -> None:
    log = attestlog.connect(place.socket)
    pending = [log.submit(ACTION) for _ in range(5)]
    log.close()
    log.close()
    assert [future.result().sequence_number for future in pending] == [1, 2, 3, 4, 5]
    for ask in (lambda: log.append(ACTION), lambda: log.submit(ACTION), lambda: log.origin):
        with pytest.raises(ClosedError):
            ask()
