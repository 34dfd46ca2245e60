"""A log against what is remembered of it: an older copy, in whole or in part, is not written to."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest
from tests.support.logs import (
    ORIGIN,
    OWNED,
    checkpoint_file,
    config_file,
    contents,
    copied,
    create,
    cut_tree,
    draft,
    drafts,
    last_segment,
    unremembered,
)

from attestlog._internal import last_signed, places
from attestlog._internal.adopting import adopt_log, look_at
from attestlog._internal.config import EPHEMERAL, change_config, read_config
from attestlog._internal.core.hashes import hex_hash
from attestlog._internal.last_signed import LastSigned, find
from attestlog._internal.log import Log
from attestlog._internal.log.keys import sign_head
from attestlog._internal.storage.resolve import open_source
from attestlog._internal.verifying import judge_log
from attestlog.errors import (
    AttestlogError,
    CorruptError,
    ExistsError,
    MalformedConfigError,
    NoHomeError,
    NoStateError,
    RollbackError,
    StateError,
    StorageError,
)
from attestlog.testing import MemorySigner, check_log

SIGN = "attestlog._internal.log.writer.sign_head"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log of three segments, and beside it `old`, a copy from when it had two."""
    log = create(tmp_path / "log", segment_entries=4)
    log.append_many(drafts(range(1, 6)))
    log.close()
    copied(log.path, "old")
    with Log.open(log.path) as again:
        again.append_many(drafts(range(6, 11)))
    return tmp_path / "log"


def kept(path: Path) -> LastSigned:
    found = find(places.state_dir(), open_source(path).entry(0).entry_hash)
    assert found is not None
    found.close()
    return found


def evidence(path: Path) -> list[str]:
    return [name for name in contents(path) if (path / name).is_file()]


def put_back(path: Path, old: Path, names: Iterable[str]) -> None:
    for name in names:
        if (old / name).exists():
            shutil.copyfile(old / name, path / name)
        else:
            (path / name).unlink()


def test_what_is_remembered(path: Path) -> None:
    with Log.open(path) as log:
        head = log.head()
        assert (kept(path).checkpoint.size, kept(path).head) == (11, (head.size, head.entry_hash))
        receipt = log.append(draft(11))
        assert kept(path).checkpoint.size == 11
        assert kept(path).head == (12, receipt.entry_hash)
    assert kept(path).checkpoint.size == 12
    assert kept(path).names.origin == ORIGIN


def test_a_whole_older_copy_is_refused_and_left_as_it_is(path: Path) -> None:
    old = path.with_name("old")
    shutil.rmtree(path)
    shutil.copytree(old, path)
    before = contents(path)
    with pytest.raises(RollbackError, match=r"11 entries of .*, the log has 6") as caught:
        Log.open(path)
    assert (caught.value.old, caught.value.size, caught.value.origin) == (11, 6, ORIGIN)
    assert caught.value.genesis == open_source(path).entry(0).entry_hash
    assert contents(path) == before


def test_parts_of_an_older_copy_never_lead_to_another_history(path: Path) -> None:
    """One by one and in all pairs: refused; or the log goes on where it was, and verifies if it is whole."""
    old, refused = path.with_name("old"), 0
    whole, head = contents(path), kept(path).head
    names = evidence(path)
    assert len(names) >= 5
    for some in [*((name,) for name in names), *itertools.combinations(names, 2)]:
        shutil.rmtree(path)
        for name, data in whole.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
        (path / "lock").touch()
        put_back(path, old, some)
        try:
            log = Log.open(path)
        except AttestlogError:
            refused += 1
            continue
        assert (log.head().size, log.head().entry_hash) == head, some
        log._store.close()
        is_whole = all((path / name).read_bytes() == whole[name] for name in names if "entries" in name)
        assert (judge_log(path, remember=False).verdict == "VERIFIED") == is_whole, some
    assert refused > len(names)


@pytest.mark.parametrize("is_signed", [True, False])
def test_a_cut_tail_is_not_laundered(tmp_path: Path, is_signed: bool) -> None:
    """Also one behind the last checkpoint, where nothing in the directory shows it."""
    log = create(tmp_path / "log")
    log.append(draft(1))
    log.checkpoint()
    at = last_segment(log.path).stat().st_size
    note = checkpoint_file(log.path).read_bytes()
    receipt = log.append(draft(2))
    if is_signed:
        log.checkpoint()
    log._store.close()
    os.truncate(last_segment(log.path), at)
    checkpoint_file(log.path).write_bytes(note)
    cut_tree(log.path, 2)
    before = contents(log.path)
    assert judge_log(log.path, remember=False).verdict == "VERIFIED"
    with pytest.raises(RollbackError) as caught:
        Log.open(log.path)
    assert (caught.value.old, caught.value.expected) == (3, receipt.entry_hash)
    assert contents(log.path) == before


