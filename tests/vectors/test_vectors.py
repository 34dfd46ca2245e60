"""Our code judges our own vectors rightly, and the files are what `python -m tests.vectors.make` writes."""

import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from tests.support.shapes import ENVIRONMENT, entry_id, read
from tests.vectors.make import FOLDER, MAKERS, format_vectors
from tests.vectors.reading import CASES, NAMES, Case, document, lay_out

import attestlog
from attestlog._internal.core import approval, canonical, merkle, tiles
from attestlog._internal.core import entry as entries
from attestlog._internal.core.approval import Request, parse_approval
from attestlog._internal.core.batch import prepare
from attestlog._internal.core.bundle import parse_item
from attestlog._internal.core.checkpoint import LogId, open_checkpoint
from attestlog._internal.core.compression import encode_index
from attestlog._internal.core.consistency import open_consistency
from attestlog._internal.core.cosignature import open_signed_checkpoint
from attestlog._internal.core.deriving import derive
from attestlog._internal.core.entry import (
    EventType,
    ExecutionStatus,
    check_canonical,
    decode_line,
    parse_draft,
)
from attestlog._internal.core.erasure import check_erasure, erase_line, parse_erasure
from attestlog._internal.core.genesis import parse_genesis
from attestlog._internal.core.hashes import GENESIS_PREV_HASH, hex_hash, leaf_hash
from attestlog._internal.core.lines import whole_lines
from attestlog._internal.core.merkle import Span
from attestlog._internal.core.note import format_vkey, open_note, parse_vkey
from attestlog._internal.core.policy import Policy, parse_policy
from attestlog._internal.core.proof import open_proof
from attestlog._internal.core.redaction import find_nonces, subkey, verify_commitment
from attestlog._internal.core.report import Verdict
from attestlog._internal.core.reserved import GOVERNING, KNOWN, acts, check_reserved, governs
from attestlog._internal.core.rules import Rules, parse_hold
from attestlog._internal.core.signature import load_public_key, verify_entry_signature
from attestlog._internal.core.snapshot import HEADER, Kind, Node, TreeHasher, format_node
from attestlog._internal.core.trust import format_trust_policy, open_trusted_checkpoint, parse_trust_policy
from attestlog._internal.core.uses import Uses, use_of
from attestlog._internal.core.witness import Seen, judge, parse_add_checkpoint
from attestlog._internal.judging.erasures import look
from attestlog._internal.judging.relations import Relations
from attestlog._internal.judging.scan import State, count_pointer, scan, tell_wrong_pointers
from attestlog._internal.snapshots import verify_snapshot
from attestlog._internal.storage.files.packed import PackedSegment, codec
from attestlog._internal.verifying import bundle as bundles
from attestlog.errors import (
    AttestlogError,
    ChainBrokenError,
    HashMismatchError,
    MissingExtraError,
    NotFoundError,
    QuorumError,
    RuleChangeError,
    VerificationError,
)

# Each judge raises an error of ours, or returns what the case says it found, by name.


def judge_canonical(case: Case) -> Case:
    data = bytes.fromhex(case["input_hex"]) if "input_hex" in case else case["input"]
    value = canonical.decode(data)
    assert canonical.encode_reference(value) == canonical.encode(value)
    return {"canonical": canonical.encode(value).decode()}


def judge_entry(case: Case) -> Case:
    if "draft" in case:
        prepare(parse_draft(case["draft"]), Policy(), entry_id=entry_id(0), environment=ENVIRONMENT)
        return {}
    line = case["line"].encode()
    entry = read(line)
    entry_hash, action_hash = entries.canonical_hashes(entry, line)
    assert action_hash in {entry.action_hash, None}
    preimage = entries.preimage(entry).decode()
    return {"preimage": preimage, "entry_hash": entry_hash, "action_hash": entry.action_hash}


