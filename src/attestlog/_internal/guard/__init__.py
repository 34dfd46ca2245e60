"""Decide, act, record: the form in which an agent does what must be accounted for.

    with log.guard(action_type="deploy", actor_id="agent-7", action_payload={...}) as act:
        act.result = deploy()

Before the act a DECISION entry is durable. Below the safety floor, with
conflicts, without the proofs or approvals asked for, a VIOLATION is written
instead, and the act does not happen. Afterwards an ACTION (or CHANGE) entry
says how it ended. It decides nothing itself: the policy in the log does.
"""

from attestlog._internal.guard.act import Guard, GuardMembers, ResumeMembers
from attestlog._internal.guard.binding import bind
from attestlog._internal.guard.checking import Reason
from attestlog._internal.guard.counting import NumberedActor

__all__ = ["Guard", "GuardMembers", "NumberedActor", "Reason", "ResumeMembers", "bind"]
