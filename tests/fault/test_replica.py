"""What befalls replica and writer: a full disk, a clock that jumps, a kill, a cut network."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from examples.replicas import Server
from tests.fault.processes import Promises, create_shared, start_writer
from tests.support.faults import FAULTS, Faults, injected
from tests.support.logs import LogMaker, draft
from tests.support.namespaces import Namespace, made_namespace
from tests.support.replicas import NAME, copy_of, log_to_ship, new_replica, note, ship, soon
from tests.support.tally import tally
from tests.support.tls import authority
from tests.support.tools import root, tool

import attestlog
from attestlog._internal.core.cosignature import decode_timestamped
from attestlog._internal.core.note import COSIGNATURE_ED25519
from attestlog._internal.core.replication import Shipment, log_id
from attestlog._internal.core.report import Verdict
from attestlog._internal.replica import Replica
from attestlog._internal.replication import client as client_module
from attestlog._internal.replication import sender as sender_module
from attestlog._internal.replication.settings import add_replica, replica_at
from attestlog._internal.replication.status import replica_status
from attestlog._internal.server.tokens import Scope, TokenFile
from attestlog._internal.storage.resolve import open_source
from attestlog._internal.verifying import judge_log
from attestlog.errors import ReplicationError, StorageError
from attestlog.testing import MemorySigner

SIZES = (0, 1, 9, 16, 17, 32, 41)
"""Of whole prefixes: the genesis entry, shipments, segments."""


@pytest.fixture
def made(tmp_path: Path) -> LogMaker:
    return log_to_ship(tmp_path / "made")


@pytest.fixture
def replica(tmp_path: Path) -> Replica:
    return new_replica(tmp_path / "replica")


# --- a full disk ---


@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize(
    "call, kind",
    [(call, kind) for call, kinds in FAULTS.items() for kind in kinds if kind in {"ENOSPC", "short"}],
)
def test_a_disk_that_fills_up_at_any_step_leaves_a_prefix_and_it_goes_on_when_there_is_room(
    call: str, kind: str, is_restarted: bool, made: LogMaker, tmp_path: Path
) -> None:
    log, shipments = (
        log_id(made.origin),
        [ship(made, *run, signed=True) for run in ((0, 9), (9, 17), (17, 41))],
    )
    for nth in range(1, 60):
        one = Replica(tmp_path / f"{nth}", NAME, MemorySigner("Ed25519"))
        answered = 0
        with injected(Faults(call, nth, kind, lasting=True)) as faults:
            try:
                for shipment in shipments:
                    answered = one.take(log, shipment).size
            except StorageError:
                tally("full disks of a replica")
        if not faults.struck:
            one.close()
            assert nth > 1
            return
        if is_restarted:
            one.close()
            one = Replica(tmp_path / f"{nth}", NAME, MemorySigner("Ed25519"))
        held = 0
        if one.logs():
            with one.holding(log) as holding:
                held = holding.head().size
        assert held >= answered
        assert held in SIZES, (call, nth)
        answer = one.take(log, Shipment(0, made.lines, note(made)))
        assert (answer.size, len(answer.cosignatures)) == (41, 1)
        one.close()
        assert judge_log(one.path(log), remember=False, workers=1).verdict == Verdict.VERIFIED
    pytest.fail("the faults never ended")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for about a hundred entries."""
    place = tmp_path / "small"
    place.mkdir()
    root("mounts a small file system")
    try:
        mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", place)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this kernel mounts no tmpfs: {error.stderr!r}")
    yield place
    subprocess.run([tool("umount"), place], check=True)


def mount(*arguments: str | Path) -> None:
    subprocess.run([tool("mount"), *arguments], check=True, capture_output=True)


def test_a_replica_process_whose_disk_is_full_says_so_and_catches_up_when_it_grows(
    log: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "PAUSE_MAX_S", 0.5)
    keys = ("--name", NAME, "--key", f"file:{log.parent}/copies.pem")
    with Server("replica", small_disk / "copies", *keys) as served:
        copy = follow(log, served)
        with attestlog.open(log) as opened:
            for start in range(0, 300, 30):
                opened.append_many(
                    [
                        draft(number, result_data={"padding": "x" * 9_000})
                        for number in range(start, start + 30)
                    ]
                )
            soon(lambda: "No space left" in replica_status(log)[0].error)
            lacking = replica_status(log)[0].lag
            assert lacking > 100
            mount("-o", "remount,size=64m", small_disk)
            soon(lambda: replica_status(log)[0].lag == 0)
            tally("full disks of a replica")
        check_copy(log, copy)


# --- a clock that jumps ---