def judge_hashes(case: Case) -> Case:
    previous, found = GENESIS_PREV_HASH, []
    for number, text in enumerate(case["lines"]):
        line = text.encode()
        entry = decode_line(line)
        check_canonical(entry, line)
        if entries.canonical_hashes(entry, line) != (entry.entry_hash, entry.action_hash):
            raise HashMismatchError(f"entry {number}")
        if entry.prev_entry_hash != previous or entry.sequence_number != number:
            raise ChainBrokenError(f"entry {number}")
        previous = entry.entry_hash
        found.append(previous)
    return {"entry_hashes": found}


def judge_signature(case: Case) -> Case:
    key = load_public_key(case["public_key"].encode())
    verify_entry_signature(key, case["algorithm"], case["hsm_signature"], case["entry_hash"])
    return {"key_id": key.key_id}


def judge_merkle(case: Case) -> Case:
    if "index" in case:
        leaf, path, root = (bytes.fromhex(case[name]) for name in ("leaf_hash", "path", "root"))
        merkle.verify_inclusion(leaf, case["index"], case["size"], path, root)
        return {}
    if "old_size" in case:
        proof, old_root, root = (bytes.fromhex(case[name]) for name in ("proof", "old_root", "root"))
        merkle.verify_consistency(case["old_size"], case["size"], proof, old_root, root)
        return {}
    data = [sha256(number.to_bytes(4, "big")).digest() for number in range(case["size"])]
    return {"root": Span().extended(map(leaf_hash, data)).root().hex()}


def judge_note(case: Case) -> Case:
    return {"text": open_note(case["note"].encode(), [parse_vkey(vkey) for vkey in case["vkeys"]]).text}


def judge_checkpoint(case: Case) -> Case:
    found = open_checkpoint(case["note"].encode(), [parse_vkey(vkey) for vkey in case["vkeys"]])
    return {"origin": found.origin, "size": found.size, "root": found.root.hex()}


def judge_genesis(case: Case) -> Case:
    line = next(case["line"] for case in CASES["entry"] if case["name"] == "shape BOOT").encode()
    stored = json.loads(line)
    stored |= {"action_type": "attestlog.genesis", "action_payload": case["payload"]}
    found = parse_genesis(decode_line(json.dumps(stored).encode()))
    return {"origin": found.origin, "key_ids": list(found.entry_keys)}


def judge_tiles(case: Case) -> Case:
    if "path" in case:
        place = tiles.parse_path(case["path"])
        assert tiles.format_path(place) == case["path"]
        return dataclasses.asdict(place)
    files = {path: bytes.fromhex(content) for path, content in case["files"].items()}
    trusted = tiles.TrustedTiles(
        case["size"], bytes.fromhex(case["root"]), lambda tile: files[tiles.format_path(tile)]
    )
    for tile in tiles.plan_tiles(0, case["size"]):
        leaves = trusted.tile(tile.level, tile.index)
        if tile.level == 0:
            bundle = tiles.Bundle(tile.index, tile.width)
            entry_hashes = tiles.decode_bundle(files[tiles.format_path(bundle)], bundle.width)
            tiles.verify_bundle(entry_hashes, leaves, tile.index * 256)
    return {}


def judge_compression(case: Case) -> Case:
    try:
        codec()
    except MissingExtraError:
        pytest.skip("no zstd here")
    data = bytes.fromhex(case["file"])
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        segment = PackedSegment(file.fileno())
        found = list(segment.lines(0, segment.size))
        frames = [[frame.packed_size, frame.size] for frame in segment.index.frames]
        assert data.endswith(encode_index([(packed, size) for packed, size in frames]))
    assert all(line.is_complete for line in found)
    return {"frames": frames, "lines": [line.data.decode() for line in found]}


def judge_bundle(case: Case) -> Case:
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_text(case["bundle"], encoding="utf-8")
        report = bundles.judge_bundle(file.name, trust=case["vkeys"])
    faults = [finding for finding in report.findings if finding.verdict != Verdict.VERIFIED]
    if faults:
        raise VerificationError(faults[0].message, finding=faults[0].code)
    items = [parse_item(line.encode()) for line in case["bundle"].splitlines(keepends=True)[1:]]
    return {"numbers": [json.loads(item.line)["sequence_number"] for item in items if item.is_asked]}


