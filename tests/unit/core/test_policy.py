"""What a policy may say, and what it derives: composites to the last decimal, floors, proofs, quorum."""

import json
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest
from tests.support.logs import parsed
from tests.support.shapes import LOG, SNAPSHOT_HASH, TIMESTAMP, line_of, read

from attestlog._internal.core import deriving
from attestlog._internal.core.canonical import encode
from attestlog._internal.core.deriving import CHECKED_PROOFS, Derived, check_derived, composite_score, explain
from attestlog._internal.core.entry import PILLARS, Entry, EntryDraft
from attestlog._internal.core.policy import WEIGHT_MAX, Policy, format_policy, parse_policy
from attestlog._internal.core.secrets import SECRET_FIELDS
from attestlog.errors import DerivedMemberError, MalformedEntryError, MalformedPolicyError

DEFAULT = Policy()
HASH = "0" * 64


def derive(policy: Policy, facts: Entry | EntryDraft) -> Derived:
    return deriving.derive(policy, facts, LOG, HASH, TIMESTAMP)


def unverifiable_proofs(facts: EntryDraft) -> list[str]:
    return list(explain(DEFAULT, facts, LOG, HASH, TIMESTAMP).claims.unchecked)


def weighted(*weights: float) -> Policy:
    return parse_policy({"weights": dict(zip(PILLARS, weights, strict=True))})


def scores(*values: float) -> dict[Any, float]:
    return dict(zip(PILLARS, values, strict=False))


def test_the_default_policy() -> None:
    assert parse_policy({}) == DEFAULT
    assert format_policy(DEFAULT) == {
        "weights": {"an_toan": 1, "duong_dai": 1, "tin_vao_so_lieu": 1, "han_che_rui_ro": 1},
        "safety_floor": 7,
        "floor_per_pillar": False,
        "rules": {},
        "approvers": {},
        "actors": {},
        "redaction": {
            "enabled": True,
            "fields": list(SECRET_FIELDS),
            "patterns": ["access_key", "private_key", "token"],
            "custom_patterns": {},
        },
        "erasure": {"action_types": ["*"], "held": [], "legal_bases": [], "retain_days": 0},
    }
    assert PILLARS == ("an_toan", "duong_dai", "tin_vao_so_lieu", "han_che_rui_ro")


@pytest.mark.parametrize(
    "members",
    [
        {"safety_floor": 0},
        {"safety_floor": 10},
        {"safety_floor": 6.5, "floor_per_pillar": True},
        {"weights": dict(zip(PILLARS, (WEIGHT_MAX, 0, 0.5, 5e-324), strict=True))},
        {"weights": dict(zip(PILLARS, (0, 0, 0, 1e-9), strict=True))},
    ],
)
def test_a_policy_comes_back_from_the_log(members: dict[str, Any]) -> None:
    policy = parse_policy(members)
    assert parse_policy(json.loads(encode(format_policy(policy)))) == policy


NAN, INF = float("nan"), float("inf")
GOOD = {"an_toan": 1, "duong_dai": 1, "tin_vao_so_lieu": 1, "han_che_rui_ro": 1}


@pytest.mark.parametrize(
    "members",
    [
        *({"weights": {**GOOD, "an_toan": bad}} for bad in (-1, -0.001, NAN, INF, -INF, "1", None, True)),
        *({"weights": {**GOOD, "an_toan": bad}} for bad in (WEIGHT_MAX + 1, 10**400, 1e308)),
        {"weights": dict.fromkeys(PILLARS, 0)},
        {"weights": dict.fromkeys(PILLARS, 0.0)},
        {"weights": {}},
        {"weights": {"an_toan": 1}},
        {"weights": {**GOOD, "safety": 1}},
        {"weights": None},
        {"weights": [1, 1, 1, 1]},
        *({"safety_floor": bad} for bad in (-0.1, 10.1, 11, NAN, INF, None, "7", True)),
        *({"floor_per_pillar": bad} for bad in (1, None, "true")),
        {"floor": 7},
        [],
        None,
        {1: 2},
    ],
)
def test_what_is_no_policy(members: Any) -> None:
    with pytest.raises(MalformedPolicyError, match="policy: "):
        parse_policy(members)


