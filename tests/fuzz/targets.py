"""What each parser promises of any bytes: a value that is spelled back as it was, or an error of ours.

One function a parser. It returns for every input; what it raises is a defect.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import Any, Final

import rfc8785
from tests.support.people import governed
from tests.vectors.makers.of_rotation import rotation as rotation_vectors

from attestlog._internal.config import format_config, parse_config
from attestlog._internal.core import canonical
from attestlog._internal.core.approval import (
    Request,
    format_approval,
    format_request,
    judge_approvals,
    parse_approval,
    parse_request,
)
from attestlog._internal.core.checkpoint import format_checkpoint, parse_checkpoint
from attestlog._internal.core.compression import (
    FOOTER_SIZE_BYTES,
    FRAME_HEADER_SIZE_MAX_BYTES,
    check_frame,
    decode_index,
    encode_index,
    index_size,
)
from attestlog._internal.core.consistency import format_consistency, parse_consistency
from attestlog._internal.core.convert import format_path as format_member_path
from attestlog._internal.core.convert import parse_path as parse_member_path
from attestlog._internal.core.entry import (
    canonical_hashes,
    check_canonical,
    decode_line,
    entry_hash,
    parse_draft,
)
from attestlog._internal.core.entry import payload_hash as payload_hash_of
from attestlog._internal.core.genesis import Genesis, draft_genesis, parse_genesis
from attestlog._internal.core.glob import Glob
from attestlog._internal.core.note import format_note, format_vkey, parse_note, parse_vkey
from attestlog._internal.core.pointer import Pointers, is_later, parse_pointer
from attestlog._internal.core.policy import format_policy, parse_policy
from attestlog._internal.core.policy_text import format_policy_text, parse_policy_text
from attestlog._internal.core.proof import format_proof, parse_proof
from attestlog._internal.core.report import Verdict
from attestlog._internal.core.rotation import (
    format_revocation,
    format_rotation,
    parse_revocation,
    parse_rotation,
)
from attestlog._internal.core.rules import Rules
from attestlog._internal.core.signature import format_batch, format_plain, parse_signature
from attestlog._internal.core.sshsig import decode_sshsig, format_ssh_key, parse_ssh_key, parse_sshsig
from attestlog._internal.core.tiles import decode_bundle, encode_bundle, format_path, parse_path
from attestlog._internal.core.timestamp import order_sets
from attestlog._internal.core.trust import NO_QUORUM, format_trust_policy, parse_trust_policy, verify_quorum
from attestlog._internal.core.witness import (
    format_add_checkpoint,
    format_cosignatures,
    parse_add_checkpoint,
    parse_cosignatures,
)
from attestlog._internal.legacy.judge import LineError, legacy_hash, parse_line
from attestlog._internal.query.filter import parse_condition, parse_filter, parse_moment
from attestlog._internal.signers.pkcs11_uri import format_key_uri, parse_key_uri
from attestlog._internal.verifier import verify as one_file
from attestlog._internal.verifying import judge_proof
from attestlog.errors import AttestlogError, MalformedProofError, MalformedSegmentError, TrustError

APPROVERS: Final = governed()
REQUEST: Final = Request(
    "0" * 64, "example.com/fuzz", "ACTION", "x", "0" * 64, "actor", {}, "2025-10-30T12:00:00.000000Z"
)


def entry_line(data: bytes) -> None:
    """A line that is taken for canonical is what two other encoders make of it."""
    try:
        entry = decode_line(data)
        check_canonical(entry, data)
    except AttestlogError:
        return
    value = json.loads(data)
    assert canonical.encode_reference(value) == data
    assert rfc8785.dumps(value) == data
    whole, payload = canonical_hashes(entry, data)
    assert whole == entry_hash(entry)
    assert payload == (None if entry.action_payload is None else payload_hash_of(entry))
    try:
        parse_genesis(entry)
    except AttestlogError:
        return


def entry_in_both(data: bytes) -> None:
    """The one-file verifier takes for an entry, in its one spelling, what the core does."""
    try:
        check_canonical(decode_line(data), data)
        is_entry = True
    except AttestlogError:
        is_entry = False
    try:
        one_file.check_entry(one_file.decode_entry(data), data)
    except one_file.Malformed:
        assert not is_entry
    except one_file.Wrong:
        assert is_entry
    else:
        assert is_entry


def canonical_form(data: bytes) -> None:
    """What is decoded is encoded as the reference does, and decoded again to the same bytes."""
    try:
        spelled = canonical.encode(canonical.decode(data))
    except AttestlogError:
        return
    assert spelled == rfc8785.dumps(json.loads(data))
    assert canonical.encode(canonical.decode(spelled)) == spelled


def note(data: bytes) -> None:
    try:
        parsed = parse_note(data)
    except AttestlogError:
        return
    assert format_note(parsed.text, parsed.signatures) == data
    try:
        checkpoint = parse_checkpoint(parsed.text)
    except AttestlogError:
        return
    assert format_checkpoint(checkpoint) == parsed.text


def proof(data: bytes) -> None:
    """A proof file of either kind is what it is written as; what holds holds in the one-file verifier too."""
    with suppress(MalformedProofError):
        assert format_proof(parse_proof(data)) == data
    with suppress(MalformedProofError):
        assert format_consistency(parse_consistency(data)) == data
    report = judge_proof(data, remember=False)
    other = one_file.Report()
    try:
        one_file.verify_proof(other, data, one_file.Trust([], [], []))
    except one_file.Malformed:
        assert report.verdict == Verdict.MALFORMED
    except one_file.Wrong:
        assert report.verdict == Verdict.TAMPERED
    else:
        assert report.verdict == other.verdict == Verdict.UNKNOWN


def trust(data: bytes) -> None:
    """A trust policy is written by hand: what is parsed has one spelling, and is parsed from it again."""
    try:
        policy = parse_trust_policy(data)
    except AttestlogError:
        return
    spelled = format_trust_policy(policy)
    assert parse_trust_policy(spelled) == policy
    assert format_trust_policy(parse_trust_policy(spelled)) == spelled
    names = [witness.name for witness in policy.witnesses]
    with suppress(TrustError):
        verify_quorum(policy, names)
    with suppress(TrustError):
        verify_quorum(policy, [])
        assert policy.quorum == NO_QUORUM


def checkpoint_text(data: bytes) -> None:
    _round(data, lambda text: format_checkpoint(parse_checkpoint(text)))


def vkey(data: bytes) -> None:
    _round(data, lambda text: format_vkey(parse_vkey(text)))


def tiles(data: bytes) -> None:
    """Paths, and bundles of whatever width their length calls for."""
    _round(data, lambda text: format_path(parse_path(text)))
    try:
        assert encode_bundle(decode_bundle(data, len(data) // 34)) == data
    except AttestlogError:
        return


def signature(data: bytes) -> None:
    def plain(text: str) -> str:
        return format_plain(parse_signature(text, "Ed25519").signature)

    def batch(text: str) -> str:
        parsed = parse_signature(text, "Ed25519+BATCH")
        return format_batch(parsed.signature, parsed.index, parsed.size, parsed.path)

    _round(data, plain)
    _round(data, batch)


def config(data: bytes) -> None:
    """It may be written by hand: it has no one spelling, but what is read is written and read again."""
    try:
        parsed = parse_config(data.decode("utf-8", "surrogateescape"), "log.toml")
    except AttestlogError:
        return
    assert parse_config(format_config(parsed), "log.toml") == parsed


def policy(data: bytes) -> None:
    members = _json(data)
    if not isinstance(members, dict):
        return
    try:
        parsed = parse_policy(members)
    except AttestlogError:
        return
    assert parse_policy(format_policy(parsed)) == parsed


def policy_text(data: bytes) -> None:
    """A policy file has no one spelling, but what is read is written and read again."""
    try:
        parsed = parse_policy_text(data.decode("utf-8", "surrogateescape"))
    except AttestlogError:
        return
    assert parse_policy_text(format_policy_text(parsed)) == parsed


def approvals(data: bytes) -> None:
    """Approval files and requests are spelled back; stored approvals are judged, whatever they are."""
    with suppress(AttestlogError):
        assert format_approval(parse_approval(data)) == data
    with suppress(AttestlogError):
        assert format_request(parse_request(data)) == data
    members = _json(data)
    if isinstance(members, dict) and all(isinstance(value, str) for value in members.values()):
        judged = judge_approvals(APPROVERS, [members], REQUEST)
        assert not judged[0].counts


def pointer(data: bytes) -> None:
    """A pointer has one spelling, in both verifiers; which of two is later, they say alike."""
    _round(data, lambda text: str(parse_pointer(text)))
    text = data.decode("utf-8", "surrogateescape")
    for last in ("0:" + "0" * 64, "7:" + "a" * 64):
        full = text == last or is_later(Pointers(text), Pointers(last))
        assert full == (text == last or one_file.is_later(text, last))


def continued(data: bytes) -> None:
    """Genesis payloads: both verifiers take one for a log's, or neither; what is taken is stated again."""
    payload = _json(data)
    stored = _GENESIS | {"action_payload": payload}
    try:
        line = canonical.encode(stored)
    except (AttestlogError, RecursionError):
        return
    try:
        parsed: Genesis | None = parse_genesis(decode_line(line))
    except AttestlogError as error:
        if "policy" in str(error):
            return  # which the one file does not judge
        parsed = None
    try:
        one_file.read_genesis(line)
        is_genesis = True
    except one_file.Fault:
        is_genesis = False
    assert is_genesis == (parsed is not None)
    assert parsed is None or draft_genesis(parsed).action_payload["continues"] == payload["continues"]