def judge_cosignature(case: Case) -> Case:
    found = open_signed_checkpoint(case["note"].encode(), [parse_vkey(vkey) for vkey in case["vkeys"]])
    signatures = [{"vkey": format_vkey(item.key), "timestamp": item.timestamp} for item in found.signatures]
    facts = {"origin": found.checkpoint.origin, "size": found.checkpoint.size}
    return {**facts, "root": found.checkpoint.root.hex(), "signatures": signatures, "unknown": found.unknown}


def judge_trust(case: Case) -> Case:
    policy = parse_trust_policy(case["policy"].encode())
    if "spelled" in case:
        return {"spelled": format_trust_policy(policy).decode()}
    try:
        found = open_trusted_checkpoint(case["note"].encode(), policy)
    except QuorumError as error:
        assert error.have == case["have"]  # noqa: PT017 - which error it is, the caller judges
        raise
    return {"have": [name for name, _ in found.witnesses]}


def judge_proof(case: Case) -> Case:
    keys = [load_public_key(pem.encode()) for pem in case.get("entry_keys", [])]
    found = open_proof(case["proof"].encode(), parse_trust_policy(case["policy"].encode()), entry_keys=keys)
    checkpoint = found.checkpoint.signed.checkpoint
    return {
        "index": found.entry.sequence_number,
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "entry_hash": found.entry.entry_hash,
        "has_payload": found.entry.action_payload is not None,
        "entry_key": found.key and found.key.key_id,
    }


def judge_consistency(case: Case) -> Case:
    found = open_consistency(case["proof"].encode(), parse_trust_policy(case["policy"].encode()))
    checkpoint = found.checkpoint.signed.checkpoint
    return {
        "old_size": found.old_size,
        "old_root": found.old_root.hex(),
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "origin": checkpoint.origin,
    }


def judge_witness(case: Case) -> Case:
    request = parse_add_checkpoint(case["request"].encode())
    key = parse_vkey(case["vkey"])
    seen = Seen(case["seen_size"], bytes.fromhex(case["seen_root"]))
    judged = judge(request, {key.name: [key]}, seen)
    checkpoint = judged.checkpoint
    return {"size": checkpoint.size, "root": checkpoint.root.hex(), "note": judged.note().decode()}


def judge_policy(case: Case) -> Case:
    if "lines" in case:
        return {"held": changes_that_held(case["lines"])}
    policy = parse_policy(case["policy"])
    if "demand" in case:
        demand = policy.demand(**case["facts"])
        denials = [denial._asdict() for denial in demand.denials]
        asked = {"required_approvals": demand.required_approvals, "expires_max_s": demand.expires_max_s}
        return {"demand": {**asked, "denials": denials}}
    draft = {"event_type": "ACTION", "action_type": "x", "actor_id": "a", **case["facts"]}
    place = LogId(**case["log"]), case["action_hash"], case["timestamp"]
    return {"derived": derive(policy, parse_draft(draft), *place)._asdict()}


def changes_that_held(lines: list[str]) -> list[int]:
    """The numbers of the entries that changed the rules."""
    first, *others = [decode_line(line.encode()) for line in lines]
    rules, held = Rules.of(parse_genesis(first)), []
    for entry in others:
        with contextlib.suppress(RuleChangeError):
            rules = rules.after(entry)
            held.append(entry.sequence_number)
    return held


def judge_approval(case: Case) -> Case:
    if "file" in case:
        found = msgspec.to_builtins(parse_approval(case["file"].encode()))
        return {"approval": found}
    policy = parse_policy(case["policy"])
    if "entries" in case:
        return {"used_by": find_uses(policy, LogId(**case["log"]), case["entries"])}
    request = Request(**case["request"])
    return {"codes": [judged.code for judged in approval.judge_approvals(policy, case["approvals"], request)]}


def find_uses(policy: Policy, log: LogId, given: list[Case]) -> list[list[int]]:
    """[entry, entry that used its request before], for each further use."""
    known, found = Uses(), []
    for item in given:
        facts = parse_draft(item["facts"])
        action_hash = hex_hash(canonical.encode(facts.action_payload))
        request = Request.of(facts, log, action_hash, item["timestamp"])
        judged = approval.judge_approvals(policy, facts.received_approvals, request)
        number, entry_id = item["sequence_number"], item["entry_id"]
        use = use_of(policy, facts, request, judged, sequence_number=number, entry_id=entry_id)
        by = None if use is None else known.add(use)
        if by is not None:
            found.append([number, by])
    return found


