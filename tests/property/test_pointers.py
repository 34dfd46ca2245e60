"""Random histories of changes, by two writers and with crashes: all come to the same rules everywhere."""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.logs import ORIGIN, create, draft, drafts

from attestlog._internal.approving import consent_to_admission
from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.genesis import Settings, parse_genesis
from attestlog._internal.core.pointer import Pointers
from attestlog._internal.core.policy import Policy, format_policy, parse_policy
from attestlog._internal.core.policy_change import set_policy_payload
from attestlog._internal.core.reserved import GOVERNING
from attestlog._internal.core.rules import Rules
from attestlog._internal.in_force import read_rules
from attestlog._internal.log import Log
from attestlog._internal.storage.files.layout import list_segments
from attestlog._internal.storage.resolve import open_source
from attestlog._internal.verifier import verify as one_file
from attestlog.errors import RuleChangeError
from attestlog.testing import MemorySigner, check_log

STEPS = st.one_of(
    st.tuples(st.sampled_from(["append", "policy", "hold", "release"]), st.integers(1, 4)),
    st.tuples(st.sampled_from(["rotate", "admit", "revoke", "erase"]), st.just(1)),
    st.tuples(
        st.sampled_from(["failed", "refused", "checkpoint", "reopen", "crash", "torn"]), st.integers(1, 3)
    ),
)
HISTORIES = st.lists(st.tuples(st.integers(0, 1), STEPS), min_size=1, max_size=25)


def change(name: str, payload: Any, **members: Any) -> dict[str, Any]:
    return draft(0, event_type="CHANGE", action_type=name, action_payload=payload, **members)


class History:
    """One log and two writers of it, each with a key of its own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "log"
        self.keys = [MemorySigner(), MemorySigner("Ed25519")]
        self.check_signer = MemorySigner("Ed25519")
        self.names: list[str] = []
        first = create(
            self.path, signer=self.keys[0].uri, checkpoint_signer=self.check_signer.uri, clock=None,
            settings=Settings(segment_entries=8, erasable_payloads=True),
        )  # fmt: skip
        first.admit_key(consent_to_admission(self.path, self.keys[1].uri, label="second"))
        self.logs = [first, self.opened(1)]

    def opened(self, who: int) -> Log:
        return Log.open(self.path, signer=self.keys[who].uri, checkpoint_signer=self.check_signer.uri)

    def step(self, who: int, what: str, number: int) -> None:
        log = self.logs[who]
        match what:
            case "append":
                log.append_many(drafts(range(number)))
            case "policy":
                log.head()  # the other one may have changed it meanwhile
                log.append(change("attestlog.set_policy", set_policy_payload(log.rules, policy(number))))
            case "hold":
                self.names.append(f"hold-{len(self.names)}")
                log.add_hold(self.names[-1], reason="litigation", actor_id="counsel", start=10**6)
            case "release" if self.names:
                log.release_hold(
                    self.names.pop(number % len(self.names)), reason="settled", actor_id="counsel"
                )
            case "rotate":
                self.keys[who] = MemorySigner()
                log.rotate_key(self.keys[who].uri)
            case "admit":
                log.admit_key(consent_to_admission(self.path, MemorySigner("Ed25519").uri, label="spare"))
            case "revoke":
                self.revoke(log)
            case "erase":
                self.erase(log)
            case "failed":
                name = sorted(GOVERNING)[number]
                log.append(change(name, {"number": number}, execution_status="FAILED"))
            case "refused":
                self.refused(log, number)
            case "checkpoint":
                log.checkpoint()
            case "reopen":
                log.close()
                self.logs[who] = self.opened(who)
            case "crash" | "torn":
                self.crash(who, what == "torn", number)

    def revoke(self, log: Log) -> None:
        """A spare key that was admitted: those of the writers stay."""
        own = {key.public_key.key_id for key in self.keys}
        spare = [key for key, term in log.rules.terms.items() if term.label == "spare" and term.stop is None]
        for key_id in [key for key in spare if key not in own][:1]:
            last = log.rules.terms[key_id].start - 1
            log.revoke_key(key_id, reason="not needed", last_trusted=last)

    def erase(self, log: Log) -> None:
        for entry in log.query(event_type="ACTION"):
            if entry.action_payload is not None:
                log.erase(entry.sequence_number, reason="asked for", actor_id="officer")
                return

    def refused(self, log: Log, number: int) -> None:
        size = log.head().size
        payload = [{}, {"policy": {}}, {"name": "x"}][number - 1]
        for name in ("attestlog.set_policy", "attestlog.rotate_signing_key", "attestlog.release_legal_hold"):
            try:
                log.append(change(name, payload))
            except RuleChangeError:
                continue
            raise AssertionError(f"{name} was stored")
        assert log.head().size == size

    def crash(self, who: int, is_torn: bool, number: int) -> None:
        """The process ends without closing; perhaps while it wrote."""
        self.logs[who]._store.release()
        if is_torn:
            (_, segment) = list_segments(self.path)[-1]
            with segment.open("ab") as file:
                file.write(b'{"action_hash":"' + b"0" * 100 * number)
        self.logs[who] = self.opened(who)

    def close(self) -> None:
        for log in self.logs:
            log.close()


def policy(floor: int) -> Policy:
    return parse_policy({"safety_floor": floor})


def facts(rules: Rules) -> tuple[Any, ...]:
    policy = format_policy(rules.policy), rules.policy_by
    return (
        rules.key_ids, rules.terms, policy, rules.holds, rules.placed_by, rules.pointers, rules.start,
    )  # fmt: skip


def check_same_rules(path: Path, logs: list[Log]) -> None:
    """At the end: the open writers, a fresh reader, and a fold over all lines."""
    lines = list(open_source(path).lines())
    folded, _ = Rules.of(parse_genesis(decode_line(lines[0]))).following(lines[1:])
    assert facts(read_rules(open_source(path))) == facts(folded)
    unread = read_rules(open_source(path), with_holds=False)
    assert (unread.pointers, unread.terms, unread.policy) == (folded.pointers, folded.terms, folded.policy)
    for log in logs:
        assert log.holds == folded.holds
        assert (log.rules.pointers, log.rules.terms) == (folded.pointers, folded.terms)


def check_every_entry(path: Path) -> None:
    """Of each entry: what its pointers lead to is what the entries before it led to."""
    lines = list(open_source(path).lines())
    start = folded = Rules.of(parse_genesis(decode_line(lines[0])))
    for line in lines[1:]:
        pointers = Pointers.of(decode_line(line))
        assert facts(start.at(pointers, lines.__getitem__)) == facts(folded)
        folded, _ = folded.following([line])


@given(history=HISTORIES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_everyone_comes_to_the_same_rules_at_every_entry(
    history: list[tuple[int, tuple[str, int]]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = History(Path(folder))
        assert made.logs[0].origin == ORIGIN
        for who, (what, number) in history:
            made.step(who, what, number)
            check_same_rules(made.path, made.logs)
        made.close()
        check_log(made.path)
        check_every_entry(made.path)
        report = one_file.Report()
        one_file.verify(report, made.path, None, one_file.Trust([], [], []))
        assert report.verdict == "VERIFIED", report.facts
