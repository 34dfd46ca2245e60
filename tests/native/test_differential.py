"""The native core against the reference: it accepts what the reference comes to, in full."""

import os
from typing import Any

import pytest
from tests.native.fuzzing import Fuzzer
from tests.support.native import NEVER, by_core, by_reference, facts, native_core, rules_of

from attestlog._internal.verifying.accepting import Accepting

QUICK = 6_000
LINES = int(os.environ.get("ATTESTLOG_NATIVE_LINES", "200000"))
"""Of the long run; `make native-fuzz` asks for two million."""

SEED = int(os.environ.get("ATTESTLOG_NATIVE_SEED", "1"))

WEIGHED: dict[str, Any] = {
    "floor_per_pillar": True,
    "weights": {"an_toan": 2, "duong_dai": 0, "tin_vao_so_lieu": 0.5, "han_che_rui_ro": 1},
}
ASKING: dict[str, Any] = {
    "rules": {
        "proven": {"action_types": ["deploy"], "required_proofs": ["k1_state"]},
        "never": {"action_types": ["attestlog.x"], "deny": True, "reason": "no"},
        "root": {"actor_ids": ["ROOT"], "required_proofs": ["ci"]},
    },
}
POLICIES: tuple[dict[str, Any], ...] = ({}, WEIGHED, ASKING)


def differences(policy: dict[str, Any], cases: int, seed: int) -> tuple[int, int]:
    """How many were accepted, and of how many of these Python found something. Fails at a difference."""
    core, rules, fuzzer = native_core(), rules_of(policy), Fuzzer(seed)
    accepting = Accepting(core, NEVER)  # one for all: it remembers what is demanded of entries
    accepted = found = 0
    for _ in range(cases):
        lines = fuzzer.lines()
        taken = by_core(accepting, rules, lines)
        if taken is None:
            continue
        accepted += 1
        found += bool(taken.findings)
        assert facts(taken) == facts(by_reference(rules, lines)), lines
    return accepted, found


@pytest.mark.parametrize("policy", POLICIES, ids=["plain", "weighed", "asking"])
def test_what_is_accepted_is_what_the_reference_says(policy: dict[str, Any]) -> None:
    accepted, found = differences(policy, QUICK, SEED)
    assert accepted > QUICK // 5  # else little was compared
    assert found > 0


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES, ids=["plain", "weighed", "asking"])
def test_the_same_at_length(policy: dict[str, Any]) -> None:
    accepted, _ = differences(policy, LINES // 3, SEED + 1)
    assert accepted > LINES // 15
