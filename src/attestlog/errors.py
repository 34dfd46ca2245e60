"""Every exception attestlog raises on purpose, and nothing else.

A message is one lower-case sentence: what was got, what was wanted, no full
stop and no advice (the command line adds the advice). `code` is stable and
dotted; whatever else an error knows hangs on it as attributes, listed by
`evidence()`.

    AttestlogError
    ├── MalformedError (ValueError)    the bytes or values are not of the format
    │   ├── MalformedJSONError         canonical form, JSON text
    │   ├── MalformedEntryError        an entry, a draft or a line of the log
    │   ├── MalformedNoteError         a signed note or verifier key
    │   ├── MalformedCheckpointError
    │   ├── MalformedTileError         a tile, an entry bundle or a path of one
    │   ├── MalformedProofError        a proof file, or hashes that are none
    │   ├── MalformedTrustError        a trust policy, or what is no key or hash to trust
    │   ├── MalformedSignatureError    a signature string, key or algorithm name
    │   ├── MalformedShipmentError     what a writer sends a replica, or is answered
    │   ├── MalformedPolicyError
    │   ├── MalformedApprovalError     a request for approval, or an approval
    │   └── MalformedConfigError       log.toml, a signer URI, an origin
    ├── VerificationError              well-formed, and does not hold
    │   ├── SignatureInvalidError
    │   ├── HashMismatchError
    │   ├── ChainBrokenError           sequence number, previous hash, timestamp order
    │   ├── InclusionError
    │   ├── ConsistencyError
    │   ├── ApprovalRefusedError       an approval does not count; `reason` is the code why
    │   ├── DerivedMemberError (ValueError)  a stated member contradicts the derived one
    │   ├── RuleChangeError            an entry that changes keys or policy, and does not hold
    │   ├── SplitViewError             two histories of one log: both are in the evidence
    │   └── TrustError                 whose key this is, is not what was asked for
    ├── SignerError                    the key's holder failed; `retryable` says if waiting helps
    │   └── KeyFileError               a key file is missing, unreadable, exposed or locked
    ├── StorageError                   the log's bytes could not be read or written
    │   ├── NotFoundError
    │   ├── ExistsError                create where something is already
    │   ├── DeniedError                permissions
    │   ├── FullError                  no space, quota or file size left; nothing was written
    │   ├── WriteFailedError           the write failed and was taken back; nothing was written
    │   ├── BusyError                  another process has held the lock for too long
    │   ├── LockLostError              the lock file is no longer the one that was locked
    │   ├── FilesystemError            a file system on which durability cannot be promised
    │   ├── ConflictError              the head moved
    │   ├── UncertainCommitError       written, perhaps; durable, perhaps: unknown
    │   ├── SnapshotError              a file or tree could not be hashed, or changed meanwhile
    │   └── CorruptError               what was read back is damaged (where, and what repairs it)
    ├── LogError                       the log refuses
    │   ├── ClosedError
    │   ├── TooLargeError (ValueError)
    │   └── ClockError                 the clock is behind the log
    ├── GovernanceError                what the log's own rules forbid
    │   ├── ActionBlockedError         a guarded act was not done (`receipt`: the VIOLATION written)
    │   └── ErasureRefusedError        a legal hold, or a payload that the log cannot do without
    ├── QueryError (ValueError)        a filter that cannot be asked
    ├── ReplicationError               a replica did not take what it was sent; `retryable`
    │   └── StaleSizeError             it holds another number of entries (`known_size`)
    ├── WitnessError                   a witness did not cosign; `retryable`
    │   └── UnknownOriginError         it does not know the log (`origin`)
    ├── TimestampError                 an authority gave no time stamp; `retryable`
    ├── RequestError                   a server refuses a request
    │   ├── UnauthenticatedError       no token, or none of this server's
    │   ├── ForbiddenError             a token, and not good for this
    │   └── RequestTimeoutError        what was to be sent came too slowly
    └── MissingExtraError              an optional dependency is not installed
"""

from __future__ import annotations

from typing import Any, ClassVar


