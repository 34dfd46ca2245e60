"""What the rules of a policy ask of an entry: those that match its types, taken together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple, Self

from attestlog.core.glob import Glob

TYPES_REMEMBERED: Final = 1_024
"""Pairs of event and action type whose demand is kept: a log that makes up types must not fill memory."""


class Demand(NamedTuple):
    """Beside what the entry itself asks for."""

    required_proofs: tuple[str, ...] = ()
    required_approvals: int = 0
    roles: tuple[str, ...] = ()
    fails_open: bool = False
    """Whether a guarded act goes on when the log cannot write; it does not where no rule says so."""

    @property
    def needs_approval(self) -> bool:
        """Anybody's at all."""
        return bool(self.required_approvals or self.roles)

    @classmethod
    def of(cls, rule: Any) -> Self:
        """One rule's."""
        return cls(tuple(rule.required_proofs), rule.required_approvals, tuple(rule.roles), rule.fail_open)


NO_DEMAND: Final = Demand()

Matcher = tuple[tuple[Glob, ...], tuple[Glob, ...], Demand]
"""Globs over event types, globs over action types, what is then asked for."""


class Demands:
    """Finds the demand on an entry by its types, each pair once."""

    def __init__(self, rules: Iterable[Matcher]) -> None:
        self._rules = list(rules)
        self._known: dict[str, Demand] = {}

    def find(self, event_type: str, action_type: str) -> Demand:
        """What all rules that match ask for: every proof and role of any, the most approvals of any."""
        if not self._rules:
            return NO_DEMAND
        types = (
            event_type + " " + action_type
        )  # an event type has no space; as a pair, it is hashed in Python
        found = self._known.get(types)
        if found is None:
            found = self._find(event_type, action_type)
            if len(self._known) >= TYPES_REMEMBERED:
                self._known.clear()
            self._known[types] = found
        return found

    def _find(self, event_type: str, action_type: str) -> Demand:
        matching = [
            demand
            for event_globs, action_globs, demand in self._rules
            if any(glob.matches(event_type) for glob in event_globs)
            and any(glob.matches(action_type) for glob in action_globs)
        ]
        return Demand(
            tuple(dict.fromkeys(kind for demand in matching for kind in demand.required_proofs)),
            max((demand.required_approvals for demand in matching), default=0),
            tuple(dict.fromkeys(role for demand in matching for role in demand.roles)),
            bool(matching) and all(demand.fails_open for demand in matching),
        )