_GENESIS: Final = json.loads(rotation_vectors()[0]["lines"][0])


def frame_index(data: bytes) -> None:
    """An index is spelled back, leads through all of the file, and is the one file's too."""
    try:
        size = index_size(data[-FOOTER_SIZE_BYTES:])
        index = decode_index(data[-size:], len(data))
    except MalformedSegmentError:
        index = None
    try:
        sizes = one_file._frame_index(BytesIO(data))
    except one_file.Malformed:
        assert index is None
        return
    assert index is not None
    assert [(frame.packed_size, frame.size) for frame in index.frames] == sizes
    assert data.endswith(encode_index(sizes))
    assert [index.frame_at(frame.start) for frame in index.frames] == list(range(len(sizes)))
    for frame in index.frames:
        header = data[frame.offset : frame.offset + min(frame.packed_size, FRAME_HEADER_SIZE_MAX_BYTES)]
        refused = [_refuses(check, header, frame.size) for check in (check_frame, one_file._check_frame)]
        assert refused in ([True, True], [False, False])


def _refuses(check: Callable[[bytes, int], None], header: bytes, size: int) -> bool:
    try:
        check(header, size)
    except (MalformedSegmentError, one_file.Malformed):
        return True
    return False


def time_stamp(data: bytes) -> None:
    """Bringing sets into order changes no length, and is done once."""
    ordered = order_sets(data)
    assert (len(ordered), sorted(ordered)) == (len(data), sorted(data))
    assert order_sets(ordered) == ordered


