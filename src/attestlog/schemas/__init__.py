"""JSON Schemas (2020-12) of entries and drafts, made from the types in `core.entry`.

The files beside this one are what `python -m attestlog.schemas` writes; a test
keeps them current. They judge shapes: spelling, hashes, signatures and what
follows from the policy are for the verifier.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from attestlog._internal.core.entry import (
    APPROVAL_MEMBERS,
    PILLARS,
    SCHEMA_VERSION,
    Entry,
    EntryDraft,
    json_schema,
)
from attestlog._internal.core.pointer import HOLDS_MEMBER, POINTER_PATTERN, RULES_MEMBER
from attestlog._internal.core.reserved import ENVIRONMENT_MEMBER

__all__ = ["KINDS", "format_schema", "make_schema", "schema_path"]

KINDS: Final[dict[str, type[Entry | EntryDraft]]] = {"entry": Entry, "draft": EntryDraft}

_DESCRIPTIONS: Final = {
    "entry": "One entry of a log, exactly as stored; docs/spec/entry.md says what each member means.",
    "draft": "What a caller may say of an entry; the log assigns the rest and derives what it can.",
}
_SIGNATURE: Final = "^[0-9a-f]+(:[0-9]{1,4}/[0-9]{1,4}:([0-9a-f]{64})*)?$"


def schema_path(kind: str) -> Path:
    """The file that holds this schema."""
    return Path(__file__).parent / f"{kind}.schema.json"


def make_schema(kind: str) -> dict[str, Any]:
    """The schema of `entry` or `draft`, with what the types alone do not say."""
    made = json_schema(KINDS[kind])
    members = made["$defs"].pop(KINDS[kind].__name__)
    properties = members["properties"]
    properties["pillars_scores"]["propertyNames"] = {"enum": list(PILLARS)}
    properties["received_approvals"]["items"]["required"] = list(APPROVAL_MEMBERS)
    properties["provided_proofs"]["items"] |= {
        "properties": {"type": {"type": "string"}, "valid": {"type": "boolean"}},
        "required": ["type", "valid"],
    }
    if kind == "entry":
        pointer = {"type": "string", "pattern": f"^{POINTER_PATTERN}$"}
        properties["environment"]["properties"] = {HOLDS_MEMBER: pointer, RULES_MEMBER: pointer}
    else:
        properties["environment"]["propertyNames"] = {"not": {"pattern": f"^{ENVIRONMENT_MEMBER}(_|$)"}}
    if "hsm_signature" in properties:
        properties["hsm_signature"]["pattern"] = _SIGNATURE
    head = {
        "$schema": made["$schema"],
        "$id": f"urn:attestlog:schema:{kind}:{SCHEMA_VERSION}",
        "title": f"attestlog {kind}",
        "description": _DESCRIPTIONS[kind],
    }
    body = {name: value for name, value in members.items() if name not in head}
    return {**head, **body, "$defs": made["$defs"]}


def format_schema(kind: str) -> str:
    """The text of the schema's file."""
    return json.dumps(make_schema(kind), indent=2, ensure_ascii=False) + "\n"
