"""Every exception attestlog raises on purpose, and nothing else.

A message is one lower-case sentence: what was got, what was wanted, no full
stop and no advice (the command line adds the advice). `code` is stable and
dotted. What else an error knows are attributes: each class declares its own,
None or empty where an error of the class does not know it. `evidence()` returns
those that it knows, by name. A class without a code of its own has its parent's:
it only narrows what the parent says.

    AttestlogError
    ├── MalformedError (ValueError)    the bytes or values are not of the format
    │   ├── MalformedJSONError         canonical form, JSON text
    │   ├── MalformedEntryError        an entry, a draft or a line of the log
    │   ├── MalformedNoteError         a signed note or verifier key
    │   ├── MalformedCheckpointError
    │   ├── MalformedTileError         a tile, an entry bundle or a path of one
    │   ├── MalformedSegmentError      a compressed segment
    │   ├── MalformedProofError        a proof file, or hashes that are none
    │   ├── MalformedTrustError        a trust policy, or what is no key or hash to trust
    │   ├── MalformedSignatureError    a signature string, key or algorithm name
    │   ├── MalformedShipmentError     what a writer sends a replica, or is answered
    │   ├── MalformedPolicyError
    │   ├── MalformedApprovalError     a request for approval, or an approval
    │   └── MalformedConfigError       a configuration, a signer URI, an origin
    ├── VerificationError              well-formed, and does not hold
    │   ├── SignatureInvalidError
    │   ├── HashMismatchError
    │   ├── ChainBrokenError           sequence number, previous hash, timestamp order
    │   ├── InclusionError
    │   ├── ConsistencyError
    │   │   └── RollbackError          fewer or other entries than were signed or acknowledged before
    │   ├── ApprovalRefusedError       an approval does not count; `reason` is the code why
    │   ├── DerivedMemberError (ValueError)  a stated member contradicts the derived one
    │   ├── RuleChangeError            an entry that changes keys or policy, and does not hold
    │   ├── SplitViewError             two histories of one log: both are in the evidence
    │   ├── TrustError                 whose key this is, is not what was asked for
    │   │   └── QuorumError            too few of the trusted witnesses cosigned
    │   └── VerdictError               raised by `report.raise_for_verdict()`; `report`, `verdict`
    │       ├── TamperedError          something does not hold by itself
    │       ├── ContradictedError      TRUNCATED or FORKED: contradicts what is known from elsewhere
    │       └── UnverifiedError        UNKNOWN, INCOMPLETE or MALFORMED: not all could be judged
    ├── SignerError                    the key's holder failed; `retryable` says if waiting helps
    │   ├── WrongKeyError              the signer holds another key than the one that is needed
    │   └── KeyFileError               a key file is missing, unreadable, exposed or locked
    ├── StorageError                   the log's bytes could not be read or written
    │   ├── NotFoundError
    │   │   ├── NoLogError             what the path names is not a log
    │   │   ├── NoConfigError          no configuration of this user says who signs the log
    │   │   ├── NoStateError           nothing is remembered of a log of which something must be
    │   │   └── NoHomeError            no home directory for keys, state, configuration, cache
    │   ├── ExistsError                create where something is already
    │   ├── DeniedError                permissions
    │   ├── FullError                  no space, quota or file size left; nothing was written
    │   ├── WriteFailedError           the write failed and was taken back; nothing was written
    │   ├── BusyError                  another process has held the lock for too long
    │   ├── LockLostError              the lock file is no longer the one that was locked
    │   ├── FilesystemError            a file system on which durability cannot be promised
    │   ├── ConflictError              the head moved
    │   ├── UncertainCommitError       written, perhaps; durable, perhaps: unknown
    │   ├── StateError                 what is remembered of a log cannot be used
    │   ├── SnapshotError              a file or tree could not be hashed, or changed meanwhile
    │   └── CorruptError               what was read back is damaged (where, and what repairs it)
    ├── LogError                       the log refuses
    │   ├── ReentrantError             used within a signal handler, by the thread that was using it
    │   ├── ClosedError
    │   ├── TooLargeError (ValueError)
    │   ├── IdempotencyError           the idempotency key has entries already, or another body
    │   ├── MovedError                 it is written elsewhere now, says a file in it
    │   └── ClockError                 the clock is behind the log, or leapt ahead
    ├── GovernanceError                what the log's own rules forbid
    │   ├── ActionBlockedError         a guarded act was not done (`receipt`: the VIOLATION written)
    │   ├── ApprovalUsedError          the request that was approved was used before (`used_by`)
    │   └── ErasureRefusedError        a legal hold, or a payload that the log cannot do without
    ├── QueryError (ValueError)        a filter that cannot be asked
    ├── ReplicationError               a replica did not take what it was sent; `retryable`
    │   └── StaleSizeError             it holds another number of entries (`known_size`)
    ├── PublicationError               no published checkpoint covers an entry, or nobody knows; `retryable`
    ├── WitnessError                   a witness did not cosign; `retryable`
    │   └── UnknownOriginError         it does not know the log (`origin`)
    ├── SinkError                      a sink did not take the entries shipped to it; `retryable`
    ├── TimestampError                 an authority gave no time stamp; `retryable`
    ├── RequestError                   a server refuses a request
    │   ├── UnauthenticatedError       no token, or none of this server's
    │   ├── ForbiddenError             a token, and not good for this
    │   ├── RateLimitError             more a minute than the caller may
    │   └── RequestTimeoutError        what was to be sent came too slowly
    ├── NewerFormatError               made by a newer attestlog: nothing is judged
    └── MissingExtraError              an optional dependency is not installed
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self


class AttestlogError(Exception):
    """Root of the tree. `code` is stable; keyword arguments are the evidence, and attributes.

    `retryable`: whether the same call may succeed later. `committed`: how many entries of the same call
    were committed before it failed. `closing`: the log was being closed; what was appended is stored.
    """

    code: ClassVar[str] = "error"
    _always: ClassVar[Mapping[str, Any]] = {}
    """Evidence that every error of the class states, with its default."""

    retryable: bool = False
    committed: int = 0
    closing: bool = False

    def __init__(self, message: str, **evidence: Any) -> None:
        super().__init__(message)
        self.message = message
        self._evidence = {**self._always, **evidence}
        vars(self).update(self._evidence)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self._evidence)

    def evidence(self) -> dict[str, Any]:
        """What the error knows, by name."""
        return dict(self._evidence)

    def with_evidence(self, message: str | None = None, /, **more: Any) -> Self:
        """A copy that knows more, or says it in other words. Its class and code are the same."""
        return type(self)(self.message if message is None else message, **{**self._evidence, **more})


def _rebuild(kind: type[AttestlogError], message: str, evidence: dict[str, Any]) -> AttestlogError:
    return kind(message, **evidence)


class MalformedError(AttestlogError, ValueError):
    """The bytes or values are not of the format. `member` names the place, `line` that of a text file."""

    code = "malformed"
    member: str = ""
    line: int | None = None
    expected: Any = None
    found: Any = None


class MalformedJSONError(MalformedError):
    """Not JSON, or JSON that has no canonical form."""

    code = "malformed.json"


class MalformedEntryError(MalformedError):
    """Not an entry, a draft or a line of the log."""

    code = "malformed.entry"


class MalformedNoteError(MalformedError):
    """Not a signed note or a verifier key."""

    code = "malformed.note"


class MalformedCheckpointError(MalformedError):
    """Not a checkpoint."""

    code = "malformed.checkpoint"
    size: int | None = None


class MalformedTileError(MalformedError):
    """Not a tile, an entry bundle or a path of one."""

    code = "malformed.tile"
    path: str = ""


class MalformedSegmentError(MalformedError):
    """Not a compressed segment: its frames, or the index of them."""

    code = "malformed.segment"


class MalformedProofError(MalformedError):
    """Not a proof file, or a hash of another length than a hash has."""

    code = "malformed.proof"


class MalformedTrustError(MalformedError):
    """Not a trust policy, nor a key or hash to trust."""

    code = "malformed.trust"


class MalformedSignatureError(MalformedError):
    """Not a signature, public key or algorithm name of ours."""

    code = "malformed.signature"


class MalformedShipmentError(MalformedError):
    """Not what a writer sends a replica, nor what it is answered."""

    code = "malformed.shipment"


class MalformedPolicyError(MalformedError):
    """Not a policy."""

    code = "malformed.policy"


class MalformedApprovalError(MalformedError):
    """Not a request for approval, nor an approval."""

    code = "malformed.approval"


class MalformedConfigError(MalformedError):
    """Not a usable configuration, signer URI, origin or setting. `file`: the name of the file with it."""

    code = "malformed.config"
    file: str = ""


class VerificationError(AttestlogError):
    """Well-formed, and does not hold. `expected` and `found` carry the evidence.

    `finding`: the code of the first finding, of so many `findings`. `report`: the verifier's, where it made
    one.
    """

    code = "verification"
    expected: Any = None
    found: Any = None
    sequence_number: int | None = None
    member: str = ""
    path: str = ""
    finding: str = ""
    findings: int | None = None
    report: Any = None


class SignatureInvalidError(VerificationError):
    """A signature does not verify under the key it names."""

    code = "verification.signature"
    key_id: str = ""
    key_name: str = ""


class HashMismatchError(VerificationError):
    """A stored hash is not the hash of what it stands for."""

    code = "verification.hash"


class ChainBrokenError(VerificationError):
    """Sequence number, previous hash or timestamp does not follow from the entry before."""

    code = "verification.chain"


class InclusionError(VerificationError):
    """A leaf is not shown to be in the tree."""

    code = "verification.inclusion"
    index: int | None = None
    size: int | None = None


class ConsistencyError(VerificationError):
    """One tree is not shown to be a prefix of the other."""

    code = "verification.consistency"
    old: int | None = None
    size: int | None = None


class RollbackError(ConsistencyError):
    """The log has fewer or other entries than were signed or acknowledged before: nothing may follow them.

    `old`: how many those were, `expected`: their root or the last one's hash. `size`: how many are there,
    `found`: what stands in their place; None where they are fewer. `origin`, `genesis`: which log.
    """

    code = "verification.consistency.rollback"
    origin: str = ""
    genesis: str = ""


class DerivedMemberError(VerificationError, ValueError):
    """A stated member contradicts what is derived. `member`, `expected`, `found`."""

    code = "verification.derived"


class RuleChangeError(VerificationError):
    """An entry would change keys or policy, and may not: the rules in force stay. `action_type`."""

    code = "verification.rule_change"
    action_type: str = ""


class SplitViewError(VerificationError):
    """Two histories of one log. `ours` and `theirs`: signed checkpoints, as text; `sequence_number`."""

    code = "verification.split_view"
    ours: str = ""
    theirs: str = ""
    origin: str = ""


class ApprovalRefusedError(VerificationError):
    """An approval does not count. `reason` is the stable code of why, `signer` who it names."""

    code = "verification.approval"
    reason: str = ""
    signer: str = ""


class TrustError(VerificationError):
    """The key that signed is not one of those asked for.

    `have`: who signed, by name or key; `need`: what is lacking.
    """

    code = "verification.trust"
    have: Sequence[str] = ()
    need: Sequence[str] = ()


class QuorumError(TrustError):
    """Too few witnesses of the trust policy cosigned.

    `quorum`: its name there; `failures`: why others did not cosign, by their names.
    """

    quorum: str = ""
    failures: Mapping[str, str] = {}


class VerdictError(VerificationError):
    """A report's verdict is not VERIFIED. `report` and `verdict`, as `report.verdict`."""

    code = "verification.verdict"
    verdict: str = ""


