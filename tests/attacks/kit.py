"""An attacker's kit: what each kind of attacker tries on a real log, and what is seen of it.

    @attempt(OUTSIDER, DETECTED, "TAMPERED entry.chain")
    def takes_an_entry_out_of_the_middle(ground: Ground) -> Left:
        made = ground.story()
        return Left(made.files(made.lines[:3] + made.lines[4:]))

An attempt either leaves the files of a log, which both verifiers then judge, or asks something of the
product, which refuses with an error of ours. What is seen is written beside it: the full verifier's verdict
and the code of its first finding, or the name of the error; and what the one-file verifier says, where that
differs.

    PREVENTED       refused, or without any effect: the log is as sound afterwards as it was
    DETECTED        it happens, and verification names it
    NOT_GUARANTEED  nothing here shows it: docs/threat-model.md says so, and names the attempt

Attempts are called `<who>.<function>`. `python -m tests.attacks` prints them all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.support.audits import verdicts
from tests.support.both import Content, Judgement, Place, compare, quick
from tests.support.histories import ALL_KEYS, History, Members
from tests.support.logs import ORIGIN, START_US, LogMaker, create, draft, drafts
from tests.support.people import PEOPLE, governed

from attestlog._internal.core.approval import REASONS
from attestlog._internal.core.policy import Policy
from attestlog._internal.core.report import Judgement as Judged
from attestlog._internal.core.report import Verdict
from attestlog._internal.log import Log
from attestlog._internal.verifier import verify as one_file
from attestlog._internal.verifying import judge_log
from attestlog.errors import ActionBlockedError, AttestlogError
from attestlog.testing import ManualClock

OUTSIDER: Final = "outsider"
"""Can change files, holds no key."""
APPENDER: Final = "appender"
"""Has the API of a log, or a token to append; no key, no files."""
APPROVER: Final = "approver"
"""Holds an approver's key."""
RETIRED_KEY: Final = "retired_key"
"""Holds an entry key that was rotated away or revoked, and can change files."""
KEY_HOLDER: Final = "key_holder"
"""The operator: the keys of the log, and its files."""
REPLICA: Final = "replica"
"""Operates a replica, or sends to one."""
WITNESS: Final = "witness"
"""Operates a witness, or sends to one."""
READERS_HOST: Final = "readers_host"
"""Can write what a reader or a writer remembers, configures or caches."""


class Outcome(StrEnum):
    PREVENTED = "prevented"
    DETECTED = "detected"
    NOT_GUARANTEED = "not guaranteed"


PREVENTED, DETECTED, NOT_GUARANTEED = Outcome


class Left(NamedTuple):
    """What the attacker leaves, and how the reader looks at it."""

    files: Mapping[str, Content] | Path
    """Of the log's directory: laid out by the runner, or there already."""
    trust: Sequence[str] = ()
    options: Mapping[str, Any] = {}
    """Further ones of the full verifier: `held`, `trust_policy`, `state_dir` …"""


class Said(NamedTuple):
    """What was said of something that is no log's directory: a proof, an export, a chain of logs."""

    full: Judged
    one_file: str = ""
    """The one-file verifier's verdict, where it judges such a thing."""


class Attempt(NamedTuple):
    who: str
    name: str
    outcome: Outcome
    seen: str
    """`<verdict> <code of the first finding>`, or the name of the error."""
    one_file: str
    must_agree: bool
    """Whether both verifiers must find the same: not where it is said what the one file leaves out."""
    run: Callable[[Ground], Left | Said | None]

    @property
    def called(self) -> str:
        return f"{self.who}.{self.name}"

    @property
    def tries(self) -> str:
        return self.run.__doc__ or self.name.replace("_", " ")


class Seen(NamedTuple):
    full: str
    one_file: str


ATTEMPTS: dict[str, Attempt] = {}


def attempt(
    who: str, outcome: Outcome, seen: str, one_file: str | None = None
) -> Callable[[Callable[[Ground], Left | Said | None]], Callable[[Ground], Left | Said | None]]:
    """Register a function. `one_file`: that verifier's verdict, where it is not the full one's."""

    def add(run: Callable[[Ground], Left | Said | None]) -> Callable[[Ground], Left | Said | None]:
        verdict = seen.split(maxsplit=1)[0]
        said = one_file if one_file is not None else verdict if verdict in list(Verdict) else "VERIFIED"
        made = Attempt(who, run.__name__, outcome, seen, said, one_file is None, run)
        assert made.called not in ATTEMPTS, made.called
        ATTEMPTS[made.called] = made
        return run

    return add


