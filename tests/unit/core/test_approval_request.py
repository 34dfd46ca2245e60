"""Requests for approval: what people see is what they sign."""

import msgspec
import pytest
from tests.support.curves import respelled
from tests.support.people import Person, governed, members_of, request_id_of
from tests.support.shapes import ACTION, CHANGE, LOG, TIMESTAMP

from attestlog._internal.core import canonical
from attestlog._internal.core.approval import (
    Approval,
    ApprovalRequest,
    approved_draft,
    asked_at,
    format_request,
    judge_approvals,
    make_request,
    parse_request,
    with_low_s,
)
from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES, parse_draft
from attestlog._internal.core.hashes import hex_hash
from attestlog._internal.core.signature import ECDSA_P256
from attestlog.errors import MalformedApprovalError, MalformedEntryError

APPROVED = b'"received_approvals":[{"signature":"","signer":"","timestamp":""}],'
ID = request_id_of("a request")
REQUEST = make_request(CHANGE, LOG, ID)
DATA = format_request(REQUEST)


def test_a_request_comes_back() -> None:
    assert parse_request(DATA) == REQUEST
    assert DATA.endswith(b"}\n")
    assert "received_approvals" not in REQUEST.draft
    assert REQUEST.action_hash == hex_hash(canonical.encode(CHANGE["action_payload"]))
    assert (
        parse_request(format_request(make_request(parse_draft(CHANGE), LOG, ID))).action_hash
        == REQUEST.action_hash
    )


def test_what_is_approved_is_what_is_appended() -> None:
    person = Person("creator")
    approval = person.approve(REQUEST.draft, LOG, request_id=ID)
    (judged,) = judge_approvals(governed(), [approval], asked_at(REQUEST, TIMESTAMP))
    assert judged.counts
    draft = approved_draft(REQUEST, [msgspec.convert(approval, Approval)])
    assert draft.received_approvals == [approval]
    assert draft.action_payload == CHANGE["action_payload"]


def test_a_request_whose_hash_is_not_its_payloads_is_refused() -> None:
    for forged in (
        DATA.replace(b'"new_value":6.5', b'"new_value":0.5'),
        DATA.replace(REQUEST.action_hash.encode(), b"0" * 64),
    ):
        assert forged != DATA
        with pytest.raises(MalformedApprovalError, match="is not the hash of its payload"):
            parse_request(forged)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{}\n", b"[]\n", b"\xff", DATA[:-1], DATA + b"\n", DATA.replace(b'":', b'": ', 1),
        DATA.replace(b"/v2", b"/v1"), DATA.replace(LOG.origin.encode(), b"a b"),
        DATA.replace(ID.encode(), ID.upper().encode()), DATA.replace(ID.encode(), b""),
        DATA.replace(LOG.genesis.encode(), b"0"),
        DATA.replace(b'"log":"' + LOG.genesis.encode() + b'",', b""),
        DATA.replace(b'"CHANGE"', b'"change"'), DATA.replace(b'{"action_hash"', b'{"a":1,"action_hash"'),
        DATA.replace(b'"draft":{', b'"draft":{"entry_id":"x",'),
        DATA.replace(b'"required_approvals"', APPROVED + b'"required_approvals"'),
    ],
)  # fmt: skip
def test_what_is_no_request(data: bytes) -> None:
    with pytest.raises(MalformedApprovalError):
        parse_request(data)


def test_a_request_for_what_is_no_draft() -> None:
    with pytest.raises(MalformedEntryError):
        make_request({**ACTION, "entry_id": "x"}, LOG, ID)


def test_a_request_at_its_size_limit_and_one_past_it() -> None:
    def sized(size: int) -> bytes:
        bare = make_request({**ACTION, "action_payload": {"x": ""}}, LOG, ID)
        payload = {"x": "y" * (size - len(format_request(bare)))}
        return format_request(make_request({**ACTION, "action_payload": payload}, LOG, ID))

    data = sized(LINE_SIZE_MAX_BYTES)
    assert len(data) == LINE_SIZE_MAX_BYTES
    assert isinstance(parse_request(data), ApprovalRequest)
    with pytest.raises(MalformedApprovalError, match="at most"):
        parse_request(sized(LINE_SIZE_MAX_BYTES + 1))


def test_the_high_s_of_an_approval_is_brought_down_if_it_verifies() -> None:
    """What does not verify stays as it was given."""
    person = Person("ana", algorithm=ECDSA_P256)
    policy, request = governed(approvers=members_of(person)), asked_at(REQUEST, TIMESTAMP)
    low = person.approve(REQUEST.draft, LOG, request_id=ID)
    assert with_low_s(policy, low, request) == low
    high = {**low, "signature": respelled(bytes.fromhex(low["signature"])).hex()}
    assert with_low_s(policy, high, request) == low
    other = {**high, "meaning": "reject"}
    assert with_low_s(policy, other, request) == other