class TamperedError(VerdictError):
    """TAMPERED: something in the log or proof does not hold by itself."""

    code = "verification.verdict.tampered"


class ContradictedError(VerdictError):
    """TRUNCATED or FORKED: it contradicts what this verifier saw before, or what the caller holds."""

    code = "verification.verdict.contradicted"


class UnverifiedError(VerdictError):
    """UNKNOWN, INCOMPLETE or MALFORMED: nothing is known to be wrong, and not all could be judged."""

    code = "verification.verdict.unverified"


class SignerError(AttestlogError):
    """The holder of the key failed to sign.

    `reason`: why, in a word, and `status`: what the service answered. `hangs`: no answer came in time, and
    the request is still out. `needs_pin`: a PIN is wanted, and there is nobody to ask. `log`: the log that
    was to be opened with its signers.
    """

    code = "signer"
    _always: ClassVar = {"retryable": False}
    expected: Any = None
    found: Any = None
    path: str = ""
    reason: str = ""
    status: int | str | None = None
    key_id: str = ""
    hangs: bool = False
    needs_pin: bool = False
    log: str = ""
    timeout_s: float | None = None


class WrongKeyError(SignerError):
    """The signer holds another key than the one that is needed. `expected` and `found`: key ids."""


class KeyFileError(SignerError):
    """A key file is missing, unreadable, exposed to others or locked by a passphrase."""

    code = "signer.key_file"
    needs_passphrase: bool = False
    mode: int | None = None


