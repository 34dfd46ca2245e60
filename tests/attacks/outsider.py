"""Somebody who can change every file of a log, and holds no key."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable

from tests.attacks.kit import (
    DETECTED,
    NOT_GUARANTEED,
    OUTSIDER,
    PREVENTED,
    Ground,
    Left,
    Said,
    Story,
    attempt,
    entries_of,
)
from tests.support.both import Content, Fifo, Link
from tests.support.curves import SMALL_ORDER, pem_of, respelled
from tests.support.histories import ALL_KEYS, rebuild
from tests.support.logs import CheckpointKey, LogMaker, copied, draft, drafts
from tests.support.packing import frames_of, joined

from attestlog._internal.core import canonical
from attestlog._internal.core.note import NoteSignature, format_note
from attestlog._internal.exporting.reading import judge_export
from attestlog._internal.log import Log
from attestlog._internal.proving import prove, prove_prefix
from attestlog._internal.storage.files import layout
from attestlog._internal.storage.publishing import publish_log
from attestlog._internal.storage.resolve import open_source
from attestlog._internal.verifier import verify as one_file
from attestlog._internal.verifying import judge_log, judge_published
from attestlog._internal.verifying.proof import judge_proof
from attestlog.testing import ManualClock

FIRST, SECOND = "entries/000000000000.jsonl", "entries/000000000004.jsonl"


def with_line(number: int, change: Callable[[bytes], bytes]) -> Left:
    """The story, with one line changed."""
    made = Story()
    before = made.lines[number]
    made.lines[number] = change(before)
    assert made.lines[number] != before
    return Left(made.files())


def with_files(**changes: Content | None) -> Left:
    """The story, with files that are others (`checkpoint`, `tree_0`, `first`, `second`), or gone."""
    names = {"first": FIRST, "second": SECOND, "tree_0": "tree/0"}
    files: dict[str, Content] = dict(Story().files())
    for name, content in changes.items():
        if content is None:
            del files[names.get(name, name)]
        else:
            files[names.get(name, name)] = content
    return Left(files)


# --- bytes and spellings ---


@attempt(OUTSIDER, DETECTED, "TAMPERED entry.action_hash")
def changes_a_payload(ground: Ground) -> Left:
    """Changes one digit of what an entry says was done."""
    return with_line(2, lambda line: line.replace(b'"number":2', b'"number":3'))


@attempt(OUTSIDER, DETECTED, "TAMPERED entry.entry_hash")
def changes_who_did_it(ground: Ground) -> Left:
    """Puts another actor into an entry."""
    return with_line(2, lambda line: line.replace(b"agent-1", b"agent-9"))


@attempt(OUTSIDER, DETECTED, "TAMPERED entry.signature")
def makes_the_hashes_right_again(ground: Ground) -> Left:
    """Changes a payload, computes all hashes and links anew, and keeps the signatures."""
    made = Story()
    entries = entries_of(made)
    entries[2]["action_payload"]["number"] = 3
    lines = [json.loads(line) for line in rebuild(made, entries)]
    kept = [{**new, "hsm_signature": old["hsm_signature"]} for new, old in zip(lines, entries, strict=True)]
    return Left(made.files([canonical.encode(members) for members in kept]))


@attempt(OUTSIDER, DETECTED, "TAMPERED entry.malformed")
def spells_a_number_otherwise(ground: Ground) -> Left:
    """Writes 1.0 for 1: the same value for most readers, other bytes."""
    return with_line(4, lambda line: line.replace(b'"severity":1', b'"severity":1.0'))


@attempt(OUTSIDER, DETECTED, "TAMPERED entry.malformed")
def spells_a_number_with_an_exponent(ground: Ground) -> Left:
    """Writes 1e0 for 1."""
    return with_line(4, lambda line: line.replace(b'"severity":1', b'"severity":1e0'))


@attempt(OUTSIDER, DETECTED, "TAMPERED entry.canonical")
def gives_a_member_twice(ground: Ground) -> Left:
    """Puts another actor before the true one: parsers take the first, or the last."""
    return with_line(4, lambda line: b'{"actor_id":"agent-9",' + line[1:])


@attempt(OUTSIDER, DETECTED, "TAMPERED entry.canonical")
def gives_a_member_twice_within_a_payload(ground: Ground) -> Left:
    """The same, deeper."""
    return with_line(4, lambda line: line.replace(b'"number":4', b'"number":9,"number":4'))


@attempt(OUTSIDER, DETECTED, "TAMPERED entry.malformed")
def puts_a_lone_surrogate_into_a_string(ground: Ground) -> Left:
    """A character that has no UTF-8, which readers replace, drop or choke on."""
    return with_line(4, lambda line: line.replace(b"T-4", b"T-4\\ud800"))


@attempt(OUTSIDER, DETECTED, "TAMPERED entry.canonical")
def escapes_a_letter(ground: Ground) -> Left:
    """Another spelling of the same string."""
    return with_line(4, lambda line: line.replace(b"agent-1", b"\\u0061gent-1"))


@attempt(OUTSIDER, DETECTED, "TAMPERED entry.signature_form")
def respells_an_ecdsa_signature(ground: Ground) -> Left:
    """Puts n - s in place of s, which needs no key: mathematically as good."""
    made = LogMaker(ground.folder / "log", segment_entries=4)
    made.append(draft(1), batched=False)
    entry = made.entry(1)
    signature = respelled(bytes.fromhex(entry["hsm_signature"])).hex()
    made.lines[1] = made.lines[1].replace(entry["hsm_signature"].encode(), signature.encode())
    made.lay_out()
    return Left(made.root)


@attempt(OUTSIDER, DETECTED, "TAMPERED entry.signature_form")
def takes_a_signature_away(ground: Ground) -> Left:
    """Leaves an entry unsigned."""

    def unsigned(line: bytes) -> bytes:
        return line.replace(json.loads(line)["hsm_signature"].encode(), b"")

    return with_line(4, unsigned)


@attempt(OUTSIDER, DETECTED, "TAMPERED entry.entry_hash")
def names_another_algorithm(ground: Ground) -> Left:
    """Says that an entry is signed by an algorithm that it is not signed by."""
    return with_line(4, lambda line: line.replace(b'"Ed25519"', b'"ECDSA-P256-SHA256"'))


@attempt(OUTSIDER, DETECTED, "TAMPERED entry.action_hash")
def says_that_the_log_is_of_a_newer_format(ground: Ground) -> Left:
    """So that verifiers give up, and call it unknown."""
    return with_line(0, lambda line: line.replace(b'"format":1', b'"format":2'))


# --- lines ---


@attempt(OUTSIDER, DETECTED, "TAMPERED entry.sequence")
def takes_an_entry_out_of_the_middle(ground: Ground) -> Left:
    """Removes an entry, and leaves the rest."""
    made = Story()
    return Left(made.files(made.lines[:4] + made.lines[5:]))


@attempt(OUTSIDER, DETECTED, "TAMPERED entry.sequence")
def exchanges_two_entries(ground: Ground) -> Left:
    """Swaps what was done first and what was done then."""
    made = Story()
    made.lines[4], made.lines[5] = made.lines[5], made.lines[4]
    return Left(made.files())


@attempt(OUTSIDER, DETECTED, "TAMPERED entry.sequence")
def repeats_an_entry(ground: Ground) -> Left:
    """Stores a line again at the end of the log."""
    made = Story()
    return Left(made.files([*made.lines, made.lines[4]]))


@attempt(OUTSIDER, DETECTED, "TAMPERED entry.sequence")
def moves_an_entry_within_its_batch(ground: Ground) -> Left:
    """The entries of a batch have one signature."""
    made = Story()
    made.lines[1], made.lines[2] = made.lines[2], made.lines[1]
    return Left(made.files())


@attempt(OUTSIDER, DETECTED, "TAMPERED entry.chain")
def splices_an_entry_of_another_log_in(ground: Ground) -> Left:
    """Of a log of the same origin with the same keys, the entry with the same number."""
    made, other = Story(), Story(other=True)
    made.lines[4] = other.lines[4]
    return Left(made.files())


@attempt(OUTSIDER, DETECTED, "TAMPERED entry.chain")
def splices_the_end_of_another_log_on(ground: Ground) -> Left:
    """All entries from number 4 on of a log with the same keys, with its tree and checkpoint."""
    made, other = Story(), Story(other=True)
    return Left(made.files(made.lines[:4] + other.lines[4:]))


@attempt(OUTSIDER, DETECTED, "TAMPERED entry.chain")
def swaps_the_genesis_entry(ground: Ground) -> Left:
    """Puts the genesis entry of a log of their own in place of the true one: with their keys."""
    made, own = Story(), LogMaker(ground.folder, key=ALL_KEYS[5], segment_entries=4)
    made.lines[0] = own.lines[0]
    return Left(made.files())


@attempt(OUTSIDER, DETECTED, "FORKED trust.mismatch")
def makes_a_log_of_their_own(ground: Ground) -> Left:
    """A sound log under other keys, of the same origin, for a reader who knows the true key."""
    true, own = Story(), LogMaker(ground.folder / "log")
    own.append(*drafts(range(1, 4)))
    own.lay_out()
    return Left(own.root, trust=[true.key.public.key_id])


@attempt(OUTSIDER, NOT_GUARANTEED, "VERIFIED")
def makes_a_log_of_their_own_for_nobody_who_knows(ground: Ground) -> Left:
    """The same, for a reader who knows no key: SELF-ATTESTED."""
    own = LogMaker(ground.folder / "log")
    own.append(*drafts(range(1, 4)))
    own.lay_out()
    return Left(own.root)


# --- cut, grown again, put back ---


@attempt(OUTSIDER, DETECTED, "TRUNCATED tree.longer")
def cuts_the_tail(ground: Ground) -> Left:
    """Removes the last entries."""
    made = Story()
    shorter = made.files(made.lines[:6])
    return Left({**made.files(), SECOND: shorter[SECOND]})


@attempt(OUTSIDER, DETECTED, "TRUNCATED checkpoint.ahead")
def cuts_the_tail_and_the_tree(ground: Ground) -> Left:
    """And the hashes of what was removed."""
    made = Story()
    shorter = made.files(made.lines[:6])
    return Left({**made.files(), SECOND: shorter[SECOND], "tree/0": shorter["tree/0"]})


@attempt(OUTSIDER, DETECTED, "TAMPERED checkpoint.missing")
def cuts_the_tail_and_removes_the_evidence(ground: Ground) -> Left:
    """And tree and checkpoint with it."""
    made = Story()
    shorter: dict[str, Content] = dict(made.files(made.lines[:6]))
    del shorter["checkpoint"], shorter["tree/0"]
    return Left(shorter)


@attempt(OUTSIDER, DETECTED, "TRUNCATED log.cut_batch")
def cuts_half_a_line_off(ground: Ground) -> Left:
    """As if the last commit had been torn by a crash."""
    made = Story()
    return Left({**made.files(), SECOND: made.files()[SECOND][:-40]})


@attempt(OUTSIDER, DETECTED, "TRUNCATED checkpoint.older", "VERIFIED")
def puts_an_older_copy_back(ground: Ground) -> Left:
    """All files as they were three entries ago, for a reader who verified the log since."""
    made, state = Story(), ground.folder / "state"
    ground.lay_out(made.files())
    judge_log(ground.folder / "log", state_dir=state)
    return Left(made.files(made.lines[:5]), options={"state_dir": state})


@attempt(OUTSIDER, DETECTED, "TRUNCATED held.ahead", "VERIFIED")
def puts_an_older_copy_back_for_who_kept_a_checkpoint(ground: Ground) -> Left:
    """The same, for a reader who remembers nothing and kept a checkpoint."""
    made = Story()
    return Left(made.files(made.lines[:5]), options={"held": made.files()["checkpoint"]})


@attempt(OUTSIDER, NOT_GUARANTEED, "VERIFIED")
def puts_an_older_copy_back_for_who_never_looked(ground: Ground) -> Left:
    """The same, for a reader who never verified the log and kept nothing of it."""
    made = Story()
    return Left(made.files(made.lines[:5]))


@attempt(OUTSIDER, PREVENTED, "RollbackError")
def has_the_writer_go_on_behind_a_cut(ground: Ground) -> None:
    """Cuts the tail with tree and checkpoint, and waits for the next append to sign over it."""
    with ground.live() as log:
        log.append_many(drafts(range(1, 4)))
    path = log.path
    aside = copied(path, "older")
    with Log.open(path, clock=ManualClock()) as log:
        log.append(draft(4))
    whole = copied(path, "whole")
    ground.sound[:] = [whole]
    shutil.rmtree(path)
    aside.rename(path)
    Log.open(path, clock=ManualClock()).close()


@attempt(OUTSIDER, DETECTED, "TRUNCATED checkpoint.older", "VERIFIED")
def puts_an_older_checkpoint_back(ground: Ground) -> Left:
    """One of three entries ago, in a log whose tail is there: for a reader who remembers the later one."""
    made, state = Story(), ground.folder / "state"
    ground.lay_out(made.files())
    judge_log(ground.folder / "log", state_dir=state)
    older = made.files(made.lines[:5])
    return Left({**made.files(), "checkpoint": older["checkpoint"]}, options={"state_dir": state})


# --- files that are others, or none ---


@attempt(OUTSIDER, DETECTED, "TAMPERED checkpoint.signature")
def puts_another_logs_checkpoint_in(ground: Ground) -> Left:
    """Of a log with the same checkpoint key and another name."""
    other = LogMaker(ground.folder / "other", origin="example.com/another")
    other.lay_out()
    return with_files(checkpoint=(other.root / "checkpoint").read_bytes())


@attempt(OUTSIDER, DETECTED, "TAMPERED checkpoint.signature")
def signs_the_checkpoint_by_a_key_of_their_own(ground: Ground) -> Left:
    """Under the log's name, over the true root."""
    return with_files(checkpoint=by_own_key(Story().files()["checkpoint"]))