def judge_rotation(case: Case) -> Case:
    first, *others = [decode_line(line.encode()) for line in case["lines"]]
    rules = Rules.of(parse_genesis(first))
    for entry in others:
        rules = rules.after(entry) if governs(entry) else rules
    terms = {key_id: [term.start, term.stop, term.last_trusted] for key_id, term in rules.terms.items()}
    return {"origin": rules.origin, "key_ids": rules.key_ids, "terms": terms}


def judge_rules(case: Case) -> Case:
    if "draft" in case:
        check_reserved(parse_draft(case["draft"]))
        return {}
    if "acts" in case:
        name = case["action_type"]
        return {"acts": acting(name), "governs": name in GOVERNING, "is_newer": name not in KNOWN}
    found, rules = scanned(case)
    if found:
        raise VerificationError(f"entry {found[0][1]}", finding=found[0][0])
    return {"findings": [], "pointers": rules.pointers._asdict()}


def acting(action_type: str) -> list[list[str]]:
    """Event types and statuses with which an entry of this name acts."""
    line = json.loads(CASES["rules"][0]["lines"][1])
    return [
        [event_type, status]
        for event_type in EventType
        for status in ExecutionStatus
        if acts(
            decode_line(
                canonical.encode(
                    line
                    | {
                        "action_type": action_type,
                        "event_type": str(event_type),
                        "execution_status": str(status),
                    }
                )
            )
        )
    ]


def scanned(case: Case) -> tuple[list[list[Any]], Rules]:
    """What is found of the rules in these lines, in order, and the rules after them."""
    elsewhere = {int(number): line.encode() for number, line in case.get("elsewhere", {}).items()}

    def fetch(number: int) -> bytes:
        line: str | None = case["lines"][number]
        if line is None and number not in elsewhere:
            raise NotFoundError(f"entry {number} cannot be read")
        return line.encode() if line is not None else elsewhere[number]

    rules = Rules.of(parse_genesis(decode_line(case["lines"][0].encode())))
    state, findings, wrong, unjudged = State(), [], dict[Any, Any](), (0, 0)
    relations = Relations()
    for line in case["lines"]:
        if line is None:
            state = msgspec.structs.replace(
                state, previous=None, batch=None, is_synced=False, knows_rules=False
            )
            continue
        part = scan(rules, whole_lines([line.encode()]), state, fetch=fetch)
        state, rules = part.state, part.rules or rules
        findings += part.findings
        list(relations.add(part))
        for key, value in part.wrong_pointers.items():
            count_pointer(wrong, key, value)
        unjudged = unjudged if unjudged[1] else part.unjudged
    given = [line.encode() for line in case["lines"] if line is not None]
    findings += relations.erasures.settle(lambda wanted, _: [look(wanted, whole_lines(given))])
    findings += tell_wrong_pointers(wrong)
    found = [[item.code, item.sequence_number] for item in findings if item.verdict != Verdict.VERIFIED]
    return found + ([["entry.unjudged", unjudged[0]]] if unjudged[1] else []), rules


def judge_redaction(case: Case) -> Case:
    shown = bytes.fromhex(case["subkey_hex"])
    verify_commitment(case["commitment"], case["value"], shown)
    made = subkey(bytes.fromhex(case["key_hex"]), bytes.fromhex(case["nonce_hex"]))
    return {"subkey_hex": made.hex(), "nonce_hex": find_nonces(case["commitment"])[0].hex()}


def judge_erasure(case: Case) -> Case:
    if "findings" in case:
        return judge_rules(case)
    if "lines" in case:
        return {"held": changes_that_held(case["lines"])}
    if "line" in case:
        return {"erased": erase_line(case["line"].encode()).decode()}
    holds = {hold["name"]: parse_hold(hold) for hold in case["holds"]}
    rules = Rules("example.com/agents", {}, parse_policy(case["policy"]), {}, read_holds=holds)
    check_erasure(rules, parse_erasure(case["erasure"]), case["timestamp"])
    return {}