class StorageError(AttestlogError):
    """The log's bytes could not be read or written. `path` where there is one.

    `erased_by`: the entry that says that the payload of `sequence_number` is erased, which is not gone yet.
    """

    code = "storage"
    path: str = ""
    url: str = ""
    sequence_number: int | None = None
    expected: Any = None
    found: Any = None
    name: str = ""
    size: int | None = None
    status: int | None = None
    errno: int | None = None
    address: str = ""
    erased_by: int | None = None


class NotFoundError(StorageError):
    """There is no such log, file or entry."""

    code = "storage.not_found"
    log: str = ""
    origin: str = ""
    checkpoint_size: int | None = None


class NoLogError(NotFoundError):
    """What the path names is not a log."""


class NoConfigError(NotFoundError):
    """No configuration of this user says who signs the log. `genesis`: its genesis hash."""

    genesis: str = ""


class NoStateError(NotFoundError):
    """Nothing is remembered of what was signed last of the log, and its configuration expects it."""

    genesis: str = ""


class NoHomeError(NotFoundError):
    """There is nowhere to keep this user's own files. `variable`: what names a directory for them."""

    variable: str = ""


class ExistsError(StorageError):
    """Something is already where a new log or key was to be made.

    `what` is there, in a word: log, longer_log, key, token, replica, published, witness, import.
    """

    code = "storage.exists"
    what: str = ""