def by_own_key(note: bytes) -> bytes:
    """The same checkpoint, signed by another key of the same name."""
    text, own = note.partition(b"\n\n")[0].decode() + "\n", CheckpointKey(9)
    line = NoteSignature(own.verifier.name, own.verifier.key_id, own.sign(text.encode()))
    return format_note(text, [line])


@attempt(OUTSIDER, DETECTED, "TAMPERED checkpoint.malformed")
def strips_the_checkpoints_signature(ground: Ground) -> Left:
    """Leaves the text of the checkpoint without a signature."""
    return with_files(checkpoint=Story().files()["checkpoint"].partition(b"\n\n")[0] + b"\n\n")


@attempt(OUTSIDER, DETECTED, "VERIFIED tree.stale")
def has_the_tree_say_something_else(ground: Ground) -> Left:
    """The stored tree of another log of the same size: it is derived, so it is only told."""
    return with_files(tree_0=Story(other=True).files()["tree/0"])


@attempt(OUTSIDER, DETECTED, "MALFORMED log.no_genesis")
def removes_a_segment(ground: Ground) -> Left:
    """The first of two."""
    return with_files(first=None)


@attempt(OUTSIDER, DETECTED, "UNKNOWN log.unreadable")
def moves_a_segment_elsewhere(ground: Ground) -> Left:
    """A link that leads nowhere, as an archive that is not mounted leaves it: nobody could look."""
    return with_files(first=Link("/nowhere/at/all"))


