"""The full verifier beside the one-file verifier, on a log's directory: do they say the same?

    with quick(), Place(folder) as place:
        place.put(files)
        difference = compare(place.root)      # None, or what each says

They must come to the same verdict by the same findings: the code and the entry of each, where the one file
judges that kind. What it leaves to the full verifier is `NOT_JUDGED`, and what follows from that: where only
the full one refuses a change, because of the policy, the rules differ from there on. In a log with several
faults at once, each hides or shows others: there the verdict and the first finding are what counts, and other
findings may differ (`Difference.is_further`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple
from unittest.mock import patch

from attestlog._internal.core import entry as entries
from attestlog._internal.core import genesis
from attestlog._internal.core import policy as policies
from attestlog._internal.core import signature as signatures
from attestlog._internal.core.report import GRAVITY, Report, Verdict
from attestlog._internal.judging.findings import VERDICTS
from attestlog._internal.verifier import verify as one_file
from attestlog._internal.verifying import judge_log

NOT_JUDGED: Final = {
    "entry.derived", "entry.invariant", "entry.proofs_unknown", "entry.unverified", "erasure.held",
    "approval.used", "approvals.unread", "guard.forbidden", "resume.tree",
}  # fmt: skip
"""What the one file leaves to the full verifier: it says so in its first lines."""

OF_RULES: Final = {"key.revoked", "trust.mismatch", "entry.unjudged"}
"""What is told of the rules at the end, wherever it stands."""

Found = tuple[str, int | None]
"""Code and entry of a finding."""


class Link(NamedTuple):
    """A symbolic link, in place of a file."""

    target: str


class Fifo(NamedTuple):
    """A pipe that nobody writes to, in place of a file."""


class Folder(NamedTuple):
    """A directory, in place of a file."""


Content = bytes | Link | Fifo | Folder


class Place:
    """A directory to lay logs out in, one after another. Only what differs from the last is written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._there: dict[str, Content] = {}
        for name in ("entries", "tree", "timestamps"):
            (root / name).mkdir(parents=True, exist_ok=True)

    def put(self, files: Mapping[str, Content]) -> None:
        """These files and no others."""
        for name in self._there.keys() - files.keys():
            self._remove(name)
        for name, content in files.items():
            known = self._there.get(name)
            if known == content:
                continue
            if not (isinstance(known, bytes) and isinstance(content, bytes)):
                self._remove(name)
            self._write(self.root / name, content)
            self._there[name] = content

    def _write(self, path: Path, content: Content) -> None:
        match content:
            case bytes():
                path.write_bytes(content)
            case Link(target):
                path.symlink_to(target)
            case Fifo():
                os.mkfifo(path)
            case Folder():
                path.mkdir()

    def _remove(self, name: str) -> None:
        known, path = self._there.pop(name, None), self.root / name
        if isinstance(known, Folder):
            shutil.rmtree(path)
        elif known is not None:
            path.unlink()


class Judgement(NamedTuple):
    """What a verifier says."""

    verdict: str
    found: frozenset[Found]
    """Faults, not notices."""

    def __str__(self) -> str:
        return f"{self.verdict} {sorted(self.found, key=lambda item: (item[1] or 0, item[0]))}"


class Difference(NamedTuple):
    """What each verifier says, where that is not the same."""

    full: Judgement
    one: Judgement

    @property
    def is_further(self) -> bool:
        """Whether verdict and first finding are the same, and only what comes after it is not."""
        return self.full.verdict == self.one.verdict and bool(_first(self.full) & _first(self.one))

    def __str__(self) -> str:
        return f"the full verifier: {self.full}\nthe one file:      {self.one}"


def _first(judgement: Judgement) -> set[Found]:
    """What is found of the first entry of which something is; else what is found of the whole log."""
    numbers = [number for _, number in judgement.found if number is not None]
    return {item for item in judgement.found if item[1] == min(numbers, default=None)}


def judge_in_full(root: Path, trust: Sequence[str] = ()) -> Report:
    return judge_log(root, remember=False, trust=trust, workers=1)


def judge_by_one_file(root: Path, trust: Sequence[str] = ()) -> Judgement:
    report = one_file.Report()
    one_file.verify(report, root, None, one_file.parse_trust(list(trust)))
    faults = (item for item in report.found if VERDICTS[item[0]] is not Verdict.VERIFIED)
    return Judgement(report.verdict, frozenset(faults))


