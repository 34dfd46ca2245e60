"""Random histories of changes, by two writers and with crashes: all come to the same rules everywhere."""

import contextlib
import io
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.audits import verdicts
from tests.support.logs import ORIGIN, create, draft, drafts
from tests.support.repository import ROOT

from attestlog._internal import in_force
from attestlog._internal.approving import consent_to_admission
from attestlog._internal.cli import main
from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.genesis import Settings, parse_genesis
from attestlog._internal.core.pointer import Pointers
from attestlog._internal.core.policy import Policy, format_policy, parse_policy
from attestlog._internal.core.policy_change import set_policy_payload
from attestlog._internal.core.reserved import GOVERNING
from attestlog._internal.core.rules import Rules, format_hold
from attestlog._internal.in_force import read_rules
from attestlog._internal.log import Log
from attestlog._internal.storage.files.layout import list_segments
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import MalformedEntryError, RuleChangeError
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
            except (RuleChangeError, MalformedEntryError):
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


def check_every_entry(path: Path, step: int = 1) -> None:
    """Of every `step`-th entry: what its pointers lead to is what the entries before it led to."""
    lines = list(open_source(path).lines())
    start = folded = Rules.of(parse_genesis(decode_line(lines[0])))
    for number, line in enumerate(lines[1:]):
        if number % step == 0:
            pointers = Pointers.of(decode_line(line))
            assert facts(start.at(pointers, lines.__getitem__)) == facts(folded)
        folded, _ = folded.following([line])


def said(*arguments: object) -> list[dict[str, Any]]:
    """What a verb prints as JSON."""
    printed = io.BytesIO()
    with contextlib.redirect_stdout(io.TextIOWrapper(printed, write_through=True)):
        assert main([*map(str, arguments), "--json"]) == 0
        return [json.loads(line) for line in printed.getvalue().splitlines()]


def check_readers(path: Path) -> None:
    """Every verb that shows rules says what a fold over all lines says."""
    source = open_source(path)
    lines = list(source.lines())
    rules, _ = Rules.of(parse_genesis(decode_line(lines[0]))).following(lines[1:])
    (policy,) = said("policy", "show", path)
    assert policy == {**format_policy(rules.policy), "type": "policy"}
    holds = [{"type": "hold", **format_hold(hold)} for _, hold in sorted(rules.holds.items())]
    assert said("hold", "list", path) == holds
    keys = [row for row in said("keys", "list", path) if row["signs"] == "entries"]
    assert {row["key_id"]: (row["start"], row["stop"]) for row in keys} == {
        key_id: (term.start, term.stop) for key_id, term in rules.terms.items()
    }


@given(history=HISTORIES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_everyone_comes_to_the_same_rules_at_every_entry(
    history: list[tuple[int, tuple[str, int]]],
) -> None:
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(in_force, "KEPT_AFTER", 1):
        made = History(Path(folder))  # whoever reads finds in the cache what others left there
        assert made.logs[0].origin == ORIGIN
        for who, (what, number) in history:
            made.step(who, what, number)
            check_same_rules(made.path, made.logs)
        made.close()
        check_log(made.path)
        check_every_entry(made.path)
        check_readers(made.path)
        assert verdicts(made.path) == ("VERIFIED", "VERIFIED")


_CHANGER = """
import random, sys
from tests.property.test_pointers import change_at_random
from attestlog._internal.log import Log

path, signer, checkpoint_signer, seed = sys.argv[1:]
with Log.open(path, signer=signer, checkpoint_signer=checkpoint_signer) as log:
    print("open", flush=True)
    chance = random.Random(seed)
    while not sys.stdin.closed and log.head().size < 1_500:
        change_at_random(log, chance, f"{seed}-{log.head().size}")
"""


def change_at_random(log: Log, chance: random.Random, name: str) -> None:
    """One step; what the other process changed meanwhile may stop it, and then nothing is written."""
    with contextlib.suppress(RuleChangeError):
        match chance.randrange(7):
            case 0:
                log.append(
                    change("attestlog.set_policy", set_policy_payload(log.rules, policy(chance.randrange(9))))
                )
            case 1:
                log.add_hold(name, reason="litigation", actor_id="counsel", start=10**6)
            case 2 if log.holds:
                held = chance.choice(sorted(log.holds))
                log.release_hold(held, reason="settled", actor_id="counsel")
            case 3:
                log.append(change(chance.choice(sorted(GOVERNING)), {}, execution_status="FAILED"))
            case 4 if chance.random() < 0.1:
                log.checkpoint()
            case _:
                log.append_many(drafts(range(chance.randrange(1, 4))))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_two_processes_of_which_one_is_killed_again_and_again(tmp_path: Path, seed: int) -> None:
    """At any instant, mostly in the midst of a commit; the other goes on, and a new one takes its place."""
    keys = [f"file:{tmp_path / name}.pem" for name in ("entry", "checkpoint")]
    with create(
        tmp_path / "log", signer=keys[0], checkpoint_signer=keys[1], clock=None,
        settings=Settings(segment_entries=64),
    ) as log:  # fmt: skip
        start = log.rules

    def begin(number: int) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-c", _CHANGER, str(tmp_path / "log"), *keys, f"{seed}-{number}"]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, cwd=ROOT)
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        return process

    chance, running = random.Random(seed), [begin(0), begin(1)]
    try:
        for number in range(2, 6):
            time.sleep(chance.random() / 2)
            killed = running.pop(0)
            killed.send_signal(signal.SIGKILL)
            killed.communicate()
            running.append(begin(number))
    finally:
        for process in running:
            process.kill()
            process.communicate()
    with Log.open(tmp_path / "log", signer=keys[0], checkpoint_signer=keys[1]) as log:
        check_same_rules(tmp_path / "log", [log])
        assert log.rules.pointers != start.pointers
    check_log(tmp_path / "log")
    check_every_entry(tmp_path / "log", step=max(1, open_source(tmp_path / "log").size() // 20))
    check_readers(tmp_path / "log")
    assert verdicts(tmp_path / "log") == ("VERIFIED", "VERIFIED")