def test_a_cosignature_is_never_of_an_earlier_time_than_the_last(
    made: LogMaker, replica: Replica, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, begin = log_id(made.origin), 1_800_000_000
    times = []
    for jump, stop in ((0, 9), (-86_400, 17), (86_400, 32), (-1, 32), (86_400 * 365, 33), (5, 41)):
        monkeypatch.setattr(
            "attestlog._internal.replica.holding.time.time", lambda jump=jump: begin + jump + 0.9
        )
        start = 0 if stop == 9 else 9
        (line,) = replica.take(log, ship(made, start, stop, signed=True)).cosignatures
        times.append(decode_timestamped(line, COSIGNATURE_ED25519)[0] - begin)
        if stop == 17:  # what it signed is remembered by the next process
            replica = Replica(replica.directory, NAME, replica._signer)
    assert times == [0, 0, 86_400, 86_400, 86_400 * 365, 86_400 * 365]
    assert judge_log(copy_of(replica, made), remember=False, workers=1).verdict == Verdict.VERIFIED
    replica.close()


# --- the writer's process, killed; a network, cut ---


@pytest.fixture
def log(tmp_path: Path) -> Path:
    create_shared(tmp_path / "log").close()
    return tmp_path / "log"


def follow(log: Path, served: Server, ca: Path | None = None) -> Path:
    """Have the log sent there; where its copy is."""
    origin = open_source(log).genesis().origin
    token = log.with_name("token")
    token.write_text(TokenFile(served.folder).mint("writer", [Scope.REPLICATE], origin))
    add_replica(log, replica_at(served.url, served.vkey, token, ca))
    return served.folder / "logs" / log_id(origin) / "log"


def check_copy(log: Path, copy: Path) -> None:
    """All that is in the log, once, byte for byte."""
    assert list(open_source(copy).lines()) == list(open_source(log).lines())
    assert judge_log(copy, remember=False, workers=1).verdict == Verdict.VERIFIED


def wait_for_more(copy: Path) -> None:
    """Until entries come in."""
    before = open_source(copy).size() if copy.exists() else 0
    soon(lambda: copy.exists() and open_source(copy).size() > before, 60)


def test_a_writer_killed_while_it_sends_has_everything_arrive_once(log: Path, tmp_path: Path) -> None:
    promises, rounds = Promises(), 8 if "CI" in os.environ else 4
    keys = ("--name", NAME, "--key", f"file:{tmp_path}/copies.pem")
    with Server("replica", tmp_path / "copies", *keys) as served:
        copy = follow(log, served)
        for number in range(rounds):
            writer = start_writer(log, f"w{number}", "many")
            wait_for_more(copy)
            writer.kill()
            out, _ = writer.communicate(timeout=300)
            promises.read(out)
            tally("writers killed while they sent to a replica")
            assert open_source(copy).size() <= open_source(log).size()
        with attestlog.open(log) as opened:
            assert [error for _, error in opened.sync_replicas()] == [None]
        with attestlog.open(log) as opened:
            assert [error for _, error in opened.sync_replicas()] == [None]
    promises.check(log)
    check_copy(log, copy)


class ServerThere(Server):
    """A replica in a namespace."""

    def __init__(self, namespace: Namespace, folder: Path) -> None:
        super().__init__("replica", folder / "copies", "--name", NAME, "--key", f"file:{folder}/copies.pem")
        self._command = [tool("ip"), "netns", "exec", namespace.name, *self._command]
        self._listen = f"{namespace.address}:0"
        # The token goes there with every request, and this is not loopback.
        self.ca, certificate, key = authority(folder, namespace.address)
        self._command += ["--tls-certificate", str(certificate), "--tls-key", str(key)]


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with made_namespace("al") as made:
        yield made


def test_a_cut_network_holds_up_nobody_and_what_was_missed_arrives(
    log: Path, tmp_path: Path, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "SILENCE_MAX_S", 2.0)
    monkeypatch.setattr(client_module, "CONNECT_MAX_S", 1.0)
    monkeypatch.setattr(sender_module, "PAUSE_MAX_S", 0.5)
    with ServerThere(namespace, tmp_path) as served:
        copy = follow(log, served, served.ca)
        with attestlog.open(log, ack_replicas=1, ack_timeout_s=120) as opened:
            opened.append(draft(1))
            is_disturbed = namespace.disturb()
            opened.append_many([draft(number) for number in range(2, 40)])
            tally("networks with delay, loss, repetition, disorder" if is_disturbed else "no netem here")
            held = open_source(copy).size()
            assert held == 40
        with attestlog.open(log, ack_replicas=1, ack_timeout_s=0.5) as opened:
            soon(lambda: not replica_status(log)[0].error)
            namespace.cut()
            with pytest.raises(ReplicationError, match="0 of 1 copies") as caught:
                opened.append(draft(40))
            assert caught.value.receipts[0].sequence_number == held
            soon(lambda: replica_status(log)[0].error)
            assert open_source(copy).size() == held
            namespace.join()
            soon(lambda: open_source(copy).size() == held + 1)
            soon(lambda: not replica_status(log)[0].error)
            tally("networks cut and joined")
    check_copy(log, copy)