def judge_snapshot(case: Case) -> Case:
    if "content" in case:
        verify_snapshot(case["content"].encode(), case["hash"])
        return {}
    nodes = [
        Node(
            Kind(node["kind"]), bytes.fromhex(node["path_hex"]), node["mode"],
            node["size_bytes"], node["content_hash"],
        )
        for node in case["nodes"]
    ]  # fmt: skip
    hasher = TreeHasher()
    for node in nodes:
        hasher.add(node)
    manifest = HEADER + b"".join(map(format_node, nodes))
    assert sha256(manifest).hexdigest() == case["hash"]
    return {"manifest": manifest.decode(), "hash": hasher.hexdigest()}


JUDGES: dict[str, Callable[[Case], Case]] = {
    name.removeprefix("judge_"): judge for name, judge in list(globals().items()) if name.startswith("judge_")
}


@pytest.mark.parametrize(
    "name, case",
    [pytest.param(name, case, id=f"{name}: {case['name']}") for name in JUDGES for case in CASES[name]],
)
def test_a_vector_is_judged_rightly(name: str, case: Case) -> None:
    if case["error"] is None:
        found = JUDGES[name](case)
        assert found == {member: case[member] for member in found}
    else:
        with pytest.raises(AttestlogError) as caught:
            JUDGES[name](case)
        assert case["error"] in {caught.value.code, caught.value.evidence().get("finding")}
        assert "member" not in case or caught.value.evidence()["member"] == case["member"]


@pytest.mark.parametrize("case", CASES["log"], ids=lambda case: str(case["name"]))
def test_a_log_is_judged_rightly(case: Case, tmp_path: Path) -> None:
    lay_out(tmp_path / "log", case)
    trust = [CASES["log"][0]["vkey"]]
    report = attestlog.verify(tmp_path / "log", remember=False, trust=[] if case["error"] else trust)
    if case["error"]:
        assert report.verdict not in {Verdict.VERIFIED, Verdict.UNKNOWN, Verdict.INCOMPLETE}
        assert case["error"] in {finding.code for finding in report.findings}
    else:
        assert (report.verdict, report.size) == (Verdict.VERIFIED, 8)
        assert (report.root, report.genesis_hash) == (case["root"], case["genesis_hash"])
        hashes = [json.loads(line)["entry_hash"] for line in case["lines"]]
        assert case["leaf_hashes"] == [leaf_hash(bytes.fromhex(digest)).hex() for digest in hashes]


RULES = [case for case in CASES["rules"] + CASES["erasure"] if "findings" in case]


@pytest.mark.parametrize("case", RULES, ids=lambda case: str(case["name"]))
def test_what_is_found_of_the_rules(case: Case) -> None:
    found, rules = scanned(case)
    assert found == case["findings"]
    assert case["pointers"] in (None, rules.pointers._asdict())


@pytest.mark.parametrize("name", NAMES)
def test_every_file_holds_good_cases_and_bad_ones(name: str) -> None:
    found = document(name)
    assert found["format"] == f"docs/spec/{name}.md"
    assert found["provenance"]
    cases = found["cases"]
    assert len({case["name"] for case in cases}) == len(cases)
    assert {case["error"] is None for case in cases} == {True, False}


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: str(maker.__name__))
def test_the_files_are_what_the_generator_writes(maker: Callable[[], list[Case]]) -> None:
    try:
        text = format_vectors(maker.__name__, maker())
    except UnsupportedAlgorithm:
        pytest.skip("this build of cryptography cannot make deterministic ECDSA signatures")
    stored = (FOLDER / f"{maker.__name__}.json").read_text(encoding="utf-8")
    assert text == stored, "run: python -m tests.vectors.make"


def test_no_vector_file_is_forgotten() -> None:
    document = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"| `{name}.json` |" not in document] == []
    assert {path.stem for path in FOLDER.glob("*.json")} == set(NAMES) == {*JUDGES, "log"}