@pytest.mark.parametrize(
    "weights, values, want",
    [
        ((1, 1, 1, 1), (8.5, 9.0, 7.5, 8), 8.25),
        ((1, 1, 1, 1), (6.2,), 6.2),
        ((1, 1, 1, 1), (7, 7, 7, 7), 7),
        ((2, 1, 1, 0), (8, 6, 6, 0), 7),
        ((1, 0, 0, 0), (9, 1, 1, 1), 9),
        ((3, 2, 1, 1), (7, 8, 9), 7.666667),  # 46/6
        ((1, 1, 1, 1), (0.1, 0.2, 0.3, 0.4), 0.25),
        ((1, 1, 1, 1), (10, 10, 10, 10), 10),
        ((1, 1, 1, 1), (0, 0, 0, 0), 0),
        ((0.1, 0.2, 0.3, 0.4), (1, 2, 3, 4), 3),
        ((1, 1, 1, 1), (5e-7,), 0),  # half to even, downwards
        ((1, 1, 1, 1), (1.5e-6,), 0.000002),  # half to even, upwards
        ((WEIGHT_MAX,) * 4, (10, 10, 10, 10), 10),
    ],
)
def test_composites(weights: tuple[float, ...], values: tuple[float, ...], want: float) -> None:
    found = composite_score(weighted(*weights), scores(*values))
    assert found == want
    assert isinstance(found, int) == float(want).is_integer()  # spelled 7, not 7.0


@pytest.mark.parametrize("numerator", range(1, 128, 2))
def test_rounding_is_half_to_even_where_a_half_is_exact(numerator: int) -> None:
    # Odd multiples of 2^-7 end in 5 at the seventh decimal, and doubles hold them exactly.
    score = numerator / 128
    want = Decimal(score).quantize(Decimal("0.000001"), ROUND_HALF_EVEN)
    assert Decimal(score).as_tuple().digits[-1] == 5
    assert composite_score(DEFAULT, {"an_toan": score}) == float(want)


@pytest.mark.parametrize("score", [1.0000005, 2.0000015, 6.9999995, 7.0000025, 9.9999995, 1.5e-6, 2.5e-6])
def test_rounding_looks_at_the_double_and_not_at_its_shortest_spelling(score: float) -> None:
    want = Decimal(score).quantize(Decimal("0.000001"), ROUND_HALF_EVEN)  # of the exact double
    assert composite_score(DEFAULT, {"an_toan": score}) == float(want)


def test_the_sum_is_made_in_the_order_of_the_pillars() -> None:
    given = scores(0.1, 0.2, 0.3, 0.4)
    backwards = dict(reversed(given.items()))
    assert list(backwards) != list(given)
    policy = weighted(1e6, 1e-6, 3, 7)
    total = ((1e6 * 0.1 + 1e-6 * 0.2) + 3 * 0.3) + 7 * 0.4
    want = round(total / (((1e6 + 1e-6) + 3) + 7), 6)
    assert composite_score(policy, given) == composite_score(policy, backwards) == want


def test_only_pillars_given_count() -> None:
    policy = weighted(1, 2, 3, 4)
    assert composite_score(policy, {"an_toan": 9, "han_che_rui_ro": 4}) == 5  # (9 + 16) / 5
    assert composite_score(weighted(1, 0, 1, 1), {"duong_dai": 9}) is None  # what is given weighs nothing


@pytest.mark.parametrize(
    "floor, values, per_pillar, met",
    [
        (7, (7, 7, 7, 7), False, True),
        (7, (6.999999, 7, 7, 7), False, True),  # 6.99999975 is rounded to 7 before it is compared
        (7, (6.99999, 7, 7, 7), False, False),
        (7, (4, 10, 10, 10), False, True),
        (7, (4, 10, 10, 10), True, False),
        (7, (7, 7, 7, 7), True, True),
        (7, (6.9999999, 7, 7, 7), True, False),  # a single pillar is compared as it is
        (7.5, (7.5,), True, True),
        (0, (0,), True, True),
        (10, (10, 10), True, True),
        (10, (10, 9.99), False, False),
    ],
)
def test_the_floor(floor: float, values: tuple[float, ...], per_pillar: bool, met: bool) -> None:
    policy = parse_policy({"safety_floor": floor, "floor_per_pillar": per_pillar})
    assert derive(policy, parsed(pillars_scores=scores(*values))).safety_floor_met is met


def test_without_scores_the_floor_is_unknown_and_never_true() -> None:
    derived = derive(parse_policy({"safety_floor": 0}), parsed())
    assert (derived.composite_score, derived.safety_floor_met) == (None, None)
    unweighted = derive(weighted(1, 0, 1, 1), parsed(pillars_scores={"duong_dai": 10}))
    assert (unweighted.composite_score, unweighted.safety_floor_met) == (None, None)


def test_a_pillar_of_another_name_is_an_error() -> None:
    with pytest.raises(MalformedEntryError, match="pillars_scores"):
        parsed(pillars_scores={"an_toan": 8, "safety": 8})


def proof(kind: str, valid: bool = True) -> dict[str, Any]:
    return {"type": kind, "valid": valid}


