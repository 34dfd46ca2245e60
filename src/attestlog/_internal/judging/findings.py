"""Every code a finding of the whole-log verifier can have: what it means, and the verdict it amounts to.

A code is stable once released. Under VERIFIED stand the notices: worth
knowing, and no fault.
"""

from __future__ import annotations

from typing import Any, Final

from attestlog._internal.core.report import Finding, Verdict

_BY_VERDICT: Final[dict[Verdict, dict[str, str]]] = {
    Verdict.MALFORMED: {
        "log.not_a_log": "the path is not the directory of a log",
        "published.not_a_log": "the published checkpoint file is not a signed checkpoint",
        "log.no_genesis": "entry 0 is missing or is not a genesis entry: nothing says whose log this is",
        "proof.malformed": "the file is not a proof of an entry, or not a proof of consistency",
        "export.malformed": "the file is not an export of a log, or a record in it is none",
    },
    Verdict.TAMPERED: {
        "entry.malformed": "bytes among the entries, or counted as entries before, are not an entry",
        "entry.canonical": "an entry is not in canonical form (spelling, member order, duplicates, numbers)",
        "entry.too_large": "an entry or its payload is over its size limit",
        "entry.sequence": "a sequence number does not follow from the entry before",
        "entry.chain": "prev_entry_hash is not the entry_hash of the entry before",
        "entry.timestamp": "a timestamp is no real date, or is earlier than the entry before",
        "entry.action_hash": "action_hash is not the hash of the payload",
        "entry.entry_hash": "entry_hash is not the hash of the entry",
        "entry.algorithm": "signature_algorithm is not the algorithm of the key",
        "entry.signing_key": "signing_key_id names a key that is not in force",
        "entry.signature_form": "hsm_signature is missing, or not of the form of its algorithm",
        "entry.signature": "hsm_signature does not verify under the key in force",
        "entry.batch": "an entry is not at the place in its batch that its signature says",
        "entry.derived": "a derived member is not what the policy in force derives",
        "entry.rules": "an entry names other rules (keys, policy, legal holds) than those it stands under",
        "entry.change": "an entry that changes keys or policy does not hold: the rules stay as they were",
        "entry.invariant": "an entry breaks an invariant, or names an unknown one",
        "entry.payload_missing": "a payload is null, and no later entry that erases accounts for it",
        "erasure.malformed": "an entry that erases does not say what it must of the entries it names",
        "erasure.held": "a payload was erased under legal hold",
        "erasure.refused": "a payload was erased although the policy in force forbids it",
        "entry.head": "a BOOT or SHUTDOWN entry saw another head than the log has",
        "approval.used": "the request that an entry's approvals are for was used by an earlier entry",
        "guard.forbidden": "a guarded act was done that its intent or outcome shows to be forbidden",
        "segment.missing": "a segment file is missing",
        "segment.stray": "a file among the segments is not one of this log's",
        "segment.malformed": "a compressed segment is not what its format asks for",
        "segment.length": "a segment does not hold the entries its place calls for",
        "checkpoint.missing": "the log has no checkpoint; every log has one from birth",
        "checkpoint.malformed": "the checkpoint is not a signed checkpoint",
        "checkpoint.signature": "the checkpoint is not signed by a checkpoint key of the genesis entry",
        "checkpoint.origin": "the checkpoint is of another origin",
        "published.missing": "a file that the published checkpoint needs is missing",
        "published.tile": "a published tile does not lead to the root that the checkpoint signs",
        "published.bundle": "a published entry bundle does not hold the entries of the tree",
        "timestamp.malformed": "a file in timestamps/ is not an RFC 3161 response",
        "timestamp.other": "a time stamp is not of the checkpoint that the entries lead to at its size",
        "checkpoint.root": "the root of the entries is not the one the log's own checkpoint signs",
        "checkpoint.cosignature": "a witness's signature of the checkpoint does not verify",
        "proof.checkpoint": "a signature of the proof's checkpoint, by a key that was given, does not verify",
        "proof.hash": "the proof's entry, or its payload, is not what its hash is of",
        "proof.inclusion": "the proof does not lead from its entry to the root of its checkpoint",
        "proof.consistency": "the proof does not lead from the old root to the root of its checkpoint",
        "proof.entry_signature": "the proof's entry is not signed by the entry key it names",
        "export.column": "a column of a Parquet export, or its statistics, are not what the lines say",
        "export.subject": "a statement or receipt is of another entry, or another log, than it says",
        "export.signature": "a statement or receipt is not signed by the key it names",
    },
    Verdict.FORKED: {
        "memory.genesis": "another log of this origin, with another genesis entry, is remembered",
        "memory.root": "the root of the entries is not the one remembered at that size",
        "held.origin": "the checkpoint held is of another origin",
        "chain.origin": "a later log continues this one by its genesis entry, and calls it otherwise",
        "chain.root": "the root of the entries is not the one that a later log continues, at its size",
        "held.root": "the root of the entries is not the one of the checkpoint held, at its size",
        "trust.mismatch": "none of the keys or hashes asked for vouches for this log",
        "trust.quorum": "the witnesses that the trust policy asks for have not cosigned the checkpoint",
        "proof.held": "the proof's old tree is not that of the checkpoint held, of the same size",
    },
    Verdict.TRUNCATED: {
        "log.cut_batch": "the last batch is not all there, although it was committed",
        "tree.longer": "the stored tree is longer than the entries: the tail was cut off",
        "checkpoint.ahead": "the checkpoint covers more entries than there are",
        "checkpoint.older": "the checkpoint is older than one remembered",
        "timestamp.ahead": "a time stamp is of a checkpoint over more entries than there are",
        "held.ahead": "the checkpoint held covers more entries than there are",
        "chain.ahead": "a later log continues more entries than there are",
        "memory.ahead": "more entries are remembered than there are",
    },
    Verdict.UNKNOWN: {
        "approvals.unread": "whether requests were used before is not known: too many, or in unread entries",
        "log.missing": "there is nothing at the path",
        "log.newer": "the log is of a format that only a newer attestlog knows: nothing of it was judged",
        "log.unreadable": "a file of the log could not be read",
        "verifier.disagreement": "the native core accepted a line that the reference judges otherwise",
        "segment.absent": "an archived segment is not where it was put: its entries were not read",
        "memory.unreadable": "the verifier's memory of this log could not be read",
        "proof.unreadable": "the proof's file could not be read",
        "export.unreadable": "the exported file could not be read",
        "export.key_unknown": "some of an export is signed by keys that were not given",
        "export.entry": "the entry that a receipt is of was not given",
        "export.held": "the export does not hold all entries that the checkpoint held covers",
        "checkpoint.unsupported": "a signature is of a kind that the installed cryptography cannot verify",
        "proof.held_size": "the proof starts from another size than that of the checkpoint held",
        "log.age": "nothing shows that the log is as young as was asked for",
        "trust.none": "no trusted key was given: the proof is consistent but proves nothing",
        "published.key_unknown": "no verifier key of the published log is known: who signed it is unknown",
        "entry.proofs_unknown": "proofs_valid rests on proofs of a type that nothing here can check",
        "entry.unverified": "signatures that the installed cryptography lacks the algorithm to verify",
        "entry.newer": "an entry acts on the log by a name that is not known here: a newer attestlog made it",
        "entry.unjudged": "keys or policy changed in unread entries: what rests on them is unknown",
        "key.revoked": "entries may be anybody's: a revocation says not to trust the key that signed them",
        "resume.tree": "the stored tree, in place of entries not read, does not lead to a known root",
    },
    Verdict.INCOMPLETE: {
        "log.torn_tail": "bytes after the last complete entry, never acknowledged",
        "export.torn": "the last line of an export is cut short",
        "log.torn_batch": "the last batch is not all there and was never acknowledged",
        "segment.twice": "a segment is there compressed and uncompressed: compressing it was cut short",
        "log.unsettled": "the last batch was never acknowledged, and its bytes or its signature do not hold",
    },
    Verdict.VERIFIED: {
        "entry.dependency": "a dependency names no entry of this log",
        "entry.dependencies_unread": "more dependencies were unresolved than are looked up",
        "entry.id_repeated": "an entry has the id of an earlier entry",
        "entry.ids_unread": "whether entry ids are used twice was not looked for in all entries",
        "entry.approval": "an approval that an entry carries does not count",
        "entry.rule": "a successful action or change lacks a proof or approval that the policy requires",
        "entry.snapshot": "a rollback went back to a snapshot that no entry of this log took",
        "entry.proof_unchecked": "a proof that claims to be valid is of a type nothing here can check",
        "proof.payload": "the payload is not in the proof: left out of it, or erased from the log",
        "proof.key_remembered": "no key was given: the log is known by its key from an earlier verification",
        "proof.entry_key": "the entry's signature was not judged: the key it names was not given",
        "proof.not_cosigned": "no witness that was asked for has cosigned: the log's own key alone vouches",
        "proof.signatures_unknown": "the checkpoint has signatures by keys that were not given",
        "export.gaps": "entries are left out between those of an export",
        "entry.heads_unread": "heads that BOOT or SHUTDOWN entries saw could not be compared",
        "guard.outcome_differs": "an outcome is of another payload, action or actor than the intent it names",
        "guard.outcome_repeated": "a guarded act has a second outcome",
        "guard.no_outcome": "a guarded act was decided, and no outcome was recorded",
        "guard.intents_unread": "more guarded acts were under way at once than are followed",
        "actor.counter_gap": "an actor's counter leaves out numbers: entries are not there",
        "actor.counter_repeated": "an actor's counter repeats a number",
        "actor.counters_unread": "more sessions were counted than are followed",
        "chain.absent": "the older log that this one continues is not at hand: it was not followed",
        "erasure.unfinished": "an entry says that a payload is erased, but it is still there",
        "log.future": "the last entry is dated after this machine's clock",
        "log.busy": "the log was busy: verified without waiting for the writer",
        "trust.rotation": "a key that was asked for signs a part of the log; rotations lead to the rest",
        "tree.stale": "stored hashes are missing or wrong; they are rebuilt from the entries",
        "published.partly_read": "only what the checkpoint and the memory need was read of the published log",
        "timestamp.unverified": "no trusted authority vouches for a time stamp: it shows nothing",
        "memory.place": "another log was verified at this path or URL before",
        "memory.replaced": "another log of this origin was remembered, for which no given key vouched",
        "memory.not_saved": "this verification could not be remembered, or the memory not be looked into",
    },
}

FINDINGS: Final[dict[str, str]] = {
    code: meaning for codes in _BY_VERDICT.values() for code, meaning in codes.items()
}
"""Code → meaning, in one line."""

VERDICTS: Final[dict[str, Verdict]] = {
    code: verdict for verdict, codes in _BY_VERDICT.items() for code in codes
}
"""Code → the verdict that one such finding amounts to; VERIFIED marks a notice."""


TEXT_LENGTH_MAX: Final = 400
"""Characters of a message or a piece of evidence: a hostile entry's members are up to 64 kB each."""


def finding(
    code: str,
    message: str,
    sequence_number: int | None = None,
    *,
    expected: Any = None,
    found: Any = None,
) -> Finding:
    """A finding whose verdict is that of its code."""
    return Finding(
        code=code,
        message=_short(message),
        verdict=VERDICTS[code],
        sequence_number=sequence_number,
        expected=_short(expected),
        found=_short(found),
    )


def _short(text: Any) -> Any:
    return text[:TEXT_LENGTH_MAX] + "…" if isinstance(text, str) and len(text) > TEXT_LENGTH_MAX else text
