"""Vectors of notes, checkpoints, genesis payloads, policies and a whole small log."""

from __future__ import annotations

import base64
import json
from hashlib import sha256

import msgspec
import rfc8785
from tests.support.curves import FORGED, NOT_REDUCED, SMALL_ORDER, pem_of, spki_of, ssh_line_of
from tests.support.people import Person, members_of
from tests.support.shapes import (
    BOOT,
    CHANGE,
    GOVERNED,
    LOG,
    NOW_US,
    ORIGIN,
    SHAPES,
    TIMESTAMP,
    change_for,
    ed25519_key,
    entry_id,
    p256_key,
    planned,
    prepared,
)
from tests.support.ssh import fido_line
from tests.vectors.makers.cases import Case, case, flipped, replaced, seal

from attestlog._internal.core.batch import Head, prepare
from attestlog._internal.core.checkpoint import Checkpoint, LogId, format_checkpoint
from attestlog._internal.core.deriving import derive
from attestlog._internal.core.entry import PILLARS, decode_line, parse_draft
from attestlog._internal.core.genesis import Genesis, Settings, Software, draft_genesis, parse_genesis
from attestlog._internal.core.note import ED25519, NoteSignature, VerifierKey, format_note, format_vkey
from attestlog._internal.core.policy import format_policy, parse_policy
from attestlog._internal.core.rules import Rules
from attestlog._internal.core.signature import public_key

# --- note, checkpoint ---

NOTE_KEY = ed25519_key("checkpoint")
VKEY = VerifierKey(ORIGIN, 1, NOTE_KEY.public_key().public_bytes_raw())
STRANGER = VerifierKey("example.com/stranger", 1, ed25519_key("stranger").public_key().public_bytes_raw())


def signed(text: str, *keys: VerifierKey) -> str:
    privates = {VKEY: NOTE_KEY, STRANGER: ed25519_key("stranger")}
    lines = [NoteSignature(key.name, key.key_id, privates[key].sign(text.encode())) for key in keys]
    return format_note(text, lines).decode()


def note() -> list[Case]:
    text = "one\n\nthree\n"
    good, both = signed(text, VKEY), signed(text, STRANGER, VKEY)
    vkeys = [format_vkey(VKEY)]
    bad, form = "verification.signature", "malformed.note"
    blob = base64.b64decode(good.split(" ")[-1])
    broken = base64.b64encode(blob[:-1] + bytes([blob[-1] ^ 1])).decode()
    padded = good.rstrip("\n")
    name, key_id, material = vkeys[0].split("+", 2)
    timestamped = base64.b64encode(b"\x04" + VKEY.public_key).decode()
    return [
        case("one signature", note=good, vkeys=vkeys, text=text),
        case("a stranger's signature is ignored", note=both, vkeys=vkeys, text=text),
        case("only a stranger's", "verification.trust", note=signed(text, STRANGER), vkeys=vkeys),
        case("text changed", bad, note=good.replace("one", "two"), vkeys=vkeys),
        case("signature changed", bad, note=good.replace(good.split(" ")[-1], f"{broken}\n"), vkeys=vkeys),
        case("one good, one bad by the same key", bad, note=f"{good}— {VKEY.name} {broken}\n", vkeys=vkeys),
        case("no line end", form, note=padded, vkeys=vkeys),
        case("no blank line", form, note=good.replace("\n\n", "\n"), vkeys=vkeys),
        case("carriage returns", form, note=good.replace("\n", "\r\n"), vkeys=vkeys),
        case("a tab", form, note=good.replace("one", "o\tne"), vkeys=vkeys),
        case("a hyphen for the dash", form, note=good.replace("—", "-"), vkeys=vkeys),
        case("a space in the name", form, note=good.replace("— example", "— exam ple"), vkeys=vkeys),
        case("base64 with other trailing bits", form, note=retrailed(good), vkeys=vkeys),
        case("vkey with another key ID", form, note=good, vkeys=[f"{name}+{flipped(key_id)}+{material}"]),
        case("vkey of another type", form, note=good, vkeys=[f"{name}+{key_id}+{timestamped}"]),
        *(
            case(
                f"vkey under which anybody signs, {number}",
                form,
                note=forged(text, point),
                vkeys=[weak_vkey(point)],
            )
            for number, point in enumerate([*SMALL_ORDER, *NOT_REDUCED], 1)
        ),
    ]