# What makes each known type of proof hold; without it, it does not.
HOLDS: dict[str, dict[str, Any]] = {
    "safety_floor": {"pillars_scores": {"an_toan": 7}},
    "pillars": {"pillars_scores": scores(1, 1, 1, 1)},
    "k1_state": {"conflicts_detected": []},
    "rollback": {"rollback_available": True, "rollback_snapshot_hash": SNAPSHOT_HASH},
    "attribution_intact": {},
}
FAILS: dict[str, list[dict[str, Any]]] = {
    "safety_floor": [{}, {"pillars_scores": {"an_toan": 6.9}}],
    "pillars": [{}, {"pillars_scores": scores(9, 9, 9)}],
    "k1_state": [{"conflicts_detected": ["x"]}],
    "rollback": [{}, {"rollback_available": True}, {"rollback_snapshot_hash": SNAPSHOT_HASH}],
    "attribution_intact": [],  # another attribution is no entry at all
}


@pytest.mark.parametrize("kind", HOLDS)
def test_known_proofs_are_checked_against_the_entry(kind: str) -> None:
    def valid(facts: dict[str, Any], required: list[str], provided: list[dict[str, Any]]) -> bool:
        given = parsed(**facts, required_proofs=required, provided_proofs=provided)
        return derive(DEFAULT, given).proofs_valid

    holds = HOLDS[kind]
    assert valid(holds, [kind], [proof(kind)])
    assert valid(holds, [], [proof(kind)])
    assert valid(holds, [], [proof(kind, valid=False)])  # recorded, does not count
    assert not valid(holds, [kind], [proof(kind, valid=False)])
    assert not valid(holds, [kind], [])
    assert not valid(holds, [kind, "other"], [proof(kind)])
    for facts in FAILS[kind]:
        assert not valid(facts, [kind], [proof(kind)])
        assert not valid(facts, [], [proof(kind)])  # falsely claimed, though nobody asked
        assert valid(facts, [], [proof(kind, valid=False)])
        assert valid(facts, [], [])


def test_every_known_proof_is_tested() -> None:
    assert set(HOLDS) == set(FAILS) == set(CHECKED_PROOFS) - {"actor_signature"}  # that is in test_claims


@pytest.mark.parametrize("kind", ["code_review", "", "SAFETY_FLOOR"])
def test_a_proof_nobody_can_check_is_recorded_and_does_not_count(kind: str) -> None:
    claimed = parsed(provided_proofs=[proof(kind), proof("k1_state")])
    assert derive(DEFAULT, claimed).proofs_valid  # it harms nothing
    assert unverifiable_proofs(claimed) == [kind]
    asked = parsed(required_proofs=[kind], provided_proofs=[proof(kind)])
    assert not derive(DEFAULT, asked).proofs_valid
    assert unverifiable_proofs(parsed(provided_proofs=[proof(kind, valid=False)])) == []


def test_quorum() -> None:
    approvals = [{"signer": "a", "signature": "00", "timestamp": "t"}] * 5
    assert derive(DEFAULT, parsed()).quorum_met
    assert derive(DEFAULT, parsed(received_approvals=approvals)).quorum_met
    assert not derive(DEFAULT, parsed(required_approvals=1, received_approvals=approvals)).quorum_met


def test_k_state() -> None:
    assert derive(DEFAULT, parsed()).k_state == 1
    assert derive(DEFAULT, parsed(conflicts_detected=[""])).k_state == 0


def test_an_entry_derives_what_its_draft_derived() -> None:
    for facts in HOLDS.values():
        members = {**facts, "required_approvals": 2, "provided_proofs": [proof("k1_state")]}
        line = line_of({"event_type": "CHANGE", "action_type": "x", "actor_id": "a"}, **members)
        entry = read(line)
        assert derive(DEFAULT, entry) == derive(DEFAULT, parsed(**members))
        check_derived(derive(DEFAULT, entry), entry)
        strict = parse_policy({"safety_floor": 10})
        if entry.safety_floor_met:
            with pytest.raises(DerivedMemberError) as caught:
                check_derived(derive(strict, entry), entry)
            assert caught.value.member == "safety_floor_met"


@pytest.mark.parametrize("stated, derived", [(None, 8), (8, None), (0, None), (None, 0), (True, None)])
def test_null_is_not_nothing_and_not_zero(stated: Any, derived: Any) -> None:
    facts = {"pillars_scores": {"an_toan": derived}} if derived is not None else {}
    member = "safety_floor_met" if stated is True else "composite_score"
    given = parsed(**facts, **{member: stated})
    with pytest.raises(DerivedMemberError, match="is stated as"):
        check_derived(derive(DEFAULT, given), given)