@attempt(OUTSIDER, DETECTED, "UNKNOWN log.unreadable")
def has_readers_wait_for_ever(ground: Ground) -> Left:
    """A pipe that nobody writes to, in place of the checkpoint."""
    return with_files(checkpoint=Fifo())


@attempt(OUTSIDER, DETECTED, "UNKNOWN log.unreadable")
def has_readers_read_a_device(ground: Ground) -> Left:
    """A link to a device without end, in place of a segment."""
    return with_files(second=Link("/dev/zero"))


@attempt(OUTSIDER, DETECTED, "TAMPERED segment.missing")
def adds_a_segment_of_their_own(ground: Ground) -> Left:
    """A file with a segment's name, behind the last."""
    files = Story().files()
    return Left({**files, "entries/000000000100.jsonl": files[FIRST]})


@attempt(OUTSIDER, DETECTED, "INCOMPLETE log.torn_tail")
def hides_bytes_behind_room(ground: Ground) -> Left:
    """Spaces as a writer reserves them, and something behind them."""
    return Left({**Story().files(), SECOND: Story().files()[SECOND] + b" " * 4_096 + b"hidden"})


@attempt(OUTSIDER, DETECTED, "TAMPERED entry.malformed")
def punches_a_hole_into_an_entry(ground: Ground) -> Left:
    """Zeros in the middle of what was acknowledged."""
    return with_line(3, lambda line: line[:200] + bytes(300) + line[500:])