def compare(root: Path, trust: Sequence[str] = ()) -> Difference | None:
    """None where both say the same, else what each says."""
    report, one = judge_in_full(root, trust), judge_by_one_file(root, trust)
    faults = [item for item in report.findings if item.verdict is not Verdict.VERIFIED]
    full = Judgement(str(report.verdict), frozenset((item.code, item.sequence_number) for item in faults))
    if full == one:
        return None
    left_out = {
        (item.code, item.sequence_number) for item in faults if item.code in NOT_JUDGED or _is_left_out(item)
    }
    if any(code == "log.no_genesis" for code, _ in left_out):
        return None  # nothing else was judged
    start = min((number or 0 for code, number in left_out if code == "entry.change"), default=None)
    if start is not None and any(code == "entry.sequence" for code, _ in full.found):
        return None  # "from entry `start` on" means nothing there
    if left_out and ("checkpoint.root", None) not in full.found:  # another fault hides a root
        one = one._replace(found=one.found - {("checkpoint.root", None)})
    same = _comparable(full.found - left_out, start) == _comparable(one.found, start)
    if same and (left_out or full.verdict == one.verdict):
        return None
    return Difference(full, one)


def _is_left_out(finding: Any) -> bool:
    """Whether the one file does not judge this one of its kind."""
    message: str = finding.message
    match finding.code:
        case "entry.change":  # for a reason that lies in the policy
            is_of_policy = any(why in message for why in (*_REASONS, *_OF_POLICY))
            return is_of_policy and not any(why in message for why in _STRUCTURAL)
        case "erasure.refused":
            return "which the log cannot do without" not in message
        case "entry.head":  # of an entry further back
            own = f"saw another entry {finding.sequence_number - 1} than"
            return "saw another entry" in message and own not in message
        case "log.no_genesis":
            return "policy" in message
    return False


_STRUCTURAL: Final = (
    "under other rules", "payload is erased", "hashes are not its own", "signed by a key in force",
    "earlier than the entry that made", "signature",
)  # fmt: skip
_REASONS: Final = ("quorum", "approv", "denies", "proofs_valid")
_OF_POLICY: Final = ("_policy", "_policy_rule", "_legal_hold")


def _comparable(found: frozenset[Found], start: int | None) -> set[Found]:
    """Without what rests on rules that are not the same (from entry `start` on) or were not all read."""
    if any(code in {"log.unreadable", "segment.absent", "segment.malformed"} for code, _ in found):
        found = frozenset(item for item in found if item[0] != "key.revoked")
    if start is None:
        return set(found)
    return {
        (code, number) for code, number in found
        if code not in OF_RULES and (number is None or number < start)
    }  # fmt: skip


def verdict_of(found: frozenset[Found]) -> Verdict:
    """What these findings amount to."""
    return max((VERDICTS[code] for code, _ in found), key=GRAVITY.index, default=Verdict.VERIFIED)


# --- many logs that have most of their lines in common ---


@contextmanager
def quick() -> Iterator[None]:
    """What a line decodes to, and whether a signature verifies, is worked out once for the same bytes."""
    load_key = one_file.load_key

    def load(pem: str) -> one_file.Key:
        key = load_key(pem)
        return one_file.Key(key.id, key.algorithm, key.pem, _remembered(key.verify))

    with ExitStack() as stack:
        for owner, name, made in (
            (one_file, "load_key", _remembered(load)),
            (one_file, "parse_vkey", _remembered(one_file.parse_vkey)),
            (one_file, "_verify_line", _remembered(one_file._verify_line)),
            (one_file, "decode_entry", _remembered(one_file.decode_entry)),
            (one_file, "find_wrong_hashes", _remembered(_listed(one_file.find_wrong_hashes), 1)),
            (one_file, "FINDINGS_SHOWN", 10_000),
            (entries, "decode_line", _remembered(entries.decode_line)),
            (entries, "canonical_hashes", _remembered(entries.canonical_hashes, 1)),
            (policies, "load_public_key", _remembered(signatures.load_public_key)),
            (genesis, "load_public_key", _remembered(signatures.load_public_key)),
            (signatures.PublicKey, "verify", _verified_once(signatures.PublicKey.verify)),
        ):
            stack.enter_context(patch.object(owner, name, made))
        yield


REMEMBERED_MAX: Final = 4_000


def _remembered(function: Callable[..., Any], skip: int = 0) -> Callable[..., Any]:
    """The function, which must be pure, with its answers kept. `skip`: first arguments, told by the rest."""
    answers: dict[Any, tuple[Any, Exception | None]] = {}

    def ask(*arguments: Any) -> tuple[Any, Exception | None]:
        try:
            return function(*arguments), None
        except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
            return None, error

    def answer(*arguments: Any) -> Any:
        key = arguments[skip:]
        if key not in answers:
            if len(answers) >= REMEMBERED_MAX:
                answers.clear()
            answers[key] = ask(*arguments)
        value, problem = answers[key]
        if problem is not None:
            raise problem.with_traceback(None)
        return value

    return answer


def _listed(function: Callable[..., Iterator[Any]]) -> Callable[..., list[Any]]:
    return lambda *arguments: list(function(*arguments))


def _verified_once(verify: Callable[..., None]) -> Callable[..., None]:
    remembered = _remembered(lambda key, _id, signature, message: verify(key, signature, message), 1)
    return lambda self, signature, message: remembered(self, self.key_id, signature, message)