def test_other_entries_of_the_same_number_are_refused(tmp_path: Path, keys: dict[str, Any]) -> None:
    """The key holder on another machine went on differently."""
    path = tmp_path / "log"
    Log.create(path, origin=ORIGIN, **keys).close()
    other = copied(path, "other")
    with Log.open(path) as log:
        log.append(draft(1))
    config = config_file(path)
    text = config.read_text()
    config.write_text(text.replace('state = "expected"', ""))
    with Log.open(other, state=tmp_path / "there") as fork:
        fork.append(draft(2))
    config.write_text(text)
    shutil.rmtree(path)
    shutil.copytree(other, path)
    before = contents(path)
    with pytest.raises(RollbackError, match="others"):
        Log.open(path)
    assert contents(path) == before


def test_more_than_is_remembered_is_good(path: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    change_config(open_source(path), lambda config: msgspec.structs.replace(config, state=""))
    with Log.open(path, state=there) as log:
        assert len(log.notices) == 1
        log.append(draft(11))
    with Log.open(path) as log:
        assert log.notices == []
        assert kept(path).acknowledged == 12
        assert kept(path).checkpoint.size == 12, "what the log's checkpoint covers is remembered, too"


def test_a_log_without_a_checkpoint_is_refused(path: Path) -> None:
    checkpoint_file(path).unlink()
    for forgotten in (False, True):
        if forgotten:
            unremembered(path)
        before = contents(path)
        with pytest.raises(CorruptError, match="has no checkpoint"):
            Log.open(path)
        assert contents(path) == before


# --- where nothing is remembered ---


def test_a_log_of_which_something_must_be_remembered(path: Path) -> None:
    assert read_config(open_source(path)).state == "expected"
    assert last_signed.forget(places.state_dir(), kept(path).names.genesis)
    with pytest.raises(NoStateError) as caught:
        Log.open(path)
    assert caught.value.genesis == open_source(path).entry(0).entry_hash
    adopt_log(path, look_at(path))
    with Log.open(path) as log:
        assert log.notices == []
    with pytest.raises(ExistsError):
        adopt_log(path, look_at(path))


def test_adopting_takes_what_was_seen_and_no_other(path: Path) -> None:
    unremembered(path)
    seen = look_at(path)
    assert (seen.origin, seen.size, seen.checkpoint_size) == (ORIGIN, 11, 11)
    with pytest.raises(RollbackError):
        adopt_log(path, seen._replace(entry_hash="0" * 64))
    with pytest.raises(RollbackError):
        adopt_log(path, seen._replace(size=12))
    assert find(places.state_dir(), seen.genesis) is None
    adopt_log(path, seen)
    assert read_config(open_source(path)).state == "expected"


def test_otherwise_it_is_adopted_and_a_line_says_so(path: Path) -> None:
    unremembered(path)
    with Log.open(path) as log:
        (said,) = log.notices
        assert f"nothing was remembered of {ORIGIN} here" in said
    with Log.open(path) as log:
        assert log.notices == []


def test_what_is_ephemeral_remembers_nothing_and_needs_a_fence(path: Path) -> None:
    unremembered(path)
    change_config(
        open_source(path),
        lambda config: msgspec.structs.replace(
            config, state=EPHEMERAL, fence=["http://127.0.0.1:9/"], fence_optional=True
        ),
    )
    with Log.open(path) as log:
        (said,) = log.notices
        assert "could not be asked" in said
    assert find(places.state_dir(), open_source(path).entry(0).entry_hash) is None
    text = config_file(path).read_text()
    config_file(path).write_text(text.replace("fence_optional = true\n", ""))
    with pytest.raises(StorageError, match="could not be asked"):
        Log.open(path)
    config_file(path).write_text("".join(line for line in text.splitlines(True) if "fence" not in line))
    with pytest.raises(MalformedConfigError, match="fence names nobody"):
        Log.open(path)


@pytest.mark.parametrize("below", ["", "witness"])
def test_a_fence_has_more_than_an_older_copy(path: Path, tmp_path: Path, below: str) -> None:
    unremembered(path)
    site = tmp_path / "site"
    folder = site / hex_hash(ORIGIN.encode()) if below else site
    folder.mkdir(parents=True)
    shutil.copyfile(checkpoint_file(path), folder / "checkpoint")
    serve = partial(SimpleHTTPRequestHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}"
        change_config(
            open_source(path),
            lambda config: msgspec.structs.replace(config, state=EPHEMERAL, fence=[url]),
        )
        try:
            with Log.open(path) as log:
                assert log.notices == []
            shutil.rmtree(path)
            shutil.copytree(path.with_name("old"), path)
            before = contents(path)
            with pytest.raises(RollbackError, match=f"{url} covers 11 entries of .*, the log has 6"):
                Log.open(path)
            assert contents(path) == before
        finally:
            server.shutdown()


def test_the_library_opens_with_no_files_and_no_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any]
) -> None:
    Log.create(tmp_path / "log", origin=ORIGIN, **keys).close()
    for name in ("HOME", "ATTESTLOG_HOME", "ATTESTLOG_STATE", "ATTESTLOG_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(NoHomeError):
        Log.open(tmp_path / "log", **keys)
    for number in range(2):
        with Log.open(tmp_path / "log", **keys, state=tmp_path / "state") as log:
            log.append(draft(number))
    assert len(check_log(tmp_path / "log")) == 3


def no_home() -> Path:
    raise RuntimeError("could not determine home directory")


def test_a_state_that_cannot_be_written_is_no_reason_to_go_on_without(path: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    change_config(open_source(path), lambda config: msgspec.structs.replace(config, state=""))
    with pytest.raises(StorageError):
        Log.open(path, state=tmp_path / "file")
    kept(path).path.chmod(0o666)
    with pytest.raises(StateError, match="others can write it"):
        Log.open(path)


def test_a_checkpoint_key_signs_one_log_of_a_name(tmp_path: Path) -> None:
    key = MemorySigner("Ed25519")
    create(tmp_path / "log", checkpoint_signer=key).close()
    with pytest.raises(ExistsError, match="signs another log of that name") as caught:
        create(tmp_path / "again", checkpoint_signer=key)
    assert caught.value.evidence()["what"] == "checkpoint_key"
    assert not (tmp_path / "again").exists()
    create(tmp_path / "again").close()


def test_another_log_of_the_name_is_said_at_once(tmp_path: Path) -> None:
    create(tmp_path / "log", origin=OWNED).close()
    judge_log(tmp_path / "log")
    with pytest.warns(UserWarning, match=f"attestlog memory forget {OWNED}"):
        create(tmp_path / "again", origin=OWNED).close()


def test_under_an_examples_name_another_log_is_nothing_to_say(tmp_path: Path) -> None:
    for name in ("log", "again"):
        create(tmp_path / name).close()
        assert judge_log(tmp_path / name).verdict == "VERIFIED"


# --- the order of things ---


def test_it_is_durable_before_the_signature_is_asked_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def sign(holders: Any, checkpoint: Any, now_us: int) -> bytes:
        seen.append(kept(path).checkpoint.size)
        return sign_head(holders, checkpoint, now_us)

    with Log.open(path) as log:
        log.append(draft(11))
        monkeypatch.setattr(SIGN, sign)
        log.checkpoint()
    assert seen == [12]


def test_a_checkpoint_that_cannot_be_remembered_is_not_signed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise StorageError("full")

    with Log.open(path) as log:
        log.append(draft(11))
        with monkeypatch.context() as patch:
            patch.setattr(LastSigned, "sign", fail)
            patch.setattr(SIGN, lambda *_: pytest.fail("it was signed"))
            with pytest.raises(StorageError, match="full"):
                log.checkpoint()


def test_a_commit_is_remembered_before_its_receipt_and_after_it_is_durable(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    with Log.open(path) as log:
        commit = log._store.commit

        def noted(*given: Any) -> None:
            commit(*given)
            sizes.append(kept(path).acknowledged)

        monkeypatch.setattr(log._store, "commit", noted)
        log.append(draft(11))
        sizes.append(kept(path).acknowledged)
    assert sizes == [11, 12]


def test_one_pwrite_an_append_and_no_flush(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    with Log.open(path) as log:
        log.append_many(drafts([11, 12]))
        log.append(draft(13))  # the segment before is closed by now
        where = kept(path).path

        def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
            def call(descriptor: int, *given: Any) -> Any:
                if Path(f"/proc/self/fd/{descriptor}").readlink() == where:
                    calls.append(name)
                return real(descriptor, *given)

            return call

        with monkeypatch.context() as patch:
            for name in ("pwrite", "pread", "fsync", "fdatasync"):
                patch.setattr(os, name, counted(name, getattr(os, name)))
            log.append(draft(14))
    assert calls == ["pwrite"]


CRASH = """
import os, signal, sys
from attestlog._internal import last_signed
from attestlog._internal.log import Log, writer
from attestlog._internal.storage.files.store import FileStore
from tests.support.logs import draft
path, step = sys.argv[1:]
def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
def after(call): return lambda *given, **more: (call(*given, **more), die())
log = Log.open(path)
owner, name = {
    "before the commit is remembered": (last_signed.LastSigned, "commit"),
    "before the checkpoint is remembered": (last_signed.LastSigned, "sign"),
    "before it is signed": (writer, "sign_head"),
    "before it is stored": (FileStore, "replace_checkpoint"),
}.get(step, (FileStore, "replace_checkpoint"))
setattr(owner, name, after(getattr(owner, name)) if step.startswith("after") else die)
log.append(draft(50))
log.checkpoint()
"""


@pytest.mark.parametrize(
    "step",
    [
        "before the commit is remembered", "before the checkpoint is remembered", "before it is signed",
        "before it is stored", "after it is stored",
    ],
)  # fmt: skip
def test_killed_between_memory_signature_and_checkpoint(
    tmp_path: Path, keys: dict[str, Any], step: str
) -> None:
    """Whatever was not done yet, the log opens and goes on; and nothing that was acknowledged may go then."""
    path = tmp_path / "log"
    with Log.create(path, origin=ORIGIN, **keys) as log:
        log.append(draft(1))
    done = subprocess.run([sys.executable, "-c", CRASH, str(path), step], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with Log.open(path) as log:
        assert log.head().size == 3
        log.append(draft(2))
    check_log(path)
    assert kept(path).acknowledged == 4