@attempt(OUTSIDER, DETECTED, "TAMPERED segment.malformed")
def lies_in_the_index_of_a_compressed_segment(ground: Ground) -> Left:
    """An index that promises a frame without measure."""
    files: dict[str, Content] = dict(Story().files())
    frames = frames_of(Story().files()[FIRST])
    files[f"{FIRST}.zst"] = joined(frames, [(len(frames[0][0]), 2**32 - 1)])
    del files[FIRST]
    return Left(files)


@attempt(OUTSIDER, DETECTED, "INCOMPLETE segment.twice")
def keeps_another_segment_beside_the_compressed_one(ground: Ground) -> Left:
    """Two files for one segment, which do not say the same."""
    other = Story(other=True).files()[FIRST]
    return Left({**Story().files(), f"{FIRST}.zst": joined(frames_of(other))})


@attempt(OUTSIDER, PREVENTED, "VERIFIED")
def brings_settings_with_the_log(ground: Ground) -> Left:
    """Files that older versions believed: code to load, rules that leave everything out, an index."""
    names = ("log.toml", "rules.jsonl", "index.db", "replicas")
    return Left({**Story().files(), **dict.fromkeys(names, b'size = 8\nmodule-path = "/tmp/x.so"\n')})


@attempt(OUTSIDER, PREVENTED, "nothing")
def asks_for_an_erasure_by_a_file(ground: Ground) -> None:
    """Leaves the file of an erasure under way, which names an entry that erases nothing."""
    with ground.live() as log:
        number = log.append(draft(1)).sequence_number
        hash_ = log.append(draft(2)).entry_hash
    erasing = log.path / layout.ERASING_FILE
    erasing.write_text(json.dumps({"erased_by": number + 1, "entry_hash": hash_}))
    try:
        Log.open(log.path, clock=ManualClock()).close()
    finally:
        erasing.unlink(missing_ok=True)
    assert open_source(log.path).entry(number).action_payload == draft(1)["action_payload"]