def weak_vkey(point: str) -> str:
    return format_vkey(VerifierKey(VKEY.name, ED25519, bytes.fromhex(point)))


def forged(text: str, point: str) -> str:
    """With a signature that verifies over any text under the neutral element."""
    key = VerifierKey(VKEY.name, ED25519, bytes.fromhex(point))
    blob = base64.b64encode(key.key_id + bytes.fromhex(FORGED)).decode()
    return f"{text}\n— {VKEY.name} {blob}\n"


def retrailed(text: str) -> str:
    """The same bytes in base64 whose unused last bits are not zero."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    head, last, tail = text.rstrip("=\n")[:-1], text.rstrip("=\n")[-1], text[len(text.rstrip("=\n")) :]
    assert tail.startswith("=")
    return head + alphabet[alphabet.index(last) + 1] + tail


def checkpoint() -> list[Case]:
    root = sha256(b"root").digest()
    b64 = base64.b64encode(root).decode()
    vkeys = [format_vkey(VKEY)]
    good = format_checkpoint(Checkpoint(ORIGIN, 20_852_163, root))
    empty = format_checkpoint(Checkpoint(ORIGIN, 0, sha256(b"").digest()))
    facts: Case = {"origin": ORIGIN, "size": 20_852_163, "root": root.hex()}
    texts = {
        "leading zero": f"{ORIGIN}\n020852163\n{b64}\n",
        "a sign": f"{ORIGIN}\n+1\n{b64}\n",
        "digits of another script": f"{ORIGIN}\n１２\n{b64}\n",
        "an underscore": f"{ORIGIN}\n1_0\n{b64}\n",
        "size beyond 2^63-1": f"{ORIGIN}\n9223372036854775808\n{b64}\n",
        "no origin": f"\n1\n{b64}\n",
        "an extension line": f"{good}extension\n",
        "two lines": f"{ORIGIN}\n1\n",
        "root of 31 bytes": f"{ORIGIN}\n1\n{base64.b64encode(root[:31]).decode()}\n",
        "root in hex": f"{ORIGIN}\n1\n{root.hex()}\n",
        "size 0 with another root": f"{ORIGIN}\n0\n{b64}\n",
        "base64 with other trailing bits": retrailed(f"{ORIGIN}\n1\n{b64}\n"),
    }
    form = "malformed.checkpoint"
    return [
        case("a checkpoint", note=signed(good, VKEY), vkeys=vkeys, **facts),
        case(
            "an empty log",
            note=signed(empty, VKEY),
            vkeys=vkeys,
            **{**facts, "size": 0, "root": sha256(b"").hexdigest()},
        ),
        case(
            "size changed",
            "verification.signature",
            note=signed(good, VKEY).replace("20852163", "20852164"),
            vkeys=vkeys,
        ),
        case("only a stranger's", "verification.trust", note=signed(good, STRANGER), vkeys=vkeys),
        *(case(name, form, note=signed(text, VKEY), vkeys=vkeys) for name, text in texts.items()),
    ]


# --- genesis, policy ---


def tiny_genesis() -> Genesis:
    key = public_key(p256_key().public_key())
    policy = parse_policy({"safety_floor": 7, "floor_per_pillar": False})
    return Genesis(ORIGIN, {key.key_id: key}, [VKEY], policy, Settings(), Software("attestlog", "1.0.0"))


def genesis() -> list[Case]:
    payload = json.loads(rfc8785.dumps(draft_genesis(tiny_genesis()).action_payload))
    (key,) = payload["entry_keys"]
    weak, weak_again = (
        {"algorithm": "Ed25519", "key_id": sha256(spki_of(point)).hexdigest(), "public_key": pem_of(point)}
        for point in (SMALL_ORDER[0], NOT_REDUCED[2])
    )
    weak_vkey = format_vkey(VerifierKey(ORIGIN, ED25519, bytes.fromhex(SMALL_ORDER[0])))
    continued = {
        "origin": "example.com/2025", "genesis": "a" * 64, "size": 7, "root": "b" * 64,
        "reason": "a new year",
    }  # fmt: skip
    changes: dict[str, Case] = {
        "origin with a space": {"origin": "example.com/a b"},
        "origin that is not the checkpoint key's name": {"origin": "example.com/other"},
        "no entry key": {"entry_keys": []},
        "the same key twice": {"entry_keys": [key, key]},
        "another key id": {"entry_keys": [{**key, "key_id": "0" * 64}]},
        "another algorithm": {"entry_keys": [{**key, "algorithm": "Ed25519"}]},
        "public key spelled otherwise": {"entry_keys": [{**key, "public_key": key["public_key"] + "\n"}]},
        "no checkpoint key": {"checkpoint_keys": []},
        "unknown policy": {"policy": {"floor": 7}},
        "no software": {"software": None},
        "unknown setting": {"settings": {"colour": "red"}},
        "segments of nothing": {"settings": {**payload["settings"], "segment_entries": 0}},
        "unknown member": {"colour": "red"},
        "no format": {"format": 0},
        "an entry key of small order": {"entry_keys": [weak]},
        "an entry key of small order in another spelling": {"entry_keys": [weak_again]},
        "a checkpoint key of small order": {"checkpoint_keys": [weak_vkey]},
        "continues nothing": {"continues": {}},
        "continues no entries": {"continues": {**continued, "size": 0}},
    }
    good = case("a genesis", payload=payload, origin=ORIGIN, key_ids=[key["key_id"]])
    payloads = {name: {**payload, **change} for name, change in changes.items()}
    more = [
        case("goes on from another log", payload={**payload, "continues": continued}, origin=ORIGIN,
             key_ids=[key["key_id"]]),
        case("of a later format", "newer_format", payload={**payload, "format": 2}),
    ]  # fmt: skip
    mutants = [case(name, "malformed.entry", payload=mutant) for name, mutant in payloads.items()]
    return [good, *more, *mutants]


HASH = sha256(b"what is approved").hexdigest()
POLICIES: dict[str, Case] = {
    "default": {},
    "weights": {"weights": {"an_toan": 3, "duong_dai": 2, "tin_vao_so_lieu": 1, "han_che_rui_ro": 1}},
    "each pillar": {"floor_per_pillar": True},
}
FACTS: dict[str, Case] = {
    "nothing scored": {},
    "all four": {"pillars_scores": dict(zip(PILLARS, (8.5, 9, 7.5, 6.9), strict=True))},
    "below the floor": {"pillars_scores": {"an_toan": 6.2}},
    "three of four": {"pillars_scores": {"an_toan": 7, "duong_dai": 8, "tin_vao_so_lieu": 9}},
    "half to even": {"pillars_scores": {"an_toan": 1.0078125}},
    "rounded up to the floor": {"pillars_scores": {"an_toan": 6.999999, "duong_dai": 7.0000004}},
    "conflicts": {"conflicts_detected": ["x"], "provided_proofs": [{"type": "k1_state", "valid": False}]},
    "proof refuted": {"provided_proofs": [{"type": "rollback", "valid": True}]},
    "proof missing": {"required_proofs": ["pillars"]},
    "proof of an unknown type": {"required_proofs": ["x"], "provided_proofs": [{"type": "x", "valid": True}]},
    "approvals asked for": {"required_approvals": 3, "received_approvals": CHANGE["received_approvals"]},
}


def policies() -> list[Case]:
    cases = []
    for policy_name, members in POLICIES.items():
        for name, facts in FACTS.items():
            draft = {"event_type": "ACTION", "action_type": "x", "actor_id": "a", **facts}
            place: Case = {"log": LOG._asdict(), "action_hash": HASH, "timestamp": TIMESTAMP}
            derived = derive(parse_policy(members), parse_draft(draft), LOG, HASH, TIMESTAMP)._asdict()
            facts_and_place: Case = {"policy": members, "facts": facts, **place}
            cases.append(case(f"{policy_name}: {name}", **facts_and_place, derived=derived))
    return [*cases, *demands(), *bad_policies()]


def demands() -> list[Case]:
    """What rules ask for, by who acts and what is done."""
    rules = {
        "pay": {"action_types": ["pay"], "required_approvals": 1},
        "large": {"action_types": ["pay*"], "actor_ids": ["Robot-*"], "required_approvals": 2,
                  "expires_max_s": 3_600},
        "night": {"action_types": ["pay_all"], "deny": True, "reason": "not at night"},
        "robots": {"actor_ids": ["robot-9"], "deny": True, "reason": "retired"},
    }  # fmt: skip
    people = members_of(Person("ana"), Person("bo"))
    members = {"rules": rules, "approvers": people}
    cases = []
    for action_type, actor_id in (
        ("pay", "ana"), ("pay", "robot-1"), ("pay", "ROBOT-1"), ("pay", "a robot-1"), ("pay_all", "ana"),
        ("read", "ana"), ("pay_all", "Robot-9"), ("pay", "\u0280obot-1"),
    ):  # fmt: skip
        demand = parse_policy(members).demand("ACTION", action_type, actor_id)
        asked: Case = {
            "required_approvals": demand.required_approvals, "expires_max_s": demand.expires_max_s,
            "denials": [denial._asdict() for denial in demand.denials],
        }  # fmt: skip
        facts = {"event_type": "ACTION", "action_type": action_type, "actor_id": actor_id}
        cases.append(case(f"demand: {action_type} by {actor_id}", policy=members, facts=facts, demand=asked))
    return cases


def bad_policies() -> list[Case]:
    weights = format_policy(parse_policy({}))["weights"]
    keys = {"keys": [Person("ana").public.pem]}
    others = {"keys": [Person("bo").public.pem]}
    bad: dict[str, Case] = {
        "weight below 0": {"weights": {**weights, "an_toan": -1}},
        "no weight at all": {"weights": dict.fromkeys(weights, 0)},
        "weight missing": {"weights": {"an_toan": 1}},
        "weight too large": {"weights": {**weights, "an_toan": 1e308}},
        "pillar unknown": {"weights": {**weights, "safety": 1}},
        "floor above 10": {"safety_floor": 10.5},
        "member unknown": {"floor": 7},
        "a rule that denies without a reason": {"rules": {"r": {"deny": True}}},
        "a reason without a denial": {"rules": {"r": {"reason": "x"}}},
        "a rule that denies and asks": {"rules": {"r": {"deny": True, "reason": "x", "fail_open": True}}},
        "approvals for over 30 days": {"rules": {"r": {"expires_max_s": 2_592_001}}},
        "approvals for no time": {"rules": {"r": {"expires_max_s": 0}}},
        "actors beyond ASCII": {"rules": {"r": {"actor_ids": ["\u00e4*"]}}},
        "no actors": {"rules": {"r": {"actor_ids": []}}},
        "two approvers who differ in case": {"approvers": {"ana": keys, "Ana": others}},
        "an approver and an actor who differ in case": {
            "approvers": {"ana": keys},
            "actors": {"ANA": others},
        },
        "an approver with a space": {"approvers": {"ana b": keys}},
        "an approver beyond ASCII": {"approvers": {"an\u00e1": keys}},
        "an approver with an invisible character": {"approvers": {"ana\u200b": keys}},
        "an actor with a FIDO key": {"actors": {"ana": {"keys": [fido_line(Person("ana"))]}}},
        **{
            f"{who} whose key is {what}": {members: {"ana": {"keys": [text]}}}
            for who, members in (("an approver", "approvers"), ("an actor", "actors"))
            for what, text in (
                ("of small order", pem_of(SMALL_ORDER[4])),
                ("not reduced", pem_of(NOT_REDUCED[0])),
                ("of small order, of OpenSSH", ssh_line_of(SMALL_ORDER[0])),
            )
        },
        "one key in two spellings": {
            "approvers": {"ana": {"keys": [keys["keys"][0], fido_line(Person("ana"))]}}
        },
    }
    return [*(case(name, "malformed.policy", policy=members) for name, members in bad.items())]


# --- a whole log ---


def log() -> list[Case]:
    """Eight entries: the genesis, the six shapes in two batches, cut after the CHANGE, and one more."""
    key, made = p256_key(), msgspec.structs.replace(tiny_genesis(), policy=GOVERNED)
    first = prepare(draft_genesis(made), made.policy, entry_id=entry_id(0), environment={})
    plans, lines, head, rules = [planned([first], key, Head())], list[str](), Head(), Rules.of(made)
    log = LogId(ORIGIN, plans[0].head.entry_hash)
    governed: Case = {"policy": GOVERNED, "log": log, "now_us": NOW_US}
    shapes = {**SHAPES, "CHANGE": change_for(log)}
    six = [prepared(shape, number, **governed) for number, shape in enumerate(shapes.values(), 1)]
    plans = []
    for later, items in enumerate(([first], six[:4], six[4:], [prepared(BOOT, 7)])):
        plans.append(planned(items, key, head, now_us=NOW_US + later, pointers=rules.pointers))
        lines += seal(plans[-1], key)
        head = plans[-1].head
        if len(lines) == 1:
            rules = Rules.of(parse_genesis(decode_line(lines[0].encode())))
        rules, _ = rules.following(line.encode() for line in lines[1:])
    edge = plans[-1].head.edge
    note = signed(format_checkpoint(Checkpoint(ORIGIN, 8, edge.root())), VKEY)
    entries = [json.loads(line) for line in lines]
    facts = {
        "checkpoint": note,
        "vkey": format_vkey(VKEY),
        "entry_key": public_key(key.public_key()).pem,
        "root": edge.root().hex(),
        "genesis_hash": entries[0]["entry_hash"],
        "leaf_hashes": [leaf.hex() for plan in plans for leaf in plan.leaves],
    }
    edited = replaced(lines[1], '"lines_changed":412', '"lines_changed":413')
    unsigned = replaced(lines[7], entries[7]["hsm_signature"], "00")
    foreign = replaced(lines[7], entries[7]["signing_key_id"], "0" * 64)
    # A mutant's lines are numbers of lines above, or texts in their place.
    mutants: dict[str, tuple[str, list[int | str], Case]] = {
        "payload edited": ("entry.action_hash", [0, edited, 2, 3, 4, 5, 6, 7], {}),
        "entry dropped": ("entry.sequence", [0, 1, 2, 4, 5, 6, 7], {}),
        "entries swapped": ("entry.sequence", [0, 2, 1, 3, 4, 5, 6, 7], {}),
        "signature replaced": ("entry.signature", [0, 1, 2, 3, 4, 5, 6, unsigned], {}),
        "key replaced": ("entry.signing_key", [0, 1, 2, 3, 4, 5, 6, foreign], {}),
        "another spelling": ("entry.canonical", [0, 1, 2, 3, 4, 5, 6, lines[7].replace(":", ": ", 1)], {}),
        "not an entry": ("entry.malformed", [0, 1, 2, 3, "{}", 5, 6, 7], {}),
        "last entry cut": ("checkpoint.ahead", [0, 1, 2, 3, 4, 5, 6], {}),
        "no genesis": ("log.no_genesis", [1, 2, 3, 4, 5, 6, 7], {}),
        "checkpoint of another size": (
            "checkpoint.root",
            list(range(8)),
            {"checkpoint": signed(format_checkpoint(Checkpoint(ORIGIN, 7, edge.root())), VKEY)},
        ),
        "checkpoint by a stranger": (
            "checkpoint.signature",
            list(range(8)),
            {"checkpoint": signed(format_checkpoint(Checkpoint(ORIGIN, 8, edge.root())), STRANGER)},
        ),
    }
    good = case("a log of eight entries", lines=lines, **facts)
    bad = [case(name, code, lines=mutant, **extra) for name, (code, mutant, extra) in mutants.items()]
    return [good, *bad]