class DeniedError(StorageError):
    """The operating system refuses access."""

    code = "storage.denied"


class FullError(StorageError):
    """No space, quota or file size left; nothing of the batch was written."""

    code = "storage.full"


class WriteFailedError(StorageError):
    """The write failed and was taken back; nothing of the batch was written."""

    code = "storage.write_failed"


class BusyError(StorageError):
    """Another process has held the lock for longer than this one waits; nothing was written."""

    code = "storage.busy"


class LockLostError(StorageError):
    """The lock file is no longer the one this process locked; another writer may exist."""

    code = "storage.lock_lost"


class FilesystemError(StorageError):
    """A file system on which neither locks nor durability can be promised."""

    code = "storage.filesystem"
    filesystem: str = ""


class ConflictError(StorageError):
    """The head moved since the batch was planned. `expected`, `found`."""

    code = "storage.conflict"


class UncertainCommitError(StorageError):
    """Whether the batch is durable cannot be known; reopen the log to find out.

    `entry_ids`: of the caller's entries of which it is not known. Before appending one of them again, look
    whether it is there: `attestlog.query_log(log, entry_id=…)`. `idempotency_key`: of a log in another
    process, the key under which the same append finds what it wrote.
    """

    code = "storage.uncertain"
    idempotency_key: str = ""
    entry_ids: Sequence[str] = ()


class StateError(StorageError):
    """What is remembered of a log cannot be used: it is damaged, a link, or others can write it. `path`."""

    code = "storage.state"


class SnapshotError(StorageError):
    """A file or tree could not be hashed, or changed while it was. `path`."""

    code = "storage.snapshot"


class CorruptError(StorageError):
    """What was read back is damaged. `path`, `sequence_number` where it is known; `repair`: what mends it."""

    code = "storage.corrupt"
    repair: str = ""


class LogError(AttestlogError):
    """The log refuses the operation."""

    code = "log"


class ReentrantError(LogError):
    """A signal handler, a finalizer or a signer used the log in a thread that was using it."""

    code = "log.reentrant"


class ClosedError(LogError):
    """The log was closed, or poisoned by a failure whose outcome is unknown."""

    code = "log.closed"


class TooLargeError(LogError, ValueError):
    """Over a named limit. `member`, `size_bytes`, `size_bytes_max`."""

    code = "log.too_large"
    member: str = ""
    size_bytes: int = 0
    size_bytes_max: int = 0


class IdempotencyError(LogError):
    """The idempotency key was used for something else within 24 hours. `sequence_numbers`: its entries."""

    code = "log.idempotency"
    sequence_numbers: Sequence[int] = ()


class MovedError(LogError):
    """A file in the log's directory says that the log is written elsewhere now. `path`."""

    code = "log.moved"
    path: str = ""


class ClockError(LogError):
    """The clock is further behind the last entry than is tolerated, or ten years ahead of it.

    `now`, `last`, `tolerance_s`.
    """

    code = "log.clock"
    now: Any = None
    last: Any = None
    tolerance_s: float | None = None