POLICY: Final = governed(
    rules={
        "pay": {"action_types": ["pay"], "required_approvals": 1},
        "changes": {"action_types": ["attestlog.*policy*", "attestlog.release_*"], "required_approvals": 2},
        "never": {"action_types": ["wipe"], "deny": True, "reason": "nobody wipes"},
    },
    erasure={"action_types": ["*"]},
)
"""One approval for a payment, two for a change of the policy or the end of a hold."""


class Story(History):
    """A log in memory: genesis, a batch of three, two signed alone, a batch of two; segments of four.

    Keys of `ALL_KEYS`, under `POLICY`. `other`: a different log of the same origin, with
    the same keys and policy.
    """

    def __init__(self, *, other: bool = False, origin: str = ORIGIN, policy: Policy = POLICY) -> None:
        LogMaker.__init__(
            self, Path("/nowhere"), origin=origin, key=ALL_KEYS[0], policy=policy, segment_entries=4,
            first_id=500 * other,
        )  # fmt: skip
        self.keys = {key.public.key_id: key for key in ALL_KEYS}
        self.append(*drafts(range(1, 4)))
        self.append(draft(4), batched=False)
        self.append(draft(5), batched=False)
        self.append(*drafts(range(6, 8)))

    def append_unjudged(self, act: Members) -> None:
        """An entry that may not hold: what follows is under the rules before it, if so."""
        self.append(act, batched=False)

    def approved(self, act: Members, *numbers: int, **said: str) -> Members:
        """With approvals by these of `PEOPLE`."""
        return {**act, "received_approvals": [PEOPLE[at].approve(act, self.log, **said) for at in numbers]}

    def pay(self, number: int = 8, **members: Any) -> Members:
        """A payment that the creator approved, as the policy asks for."""
        return self.approved(draft(number, action_type="pay", **members), 0)


class Ground:
    """Where one attempt takes place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sound: list[Path] = []
        """Logs that must be sound once a request was refused."""

    def live(self, name: str = "log", **options: Any) -> Log:
        """A log on disk, made by the product, open."""
        options.setdefault("clock", ManualClock(START_US))
        options.setdefault("policy", POLICY)
        log = create(self.folder / name, **options)
        self.sound.append(log.path)
        return log

    def lay_out(self, files: Mapping[str, Content], name: str = "log") -> Path:
        """These files as the directory of a log."""
        path = self.folder / name
        path.mkdir(exist_ok=True)
        Place(path).put(files)
        return path


def entries_of(made: History) -> list[Members]:
    return [json.loads(line) for line in made.lines]


# --- what is seen ---


def see(one: Attempt, ground: Ground, place: Place) -> Seen:
    """Try it, and look."""
    try:
        left = one.run(ground)
    except AttestlogError as error:
        return Seen(" ".join([type(error).__name__, *_reasons(error)]), _still_sound(ground))
    if left is None:
        return Seen("nothing", _still_sound(ground))
    if isinstance(left, Said):
        return Seen(_in_short(left.full), left.one_file)
    return _judge(left, place, must_agree=one.must_agree)


def _judge(left: Left, place: Place, *, must_agree: bool) -> Seen:
    root = left.files if isinstance(left.files, Path) else place.root
    if not isinstance(left.files, Path):
        place.put(left.files)
    options = {"remember": "state_dir" in left.options, **left.options}
    with quick():
        report = judge_log(root, trust=left.trust, workers=1, **options)
        by_one = one_file.Report()
        one_file.verify(by_one, root, None, one_file.parse_trust(list(left.trust)))
        if must_agree and not left.options:
            difference = compare(root, left.trust)
            assert difference is None, difference
    return Seen(_in_short(report), Judgement(by_one.verdict, frozenset()).verdict)


def _in_short(report: Judged) -> str:
    """The verdict, and the first finding of that verdict (a notice, where nothing is at fault)."""
    codes = [found.code for found in report.findings if found.verdict is report.verdict]
    return " ".join([report.verdict.value, *codes[:1]])


def _reasons(error: AttestlogError) -> list[str]:
    """Why the first approval that an act was blocked for does not count."""
    if not isinstance(error, ActionBlockedError):
        return []
    refused = [why for reason in error.reasons for why in reason["evidence"].get("refused", ())]
    return [code for code, words in REASONS.items() for why in refused[:1] if why.endswith(words)]


def _still_sound(ground: Ground) -> str:
    """The verdict of both verifiers on the logs that the attempt was made on: it is the same."""
    said = {verdict for path in ground.sound for verdict in verdicts(path)}
    return " ".join(sorted(said))