def member_path(data: bytes) -> None:
    _round(data, lambda text: format_member_path(parse_member_path(text)))


def ssh(data: bytes) -> None:
    """Signatures and keys of OpenSSH: an error of ours, or a key that is spelled back."""
    text = data.decode("utf-8", "surrogateescape")
    with suppress(AttestlogError):
        parse_sshsig(text)
    with suppress(AttestlogError):
        decode_sshsig(data)
    with suppress(ValueError, AttestlogError):
        decode_sshsig(bytes.fromhex(text))
    with suppress(AttestlogError):
        key = parse_ssh_key(text)
        assert text.startswith(format_ssh_key(key))


def draft(data: bytes) -> None:
    members = _json(data)
    if isinstance(members, dict):
        _tolerate(lambda: parse_draft(members))


def legacy_line(data: bytes) -> None:
    """The hash is of what Python's own `json` prints, whatever the line is."""
    try:
        members, _ = parse_line(data)
        legacy_hash(members)
    except LineError:
        return
    assert members == json.loads(data) or members != members  # noqa: PLR0124  NaN is not itself


def query(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    for parse in (parse_condition, lambda value: parse_moment(value, 1_700_000_000_000_000), Glob):
        _tolerate(lambda parse=parse: parse(text))  # type: ignore[misc]
    members = _json(data)
    if isinstance(members, dict):
        _tolerate(lambda: parse_filter(members))


def key_uri(data: bytes) -> None:
    """Attributes come in any order, so a URI has no one spelling; what is read is written and read again."""
    text = data.decode("utf-8", "surrogateescape")
    for uri in (text, f"pkcs11:{text}"):
        try:
            parsed = parse_key_uri(uri)
        except AttestlogError:
            continue
        assert parse_key_uri(format_key_uri(parsed)) == parsed


def rotation(data: bytes) -> None:
    """Payloads have one spelling; no line, nor any file of lines, brings the rules to fall."""
    payload = _json(data)
    with suppress(AttestlogError):
        assert format_rotation(parse_rotation(payload)) == payload
    with suppress(AttestlogError):
        assert format_revocation(parse_revocation(payload)) == payload
    rules, held = _RULES.following([data])
    assert (rules is _RULES) is (held == [])


_RULES: Final = Rules.of(parse_genesis(decode_line(rotation_vectors()[0]["lines"][0].encode())))


def witness(data: bytes) -> None:
    try:
        request = parse_add_checkpoint(data)
    except AttestlogError:
        request = None
    if request is not None:
        note = format_note(request.note.text, request.note.signatures)
        assert format_add_checkpoint(request.old, request.proof, note) == data
    try:
        lines = parse_cosignatures(data)
    except AttestlogError:
        return
    assert format_cosignatures(lines) == data


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "entry": entry_line, "entry_in_both": entry_in_both, "canonical": canonical_form, "note": note,
    "checkpoint": checkpoint_text,
    "vkey": vkey, "proof": proof, "trust": trust, "signature": signature, "config": config,
    "policy": policy, "draft": draft, "policy_text": policy_text, "approvals": approvals,
    "member_path": member_path, "ssh": ssh, "pointer": pointer, "continued": continued,
    "time_stamp": time_stamp, "frame_index": frame_index,
    "legacy": legacy_line, "query": query, "tiles": tiles, "key": key_uri, "rotation": rotation,
    "witness": witness,
}  # fmt: skip


def _round(data: bytes, there_and_back: Callable[[str], str]) -> None:
    try:
        text = data.decode("utf-8")
        assert there_and_back(text) == text
    except (UnicodeDecodeError, AttestlogError):
        return


def _tolerate(work: Callable[[], Any]) -> None:
    try:
        work()
    except AttestlogError:
        return


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
