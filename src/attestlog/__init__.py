"""attestlog: an append-only, hash-chained, signed log of what people and AI agents did.

Write:

    log = attestlog.create("audit", origin="example.com/agents")   # once; attestlog.open("audit") afterwards
    receipt = log.append(event_type="ACTION", action_type="deploy", actor_id="agent-7")

Read and verify, with no key at hand:

    report = attestlog.verify("audit")
    proof = attestlog.prove("audit", 7); attestlog.verify_proof(proof, trust=[vkey])
    for entry in attestlog.query_log("audit", event_type="VIOLATION", since="7d"): ...

`Entry` is what is stored, `EntryDraft` what a caller gives, `Receipt` what `append` returns.
Every exception is an `AttestlogError`; `attestlog.errors` draws the tree.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from attestlog._internal.version import VERSION
from attestlog.errors import AttestlogError

if TYPE_CHECKING:
    from attestlog._internal.core.entry import (
        ActorType,
        Entry,
        EntryDraft,
        EventCategory,
        EventType,
        ExecutionStatus,
    )
    from attestlog._internal.core.receipt import Receipt
    from attestlog._internal.core.report import Finding, Report, Verdict
    from attestlog._internal.log import Log
    from attestlog._internal.proving import prove
    from attestlog._internal.query import query_log
    from attestlog._internal.storage.publishing import publish_log as publish
    from attestlog._internal.verifying import verify_log as verify
    from attestlog._internal.verifying import verify_proof

    create = Log.create
    open = Log.open  # noqa: A001 - attestlog.open is the name people look for

__version__ = VERSION

_HOMES = {
    "ActorType": "core.entry",
    "Entry": "core.entry",
    "EntryDraft": "core.entry",
    "EventCategory": "core.entry",
    "EventType": "core.entry",
    "ExecutionStatus": "core.entry",
    "Finding": "core.report",
    "Log": "log",
    "Receipt": "core.receipt",
    "Report": "core.report",
    "Verdict": "core.report",
    "create": "log:Log.create",
    "open": "log:Log.open",
    "prove": "proving:prove",
    "publish": "storage.publishing:publish_log",
    "query_log": "query:query_log",
    "verify": "verifying:verify_log",
    "verify_proof": "verifying:verify_proof",
}
"""Where each name lives. Loaded when first asked for: a verifier never loads the writer, nor the reverse."""

__all__ = [
    "ActorType",
    "AttestlogError",
    "Entry",
    "EntryDraft",
    "EventCategory",
    "EventType",
    "ExecutionStatus",
    "Finding",
    "Log",
    "Receipt",
    "Report",
    "Verdict",
    "__version__",
    "create",
    "open",
    "prove",
    "publish",
    "query_log",
    "verify",
    "verify_proof",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, _, path = _HOMES[name].partition(":")
    found: Any = import_module(f"{__name__}._internal.{home}")
    for part in (path or name).split("."):
        found = getattr(found, part)
    globals()[name] = found
    return found