class GovernanceError(AttestlogError):
    """What the log's own rules forbid."""

    code = "governance"


class ActionBlockedError(GovernanceError):
    """A guarded act was not done. `receipt`: of the VIOLATION entry that says why, `intent`: of the DECISION.

    `reasons`: for each invariant that the act would break its name, a message and the evidence.
    """

    code = "governance.blocked"
    receipt: Any = None
    intent: Any = None
    reasons: Sequence[Mapping[str, Any]] = ()


class ApprovalUsedError(GovernanceError):
    """One request, one act: what approves this entry approved an earlier one. Nothing was written.

    `request_id`: the request's; `used_by`: the sequence number of the entry that used it.
    """

    code = "governance.approval_used"
    request_id: str = ""
    used_by: int | None = None


class ErasureRefusedError(GovernanceError):
    """A payload must stay: a legal hold is on it, or the log cannot do without. `sequence_number`.

    `rule`: what forbids it, in a word; `holds`: the names of the legal holds.
    """

    code = "governance.erasure_refused"
    sequence_number: int | None = None
    rule: str = ""
    holds: Sequence[str] = ()


class QueryError(AttestlogError, ValueError):
    """A filter that cannot be asked."""

    code = "query"
    member: str = ""


class ReplicationError(AttestlogError):
    """A replica did not take what it was sent, or did not answer.

    Where entries were to be confirmed by `need` replicas and `have` did: `receipts` of the entries, which
    are in the log. `status` and `remote_code`: what the replica answered.
    """

    code = "replication"
    _always: ClassVar = {"retryable": False}
    expected: Any = None
    found: Any = None
    status: int | None = None
    remote_code: str = ""
    held: Any = None
    have: int | None = None
    need: int | None = None
    receipts: Sequence[Any] = ()


class PublicationError(AttestlogError):
    """No published checkpoint was seen to cover an entry in time, or nobody publishes the log.

    `receipts` of the entries, which are in the log; without any, nothing was written. `published_size`: what
    the published checkpoint covers, None where that is not known. `failure`: the code of the error why.
    """

    code = "publication"
    _always: ClassVar = {"retryable": False}
    published_size: int | None = None
    failure: str = ""
    receipts: Sequence[Any] = ()


class StaleSizeError(ReplicationError):
    """The other side holds another number of entries than was assumed: `known_size`."""

    code = "replication.stale_size"
    known_size: int = 0


class WitnessError(AttestlogError):
    """A witness did not cosign, or answered with no cosignature. `url`: where it was asked."""

    code = "witness"
    _always: ClassVar = {"retryable": False}
    url: str = ""
    status: int | None = None
    timestamp: int | None = None
    known_size: int | None = None
    expected: Any = None


class UnknownOriginError(WitnessError):
    """The witness does not know the log of this `origin`."""

    code = "witness.unknown_origin"
    origin: str = ""


class SinkError(AttestlogError):
    """A sink did not take the entries that were shipped to it: it may have all, some or none of them."""

    code = "sink"
    _always: ClassVar = {"retryable": False}
    status: int | None = None


class TimestampError(AttestlogError):
    """A time stamping authority gave no stamp, or another than was asked for. `url`: where it was asked."""

    code = "timestamp"
    _always: ClassVar = {"retryable": False}
    url: str = ""


class RequestError(AttestlogError):
    """A server refuses a request for what it is, not for what it asks."""

    code = "request"


class UnauthenticatedError(RequestError):
    """The request carries no bearer token, or none that this server knows."""

    code = "request.unauthenticated"


class ForbiddenError(RequestError):
    """The request's token is not good for this. `need` or `origin`."""

    code = "request.forbidden"
    need: str = ""
    origin: str = ""
    log: str = ""


class RequestTimeoutError(RequestError):
    """The request did not arrive in the time that it may take."""

    code = "request.timeout"


class RateLimitError(RequestError):
    """The caller has used up what it may send a minute. `retry_after_s`: when there is room again."""

    code = "request.rate"
    retry_after_s: float = 0.0


class NewerFormatError(AttestlogError):
    """The log is of a format that only a newer attestlog knows. Nothing of it is judged."""

    code = "newer_format"
    expected: Any = None
    found: Any = None


class MissingExtraError(AttestlogError):
    """An optional dependency is not installed. `extra` names the one to install."""

    code = "missing_extra"
    extra: str = ""
    key_id: str = ""