class AttestlogError(Exception):
    """Root of the tree. `code` is stable; keyword arguments become attributes."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, **evidence: Any) -> None:
        super().__init__(message)
        self.message = message
        self._evidence = evidence

    def __getattr__(self, name: str) -> Any:
        # Called only when ordinary lookup failed; `_evidence` itself must not
        # recurse while pickle rebuilds the object.
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._evidence[name]
        except KeyError:
            raise AttributeError(name) from None

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self._evidence)

    def evidence(self) -> dict[str, Any]:
        """What the error knows, by name."""
        return dict(self._evidence)


def _rebuild(kind: type[AttestlogError], message: str, evidence: dict[str, Any]) -> AttestlogError:
    return kind(message, **evidence)


class MalformedError(AttestlogError, ValueError):
    """The bytes or values are not of the format. `member` names the place, where there is one."""

    code = "malformed"


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


class MalformedTileError(MalformedError):
    """Not a tile, an entry bundle or a path of one."""

    code = "malformed.tile"


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
    """Not a usable log.toml, signer URI, origin or setting."""

    code = "malformed.config"


class VerificationError(AttestlogError):
    """Well-formed, and does not hold. `expected` and `found` carry the evidence."""

    code = "verification"


class SignatureInvalidError(VerificationError):
    """A signature does not verify under the key it names."""

    code = "verification.signature"


class HashMismatchError(VerificationError):
    """A stored hash is not the hash of what it stands for."""

    code = "verification.hash"


class ChainBrokenError(VerificationError):
    """Sequence number, previous hash or timestamp does not follow from the entry before."""

    code = "verification.chain"


class InclusionError(VerificationError):
    """A leaf is not shown to be in the tree."""

    code = "verification.inclusion"


class ConsistencyError(VerificationError):
    """One tree is not shown to be a prefix of the other."""

    code = "verification.consistency"


class DerivedMemberError(VerificationError, ValueError):
    """A stated member contradicts what is derived. `member`, `expected`, `found`."""

    code = "verification.derived"


class RuleChangeError(VerificationError):
    """An entry would change keys or policy, and may not: the rules in force stay. `action_type`."""

    code = "verification.rule_change"


class SplitViewError(VerificationError):
    """Two histories of one log. `ours` and `theirs`: signed checkpoints, as text; `sequence_number`."""

    code = "verification.split_view"


class ApprovalRefusedError(VerificationError):
    """An approval does not count. `reason` is the stable code of why, `signer` who it names."""

    code = "verification.approval"


class TrustError(VerificationError):
    """The key that signed is not one of those asked for."""

    code = "verification.trust"


class SignerError(AttestlogError):
    """The holder of the key failed to sign. `retryable`: whether waiting may help."""

    code = "signer"

    def __init__(self, message: str, *, retryable: bool = False, **evidence: Any) -> None:
        super().__init__(message, retryable=retryable, **evidence)


class KeyFileError(SignerError):
    """A key file is missing, unreadable, exposed to others or locked by a passphrase."""

    code = "signer.key_file"


class StorageError(AttestlogError):
    """The log's bytes could not be read or written. `path` where there is one."""

    code = "storage"


class NotFoundError(StorageError):
    """There is no such log, file or entry."""

    code = "storage.not_found"


class ExistsError(StorageError):
    """Something is already where a new log or key was to be made."""

    code = "storage.exists"


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


class ConflictError(StorageError):
    """The head moved since the batch was planned. `expected`, `found`."""

    code = "storage.conflict"


class UncertainCommitError(StorageError):
    """Whether the batch is durable cannot be known; reopen the log to find out."""

    code = "storage.uncertain"


class SnapshotError(StorageError):
    """A file or tree could not be hashed, or changed while it was. `path`."""

    code = "storage.snapshot"


class CorruptError(StorageError):
    """What was read back is damaged. `path`, and `sequence_number` where it is known."""

    code = "storage.corrupt"


class LogError(AttestlogError):
    """The log refuses the operation."""

    code = "log"


class ClosedError(LogError):
    """The log was closed, or poisoned by a failure whose outcome is unknown."""

    code = "log.closed"


class TooLargeError(LogError, ValueError):
    """Over a named limit. `member`, `size_bytes`, `size_bytes_max`."""

    code = "log.too_large"


class ClockError(LogError):
    """The clock is further behind the last entry than is tolerated. `now`, `last`, `tolerance_s`."""

    code = "log.clock"


class GovernanceError(AttestlogError):
    """What the log's own rules forbid."""

    code = "governance"


class ActionBlockedError(GovernanceError):
    """A guarded act was not done. `receipt`: of the VIOLATION entry that says why; `reasons`."""

    code = "governance.blocked"


class ErasureRefusedError(GovernanceError):
    """A payload must stay: a legal hold is on it, or the log cannot do without. `sequence_number`."""

    code = "governance.erasure_refused"


class QueryError(AttestlogError, ValueError):
    """A filter that cannot be asked."""

    code = "query"


class ReplicationError(AttestlogError):
    """A replica did not take what it was sent, or did not answer. `retryable`: whether waiting may help."""

    code = "replication"

    def __init__(self, message: str, *, retryable: bool = False, **evidence: Any) -> None:
        super().__init__(message, retryable=retryable, **evidence)


class StaleSizeError(ReplicationError):
    """The other side holds another number of entries than was assumed: `known_size`."""

    code = "replication.stale_size"


class WitnessError(AttestlogError):
    """A witness did not cosign, or answered with no cosignature. `retryable`: whether waiting may help."""

    code = "witness"

    def __init__(self, message: str, *, retryable: bool = False, **evidence: Any) -> None:
        super().__init__(message, retryable=retryable, **evidence)


class UnknownOriginError(WitnessError):
    """The witness does not know the log of this `origin`."""

    code = "witness.unknown_origin"


class TimestampError(AttestlogError):
    """A time stamping authority gave no stamp, or another than was asked for. `url`, `retryable`."""

    code = "timestamp"

    def __init__(self, message: str, *, retryable: bool = False, **evidence: Any) -> None:
        super().__init__(message, retryable=retryable, **evidence)


class RequestError(AttestlogError):
    """A server refuses a request for what it is, not for what it asks."""

    code = "request"


class UnauthenticatedError(RequestError):
    """The request carries no bearer token, or none that this server knows."""

    code = "request.unauthenticated"


class ForbiddenError(RequestError):
    """The request's token is not good for this. `need` or `origin`."""

    code = "request.forbidden"


class RequestTimeoutError(RequestError):
    """The request did not arrive in the time that it may take."""

    code = "request.timeout"


class MissingExtraError(AttestlogError):
    """An optional dependency is not installed. `extra` names the one to install."""

    code = "missing_extra"