@attempt(OUTSIDER, NOT_GUARANTEED, "MovedError")
def says_that_the_log_was_moved(ground: Ground) -> None:
    """A file that says so stops every writer: whoever can write it could as well delete the log."""
    with ground.live() as log:
        log.append(draft(1))
    (log.path / layout.MOVED_FILE).write_text("https://example.com/elsewhere\n")
    try:
        Log.open(log.path, clock=ManualClock()).close()
    finally:
        (log.path / layout.MOVED_FILE).unlink()


@attempt(OUTSIDER, DETECTED, "TAMPERED timestamp.malformed", "VERIFIED")
def adds_a_time_stamp_that_is_none(ground: Ground) -> Left:
    """Garbage among the time stamps. The one-file verifier judges none."""
    return Left({**Story().files(), "timestamps/000000000005-00000000.tsr": b"no time stamp"})


@attempt(OUTSIDER, DETECTED, "MALFORMED log.no_genesis")
def makes_a_log_under_a_key_of_small_order(ground: Ground) -> Left:
    """A genesis entry with a key under which anybody can sign."""
    made = Story()
    entries = entries_of(made)
    (stated,) = entries[0]["action_payload"]["entry_keys"]
    stated["public_key"] = pem_of(SMALL_ORDER[0])
    return Left(made.files(rebuild(made, entries)))


# --- proofs, exports, published folders ---


def proof_said(ground: Ground, data: bytes, *trust: str) -> Said:
    """What both verifiers say of a proof."""
    path = ground.folder / "entry.tlog-proof"
    path.write_bytes(data)
    report = one_file.Report()
    one_file.verify(report, path, None, one_file.parse_trust(list(trust)))
    return Said(judge_proof(path, trust=trust, remember=False), report.verdict)


