"""The kinds of event, each a method: what `append` does with the members that go with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from attestlog._internal.core.batch import Head
from attestlog._internal.core.entry import EntryDraft, EventType, MoreMembers, OptionalMembers
from attestlog._internal.core.receipt import Receipt
from attestlog._internal.core.reserved import PLACE_LEGAL_HOLD, RELEASE_LEGAL_HOLD
from attestlog._internal.core.rules import Hold, Rules, format_hold, release_of
from attestlog._internal.core.seen_head import seen_head
from attestlog._internal.log.erasing import change_draft


class Events:
    """Part of `Log`."""

    def append(self, draft: EntryDraft | Mapping[str, Any], /) -> Receipt:
        """See `Log.append`."""
        raise NotImplementedError

    def head(self) -> Head:
        """See `Log.head`."""
        raise NotImplementedError

    @property
    def rules(self) -> Rules:
        """See `Log.rules`."""
        raise NotImplementedError

    def action(self, action_type: str, *, actor_id: str, **members: Unpack[OptionalMembers]) -> Receipt:
        """Append an ACTION: something was executed."""
        return self._event(EventType.ACTION, action_type, actor_id, members)

    def decision(self, action_type: str, *, actor_id: str, **members: Unpack[OptionalMembers]) -> Receipt:
        """Append a DECISION: something was decided, or left undone."""
        return self._event(EventType.DECISION, action_type, actor_id, members)

    def violation(self, action_type: str, *, actor_id: str, **members: Unpack[OptionalMembers]) -> Receipt:
        """Append a VIOLATION: an invariant was broken, or an attempt blocked."""
        return self._event(EventType.VIOLATION, action_type, actor_id, members)

    def change(self, action_type: str, *, actor_id: str, **members: Unpack[OptionalMembers]) -> Receipt:
        """Append a CHANGE: rules, keys or configuration were modified."""
        return self._event(EventType.CHANGE, action_type, actor_id, members)

    def boot(self, action_type: str, *, actor_id: str, **members: Unpack[OptionalMembers]) -> Receipt:
        """Append a BOOT: a system started. The entry says which head of the log it saw."""
        return self._event(EventType.BOOT, action_type, actor_id, self._with_head(members))

    def shutdown(self, action_type: str, *, actor_id: str, **members: Unpack[OptionalMembers]) -> Receipt:
        """Append a SHUTDOWN: a system stopped in order. The entry says which head of the log it saw."""
        return self._event(EventType.SHUTDOWN, action_type, actor_id, self._with_head(members))

    def add_hold(
        self,
        name: str,
        *,
        reason: str,
        actor_id: str,
        start: int = 0,
        stop: int | None = None,
        **members: Unpack[MoreMembers],
    ) -> Receipt:
        """Forbid erasing the payloads of entries `start` up to `stop` (None: without end) until released.

        Raises as `append`, and RuleChangeError for a name that is taken or an approval that is missing.
        """
        payload = format_hold(Hold(name=name, start=start, stop=stop, reason=reason))
        return self.append(change_draft(PLACE_LEGAL_HOLD, payload, {"actor_id": actor_id, **members}))

    def release_hold(
        self, name: str, *, reason: str, actor_id: str, **members: Unpack[MoreMembers]
    ) -> Receipt:
        """End a legal hold. Raises as `append`, and RuleChangeError if there is none of this name."""
        payload = format_hold(release_of(self.rules, name, reason))
        return self.append(change_draft(RELEASE_LEGAL_HOLD, payload, {"actor_id": actor_id, **members}))

    def _event(
        self, event_type: EventType, action_type: str, actor_id: str, members: OptionalMembers
    ) -> Receipt:
        return self.append(
            {"event_type": event_type, "action_type": action_type, "actor_id": actor_id, **members}
        )

    def _with_head(self, members: OptionalMembers) -> OptionalMembers:
        head = self.head()
        snapshot: Any = members.get("system_state_snapshot", {})
        if not isinstance(snapshot, Mapping):
            return members  # `append` says what is wrong with it
        return {**members, "system_state_snapshot": {**seen_head(head.size, head.entry_hash), **snapshot}}
