"""The filters of a query, as options that several verbs share."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from attestlog._internal.cli import options
from attestlog._internal.cli.verbs import UsageError
from attestlog._internal.core.entry import ActorType, EventCategory, EventType, ExecutionStatus

EventTypeOption = Annotated[EventType | None, options.choice(EventType, "What kind of event.")]
EventCategoryOption = Annotated[EventCategory | None, options.choice(EventCategory, "How serious.")]
SeverityOption = Annotated[int | None, options.text("Severity exactly N.", metavar="N")]
SeverityMinOption = Annotated[int | None, options.text("Severity N or more.", metavar="N")]
ActorTypeOption = Annotated[ActorType | None, options.choice(ActorType, "What kind of actor.")]
ActorIdOption = Annotated[str | None, options.text("Name or id of the actor.", metavar="ID")]
ActionTypeOption = Annotated[
    str | None, options.text("The action; * matches any characters, ? one.", metavar="GLOB")
]
ExecutionStatusOption = Annotated[ExecutionStatus | None, options.choice(ExecutionStatus, "How it ended.")]
SinceOption = Annotated[
    str | None, options.text("Start: RFC 3339, or 45s, 30m, 2h, 7d, 1w ago.", metavar="TIME")
]
UntilOption = Annotated[str | None, options.text("End (exclusive), as --since.", metavar="TIME")]
TextOption = Annotated[str | None, options.text("Words in names, payload, result or error.", metavar="WORDS")]
PayloadOption = Annotated[
    list[str] | None, options.text("Value of a payload member; repeatable.", metavar="PATH=VALUE")
]
ContextOption = Annotated[
    list[str] | None,
    options.text("Value of a member of actor_context; repeatable.", "--context", metavar="PATH=VALUE"),
]

_NAMES: Final = (
    "event_type", "event_category", "severity", "severity_min", "actor_type", "actor_id", "action_type",
    "execution_status", "since", "until", "text",
)  # fmt: skip


def members(context: typer.Context) -> dict[str, Any]:
    """The members that were given. Raises UsageError, QueryError for what is no condition on a member."""
    from attestlog._internal.query import parse_condition

    given = {name: context.params.get(name) for name in _NAMES}
    found: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    for name, option in (("payload", "payload"), ("context", "actor_context")):
        if given_conditions := context.params.get(option):
            conditions = dict(parse_condition(text, name) for text in given_conditions)
            if len(conditions) < len(given_conditions):
                raise UsageError(f"--{name} is given twice for one member: no entry has both values")
            found[name] = conditions
    return found
