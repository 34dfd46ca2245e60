"""A log in another process behaves as one that is open here."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.services_of_logs import ACTION, ORIGIN, Place, served_log

import attestlog
from attestlog._internal.guard import NumberedActor
from attestlog._internal.log import Log, changing
from attestlog._internal.net import Client, NoAnswerError, Why
from attestlog._internal.remote import RemoteLog
from attestlog._internal.server.tokens import Scope
from attestlog.errors import (
    ActionBlockedError,
    ClosedError,
    DerivedMemberError,
    ErasureRefusedError,
    ForbiddenError,
    IdempotencyError,
    MalformedConfigError,
    MalformedEntryError,
    NotFoundError,
    QueryError,
    RuleChangeError,
    StorageError,
    UnauthenticatedError,
    UncertainCommitError,
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


def test_holds_and_erasures_say_who_asked_for_them(place: Place, log: RemoteLog) -> None:
    log.append({**ACTION, "action_payload": {"who": "ana"}})
    hold = log.add_hold("case-7", reason="a dispute", actor_id="counsel", start=1, stop=2)
    assert hold.entry.environment["attestlog_peer"].startswith("uid:")
    assert log.holds["case-7"].stop == 2
    with pytest.raises(ErasureRefusedError, match="case-7"):
        log.erase(1, reason="asked for", actor_id="dpo")
    log.release_hold("case-7", reason="settled", actor_id="counsel")
    assert log.holds == {}
    with pytest.raises(RuleChangeError):
        log.release_hold("case-7", reason="settled", actor_id="counsel")
    erased = log.erase(1, reason="asked for", actor_id="dpo")
    assert erased.entry.environment["attestlog_peer"].startswith("uid:")
    assert entries(place)[1].action_payload is None
    log.append_many([{**ACTION, "action_payload": {"n": number}} for number in range(3)])
    many = log.erase_many(["deploy"], reason="retention", actor_id="dpo")
    assert many.entry.environment["attestlog_peer"].startswith("uid:")
    assert all(entry.action_payload is None for entry in entries(place) if entry.action_type == "deploy")


def test_keys_are_rotated_and_revoked(place: Place, log: RemoteLog) -> None:
    old = key_of(place)
    rotated = log.rotate_key(actor_id="ops", algorithm="Ed25519")
    assert rotated.entry.environment["attestlog_peer"].startswith("uid:")
    assert key_of(place) != old
    log.append(ACTION)
    revoked = log.revoke_key(old, reason="stolen", last_trusted=rotated.sequence_number, actor_id="ops")
    assert revoked.entry.environment["attestlog_peer"].startswith("uid:")
    assert attestlog.verify(place.folder / "audit", remember=False).ok


def key_of(place: Place) -> str:
    assert place.service is not None
    (key_id,) = place.service.logs[0].log.rules.key_ids
    return key_id


def test_a_log_whose_key_is_in_a_device_is_rotated_where_it_is(
    place: Place, log: RemoteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changing, "_FILE", "other:")
    with pytest.raises(ForbiddenError, match="where the log is"):
        log.rotate_key()
    assert len(entries(place)) == 1


def test_what_changes_a_log_needs_the_scope_admin(place: Place) -> None:
    token = place.tokens.mint("agent", [Scope.APPEND, Scope.READ], ORIGIN)
    with attestlog.connect(place.url, token=token) as log:
        changes: list[Callable[[], Any]] = [
            log.rotate_key,
            lambda: log.erase(1, reason="x", actor_id="a"),
            lambda: log.add_hold("h", reason="x", actor_id="a"),
        ]
        for change in changes:
            with pytest.raises(ForbiddenError, match="admin"):
                change()
    assert len(entries(place)) == 1


def test_the_head_is_that_of_the_log_and_a_boot_says_it(place: Place, log: RemoteLog) -> None:
    assert place.service is not None
    log.append_many([ACTION] * 4)
    head, own = log.head(), place.service.logs[0].log.head()
    assert (head.size, head.entry_hash, head.timestamp_us) == (own.size, own.entry_hash, own.timestamp_us)
    assert head.edge.root() == own.edge.root()
    boot = log.boot("start", actor_id="agent-7")
    assert boot.entry.system_state_snapshot["log_head"] == {"size": 5, "entry_hash": own.entry_hash}
    assert log.shutdown("stop", actor_id="agent-7").entry.system_state_snapshot["log_head"]["size"] == 6


def test_a_tail_has_each_entry_once(log: RemoteLog) -> None:
    log.append_many([ACTION] * 5)
    found = log.tail(after=1)
    assert [next(found).sequence_number for _ in range(4)] == [2, 3, 4, 5]
    log.append(ACTION)  # while the stream is read, by the same thread
    assert next(found).sequence_number == 6
    found.close()


def test_a_tail_goes_on_over_restarts_without_gap_or_repeat(tmp_path: Path, own_home: Path) -> None:
    attestlog.create(tmp_path / "audit", origin=ORIGIN).close()
    with attestlog.connect(f"unix:{tmp_path}/log.sock") as log:
        found = log.tail(after=0)
        for number in range(3):
            with served_log(tmp_path):
                log.append_many([ACTION] * 2)
                seen = [next(found).sequence_number for _ in range(2)]
                assert seen == [2 * number + 1, 2 * number + 2]
        found.close()


def test_a_tail_of_a_service_that_is_away_ends_with_an_error(tmp_path: Path) -> None:
    log = attestlog.connect(f"unix:{tmp_path}/none.sock", timeout_s=0.2)
    with pytest.raises(StorageError):
        next(log.tail(after=0))
    log.close()


def test_a_change_is_not_asked_for_twice(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def silent(*arguments: Any, **_: Any) -> Any:
        asked.append(arguments)
        raise NoAnswerError(Why.UNREACHED, "hung up")

    with attestlog.connect(place.socket) as log:
        monkeypatch.setattr(Client, "ask", silent)
        with pytest.raises(UncertainCommitError, match="not known"):
            log.erase(1, reason="x", actor_id="a")
        assert len(asked) == 1
    with attestlog.connect(f"unix:{place.folder}/none.sock") as away:
        monkeypatch.undo()
        with pytest.raises(StorageError, match="nothing was written"):
            away.erase(1, reason="x", actor_id="a")


HERE_ONLY = frozenset({
    # Where the log is: what opens it, its directory, its replicas, evidence that stays as it is.
    "create", "open", "open_async", "path", "genesis", "recovered", "notices", "check",
    "append_by", "append_by_async", "append_unredacted", "sync_replicas",
})  # fmt: skip
THERE_ONLY = frozenset({"tail", "state", "propose", "requests", "approve", "approvals"})


def test_it_has_the_methods_of_a_log_with_their_parameters() -> None:
    def public(kind: type) -> dict[str, Any]:
        return {name: value for name, value in vars(kind).items() if not name.startswith("_")}

    here, there = public(Log), public(RemoteLog)
    assert set(here) - set(there) - {"where"} == HERE_ONLY
    assert set(there) - set(here) == THERE_ONLY
    for name in set(here) & set(there):
        if callable(here[name]):
            own, other = (inspect.signature(kind[name]).parameters for kind in (here, there))
            # Who publishes is a part of the process that has the log.
            extra = {"new_signer"} if name == "rotate_key" else {"wait"}
            assert [item for item in own if item not in extra] == list(other), name
