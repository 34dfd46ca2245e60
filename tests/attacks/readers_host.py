"""Somebody who can write what a reader or a writer remembers, configures or caches on their own machine.

It is their own: who can write there can put other software there, too. What is tried shows what holds all
the same.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.attacks.key_holder import rewritten
from tests.attacks.kit import (
    DETECTED,
    NOT_GUARANTEED,
    PREVENTED,
    READERS_HOST,
    Ground,
    Left,
    Story,
    attempt,
)
from tests.support.logs import OWNED, config_file, draft

from attestlog._internal import places
from attestlog._internal.in_force import read_rules
from attestlog._internal.log import Log
from attestlog._internal.storage.resolve import open_source
from attestlog._internal.verifying import judge_log
from attestlog.testing import ManualClock, MemorySigner


def remembered(ground: Ground, made: Story) -> Path:
    """The memory of a reader who verified the log: its one file."""
    state = ground.folder / "state"
    judge_log(ground.lay_out(made.files()), state_dir=state)
    (memory,) = state.glob("*.json")
    return memory


@attempt(READERS_HOST, NOT_GUARANTEED, "VERIFIED")
def forgets(ground: Ground) -> Left:
    """Removes what the reader remembers, and rewrites the log."""
    made = Story()
    remembered(ground, made).unlink()
    return Left(made.files(rewritten(made)), options={"state_dir": ground.folder / "state"})


@attempt(READERS_HOST, DETECTED, "UNKNOWN memory.unreadable", "VERIFIED")
def spoils_the_memory(ground: Ground) -> Left:
    """Garbage in its place: what was remembered cannot be read, and that is told."""
    made = Story()
    remembered(ground, made).write_bytes(b"{}")
    return Left(made.files(rewritten(made)), options={"state_dir": ground.folder / "state"})


@attempt(READERS_HOST, DETECTED, "UNKNOWN memory.unreadable", "VERIFIED")
def has_the_memory_be_a_pipe(ground: Ground) -> Left:
    """A pipe that nobody writes to."""
    made = Story()
    memory = remembered(ground, made)
    memory.unlink()
    os.mkfifo(memory)
    return Left(made.files(), options={"state_dir": ground.folder / "state"})


@attempt(READERS_HOST, DETECTED, "FORKED memory.genesis", "VERIFIED")
def shows_a_stranger_first(ground: Ground) -> Left:
    """A log of a stranger under the origin, looked at once: then the true one contradicts what is known."""
    remembered(ground, Story(origin=OWNED, other=True))
    return Left(Story(origin=OWNED).files(), options={"state_dir": ground.folder / "state"})


@attempt(READERS_HOST, PREVENTED, "VERIFIED memory.replaced")
def shows_a_stranger_first_to_who_trusts_the_key(ground: Ground) -> Left:
    """The same, for a reader who gives the true genesis hash: it beats a memory that nobody vouched for."""
    remembered(ground, Story(origin=OWNED, other=True))
    made = Story(origin=OWNED)
    options = {"state_dir": ground.folder / "state"}
    return Left(made.files(), trust=[made.rules.genesis_hash], options=options)


@attempt(READERS_HOST, DETECTED, "VERIFIED memory.place", "VERIFIED")
def puts_another_log_at_a_known_place(ground: Ground) -> Left:
    """A sound log of another origin, where the reader verified one before."""
    state = ground.folder / "state"
    judge_log(ground.lay_out(Story().files()), state_dir=state)
    other = Story(origin="log.attestlog.dev/look-alike", other=True)
    ground.lay_out({}, "log")
    return Left(ground.lay_out(other.files()), options={"state_dir": state})


@attempt(READERS_HOST, PREVENTED, "VERIFIED")
def poisons_the_rules_that_are_cached(ground: Ground) -> Left:
    """Rules of another log in the cache: they are used only where the log's own entries lead to them."""
    with ground.live() as log:
        log.append(draft(1))
        rules = read_rules(open_source(log.path))
    folder = places.rules_dir()
    folder.mkdir(parents=True, exist_ok=True)
    for path in [*folder.iterdir(), folder / f"{rules.genesis_hash}.json"]:
        path.write_bytes(b'{"format":"attestlog/rules/v1"}')
    assert read_rules(open_source(log.path)).policy == rules.policy
    return Left(log.path)


# --- of a writer ---


@attempt(READERS_HOST, PREVENTED, "NoStateError")
def removes_what_was_signed_last(ground: Ground) -> None:
    """Then puts an older copy of the log back: without what was signed last, the log does not open."""
    with ground.live() as log:
        log.append(draft(1))
    for path in (places.state_dir() / "signed").iterdir():
        path.unlink()
    Log.open(log.path, clock=ManualClock()).close()


@attempt(READERS_HOST, PREVENTED, "StateError")
def spoils_what_was_signed_last(ground: Ground) -> None:
    """Garbage in its place."""
    with ground.live() as log:
        log.append(draft(1))
    for path in (places.state_dir() / "signed").glob("[0-9a-f]*"):
        path.write_bytes(b"garbage" * 512)
    Log.open(log.path, clock=ManualClock()).close()


@attempt(READERS_HOST, PREVENTED, "WrongKeyError")
def configures_another_key(ground: Ground) -> None:
    """The configuration names a key that the log does not know."""
    with ground.live() as log:
        log.append(draft(1))
        uri = config_file(log.path)
    text, stranger = uri.read_text(), MemorySigner()
    lines = [f'entry = "{stranger.uri}"' if line.startswith("entry") else line for line in text.splitlines()]
    uri.write_text("\n".join(lines) + "\n")
    Log.open(log.path, clock=ManualClock()).close()


@attempt(READERS_HOST, PREVENTED, "NoConfigError")
def configures_another_log(ground: Ground) -> None:
    """The configuration names another genesis entry."""
    with ground.live() as log:
        log.append(draft(1))
    path, genesis = config_file(log.path), log.rules.genesis_hash
    path.write_text(path.read_text().replace(genesis, "0" * 64))
    Log.open(log.path, clock=ManualClock()).close()


@attempt(READERS_HOST, PREVENTED, "MalformedConfigError")
def lets_others_write_the_configuration(ground: Ground) -> None:
    """A configuration that other users may write."""
    with ground.live() as log:
        log.append(draft(1))
    config_file(log.path).chmod(0o666)
    Log.open(log.path, clock=ManualClock()).close()
