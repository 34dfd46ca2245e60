"""Numbering what an actor records, so that what never reached the log is missed.

Each entry carries a `counter`, 1 and then one more each, and the `session` it
counts in, in `actor_context`. A verifier reports gaps and repeats. A crash of
the client ends its session; the next one begins at 1 again.
"""

from __future__ import annotations

import threading
import uuid
from typing import Any, Final, Unpack

from attestlog._internal.core.entry import EventType, EventTypeName, OptionalMembers
from attestlog._internal.core.receipt import Receipt
from attestlog._internal.guard.contract import GuardedLog

COUNTER: Final = "counter"
SESSION: Final = "session"


class NumberedActor:
    """One client of an actor. Threads may share it: the order of the numbers is that of the entries."""

    def __init__(self, log: GuardedLog, actor_id: str, *, session: str | None = None) -> None:
        """`session`: one that was not used before; without it, a new one."""
        self._log, self.actor_id = log, actor_id
        self.session = session or str(uuid.uuid4())
        self._count = 0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"NumberedActor({self.actor_id!r}, session={self.session!r})"

    def append(
        self,
        *,
        event_type: EventType | EventTypeName,
        action_type: str,
        **members: Unpack[OptionalMembers],
    ) -> Receipt:
        """Append one entry of this actor's, numbered. Raises as `Log.append`.

        What could not be committed leaves a gap: that is what happened.
        """
        draft: dict[str, Any] = {
            "event_type": event_type, "action_type": action_type, "actor_id": self.actor_id, **members
        }  # fmt: skip
        given = draft.get("actor_context", {})
        with self._lock:
            draft["actor_context"] = {**given, COUNTER: self._count + 1, SESSION: self.session}
            # Entered in this order, committed in this order; a draft that is refused is refused here.
            future = self._log.submit(draft)
            self._count += 1
        return future.result()

    def heartbeat(self, **payload: Any) -> Receipt:
        """An entry that says that the actor is alive, and how far it has counted."""
        return self.append(event_type="ACTION", action_type="heartbeat", action_payload=payload)