def with_entry(proof: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The proof with another entry in it, whose leaf and path are as they were."""
    header, extra, rest = proof.split(b"\n", 2)
    word, _, encoded = extra.partition(b" ")
    before = base64.b64decode(encoded)
    entry = change(before)
    assert entry != before
    return b"\n".join([header, word + b" " + base64.b64encode(entry), rest])


@attempt(OUTSIDER, DETECTED, "FORKED trust.mismatch")
def proves_an_entry_by_a_log_of_their_own(ground: Ground) -> Said:
    """A sound proof, by a log with another key."""
    true, own = Story(), LogMaker(ground.folder / "log")
    own.checkpoint_key = CheckpointKey(9)
    own.lay_out()
    return proof_said(ground, prove(own.root, 0), true.checkpoint_key.vkey)


@attempt(OUTSIDER, DETECTED, "TAMPERED proof.inclusion")
def proves_another_entry(ground: Ground) -> Said:
    """Puts another entry of the same log into a proof."""
    made = Story()
    proof = prove(ground.lay_out(made.files()), 4)
    return proof_said(ground, with_entry(proof, lambda _: made.lines[5]), made.checkpoint_key.vkey)


@attempt(OUTSIDER, DETECTED, "TAMPERED proof.hash")
def changes_the_entry_of_a_proof(ground: Ground) -> Said:
    """Another actor did it, says the entry in the proof."""
    made = Story()
    proof = prove(ground.lay_out(made.files()), 4)
    forged = with_entry(proof, lambda line: line.replace(b"agent-1", b"agent-9"))
    return proof_said(ground, forged, made.checkpoint_key.vkey)


@attempt(OUTSIDER, DETECTED, "UNKNOWN trust.none")
def proves_to_somebody_who_knows_no_key(ground: Ground) -> Said:
    """A proof alone, without any key to judge it by: anybody can make one."""
    return proof_said(ground, prove(ground.lay_out(Story().files()), 4))


@attempt(OUTSIDER, DETECTED, "TAMPERED proof.consistency")
def proves_that_a_log_continues_by_another_log(ground: Ground) -> Said:
    """A proof that the old state is a prefix, with the checkpoint of another history at its end."""
    made, other = Story(), Story(other=True)
    proof = prove_prefix(ground.lay_out(made.files()), made.files(made.lines[:5])["checkpoint"])
    forged = proof.replace(made.files()["checkpoint"], other.files()["checkpoint"])
    assert forged != proof
    return proof_said(ground, forged, made.checkpoint_key.vkey)


def export_said(ground: Ground, log: LogMaker, lines: list[bytes], *trust: str) -> Said:
    """What both verifiers say of exported lines."""
    path = ground.folder / "entries.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    report = one_file.Report()
    one_file.verify(report, path, None, one_file.parse_trust(list(trust)))
    return Said(judge_export(path, trust=trust), report.verdict)


@attempt(OUTSIDER, DETECTED, "TAMPERED entry.entry_hash")
def exports_a_forged_line(ground: Ground) -> Said:
    """An export in which one line was changed."""
    made = Story()
    made.lines[4] = made.lines[4].replace(b"agent-1", b"agent-9")
    return export_said(ground, made, made.lines, made.key.public.key_id)


@attempt(OUTSIDER, DETECTED, "TAMPERED entry.chain")
def exports_lines_of_two_logs(ground: Ground) -> Said:
    """The beginning of one log, and the end of another one with the same keys."""
    made, other = Story(), Story(other=True)
    return export_said(ground, made, made.lines[:4] + other.lines[4:], made.key.public.key_id)


@attempt(OUTSIDER, NOT_GUARANTEED, "VERIFIED")
def leaves_the_end_of_an_export_out(ground: Ground) -> Said:
    """Without a checkpoint beside it an export does not show where the log ends."""
    made = Story()
    return export_said(ground, made, made.lines[:6], made.key.public.key_id)


@attempt(OUTSIDER, DETECTED, "TAMPERED published.tile", "")
def changes_a_published_tile(ground: Ground) -> Said:
    """One byte of the published tree. The one-file verifier reads no published logs."""
    made = Story()
    publish_log(ground.lay_out(made.files()), ground.folder / "public")
    public = ground.folder / "public"
    tile = public / "tile/0/000.p/8"
    tile.write_bytes(bytes(32) + tile.read_bytes()[32:])
    return Said(judge_published(public, trust=[made.checkpoint_key.vkey], remember=False, full=True))


@attempt(OUTSIDER, DETECTED, "FORKED trust.mismatch", "")
def publishes_another_log_under_the_name(ground: Ground) -> Said:
    """The published folder of another log, whose checkpoint they signed by a key of their own."""
    true, own, public = Story(), Story(other=True), ground.folder / "public"
    publish_log(ground.lay_out(own.files()), public)
    (public / "checkpoint").write_bytes(by_own_key((public / "checkpoint").read_bytes()))
    return Said(judge_published(public, trust=[true.checkpoint_key.vkey], remember=False, full=True))
