"""A log with three replicas and two witnesses: `python examples/replicas.py [FOLDER]`.

It needs the extra `server`. One replica is killed, one is cut off, one lies; then the log's own key holder
rewrites the log, and at last the log is lost and restored. Replicas and witnesses are processes of their own
on this machine, with keys of their own, and are ended with the example. Every line says what a process
answered, or what the verifier found.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from shutil import copytree, rmtree
from types import TracebackType
from typing import Any, Final, Self

from attestlog._internal.config import ReplicaAt, read_config
from attestlog._internal.core.replication import Shipment, log_id
from attestlog._internal.core.report import Report, Verdict
from attestlog._internal.core.trust import parse_trust_policy
from attestlog._internal.log import Log
from attestlog._internal.replica.evidence import evidence
from attestlog._internal.replication.client import ReplicaClient
from attestlog._internal.replication.settings import add_replica, remove_replica, replica_at
from attestlog._internal.replication.status import ReplicaStatus, replica_status
from attestlog._internal.restoring import RestoreDemands, restore_log
from attestlog._internal.server import check_extra
from attestlog._internal.server.tokens import Scope, TokenFile
from attestlog._internal.storage.files.layout import CHECKPOINT_FILE, ENTRIES_DIR, segment_name
from attestlog._internal.storage.resolve import open_source
from attestlog._internal.verifying import judge_log
from attestlog._internal.witness.collecting import cosign_checkpoint
from attestlog.errors import AttestlogError, QuorumError, ReplicationError, StorageError

ORIGIN: Final = "example.com/demo"
REPLICAS: Final = ("replica-1", "replica-2", "replica-3")
WITNESSES: Final = ("witness-1", "witness-2")
WAIT_MAX_S: Final = 30.0
"""For a replica to reach a state that it reaches within a second on an idle machine."""

ACK_TIMEOUT_S: Final = 1.5
STOP_TIME_MAX_S: Final = 10.0
"""After that a server is killed: no process is left behind."""


class ReplicatedLog:
    """A log, three replicas and two witnesses, all in one folder, with keys and a memory of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.log = folder, folder / "home", folder / "audit"
        self.policy = folder / "policy.txt"
        self.keys = {name: f"file:{self.home}/keys/{name}.pem" for name in ("signer", "checkpoint_signer")}
        self.vkey = ""
        self.facts: dict[str, dict[str, Any]] = {}
        """What each step came to, by the name of the step."""
        self._replicas: dict[str, Server] = {}
        self._count = 0

    def run(self) -> None:
        """Everything, in order; the servers are ended with the last step."""
        with ExitStack() as stack:
            self._start(stack)
            self._record()
            self._kill()
            self._cut_off()
            self._lie()
            self._rewrite()
            self._verify()
            self._restore()

    def _start(self, stack: ExitStack) -> None:
        facts = self._begin("start", "Three replicas and two witnesses start, each with a key of its own")
        with Log.create(self.log, origin=ORIGIN, **self.keys) as log:  # type: ignore[arg-type]
            (self.vkey,) = log.vkeys
        policy = [f"log {self.vkey}"]
        for name in REPLICAS:
            server = stack.enter_context(Server("replica", self.folder / name, *self._named(name)))
            self._replicas[name] = server
            add_replica(self.log, self._address(server))
            policy.append(f"witness {name} {server.vkey}")
            say(f"{name}  {server.url}")
        for name in WITNESSES:
            arguments = (*self._named(name), "--log", self.vkey)
            server = stack.enter_context(Server("witness", self.folder / name, *arguments))
            policy.append(f"witness {name} {server.vkey} {server.url}")
            say(f"{name}  {server.url}")
        policy += [f"group witnesses all {' '.join(WITNESSES)}", f"group copies 2 {' '.join(REPLICAS)}"]
        policy += ["group everyone all witnesses copies", "quorum everyone"]
        self.policy.write_text("\n".join([*policy, ""]))
        facts |= {"vkey": self.vkey, "policy": str(self.policy)}

    def _record(self) -> None:
        facts = self._begin("record", "An append waits until all three replicas hold its entry durably")
        with Log.open(self.log, ack_replicas=3, ack_timeout_s=WAIT_MAX_S) as log:
            numbers = [self._append(log) for _ in range(3)]
        say(f"entries {numbers[0]} to {numbers[-1]} are appended")
        self._show_replicas(facts)

    def _kill(self) -> None:
        facts = self._begin("kill", "replica-1 is killed; the log goes on, and it catches up when it is back")
        self._replicas["replica-1"].kill()
        with Log.open(self.log) as log:
            for _ in range(3):
                self._append(log)
            self._wait(lambda: self._status("replica-2").size == self._count + 1)
            self._wait(lambda: bool(self._status("replica-1").error))
        self._show_replicas(facts)
        self._replicas["replica-1"].start()
        say("started again")
        self._sync(facts)

    def _cut_off(self) -> None:
        facts = self._begin("cut_off", "replica-2 is cut off: nothing that it is sent is ever answered")
        self._replicas["replica-2"].freeze()
        with Log.open(self.log, ack_replicas=3, ack_timeout_s=ACK_TIMEOUT_S) as log:
            try:
                self._append(log)
            except ReplicationError as error:
                facts |= {"have": error.have, "need": error.need}
                say(f"an append that waits for three copies: {error}")
        self._replicas["replica-2"].thaw()
        say("connected again")
        self._sync(facts)

    def _lie(self) -> None:
        facts = self._begin("lie", "replica-3 lies: its operator changes a byte, and offers it for restoring")
        copy = self._copy("replica-3")
        segment = copy / ENTRIES_DIR / segment_name(0)
        before = segment.read_bytes()
        segment.write_bytes(before.replace(b'"number":2', b'"number":7', 1))
        self._show_verdict(facts, "its copy  ", judge_log(copy, remember=False, workers=1))
        try:
            self._restore_from("replica-3", self.folder / "restored-from-3")
        except AttestlogError as error:
            facts["refused"] = str(error)
            say(f"restoring from it: {error}")
        segment.write_bytes(before)

    def _rewrite(self) -> None:
        facts = self._begin("rewrite", "The log's own key holder rewrites it, with valid signatures")
        self._cosign()
        rewritten = self._make_rewritten()
        self._show_verdict(facts, "by itself  ", judge_log(rewritten, remember=False, workers=1))
        note = (rewritten / CHECKPOINT_FILE).read_bytes()
        shipment = Shipment(0, list(open_source(rewritten).lines()), note)
        refused = facts["refused_by"] = {name: self._answer(name, shipment) for name in REPLICAS}
        facts["evidence"] = [name for name in REPLICAS if any(evidence(self._copy(name).parent))]
        try:
            cosign_checkpoint(rewritten, parse_trust_policy(self.policy.read_bytes()))
        except QuorumError as error:
            refused |= {name: error.failures[name] for name in WITNESSES}
        for name, refusal in refused.items():
            say(f"{name}  refuses: {refusal.partition(': ')[2] or refusal or 'no, it accepts'}")
        say(f"both checkpoints are kept as evidence by {', '.join(facts['evidence'])}")

    def _verify(self) -> None:
        facts = self._begin("verify", "Who else vouches for the log is part of the verdict")
        self._cosign()
        self._show_replicas(facts)
        report = self._verified()
        self._show_verdict(facts, "", report)
        facts["cosigned_by"] = [cosigner.name for cosigner in report.cosigned_by]
        say(f"independently confirmed by {', '.join(facts['cosigned_by'])}")

    def _restore(self) -> None:
        facts = self._begin("restore", "The log is lost, and comes back from replica-1, byte for byte")
        segment = self.log / ENTRIES_DIR / segment_name(0)
        before = segment.read_bytes()
        rmtree(self.log)
        size = self._restore_from("replica-1", self.log)
        facts |= {"size": size, "is_same": segment.read_bytes() == before}
        say(f"{size} entries, {'the same' if facts['is_same'] else 'other'} bytes")
        for name in REPLICAS:
            add_replica(self.log, self._reader(name))
        with Log.open(self.log) as log:
            say(f"it goes on with entry {self._append(log)}")
        self._cosign()
        self._show_verdict(facts, "", self._verified())

    def _begin(self, name: str, title: str) -> dict[str, Any]:
        self.facts[name] = {}
        print(f"\n{len(self.facts)}  {title}", flush=True)
        return self.facts[name]

    def _append(self, log: Log) -> int:
        self._count += 1
        return log.action("work", actor_id="agent-7", action_payload={"number": self._count}).sequence_number

    def _named(self, name: str) -> list[str]:
        return ["--name", f"{name}.example.com", "--key", f"file:{self.home}/keys/{name}.pem"]

    def _address(self, server: Server) -> ReplicaAt:
        """How the log reaches this replica, with a token made for it."""
        path = self.folder / f"{server.name}.token"
        scopes = [Scope.REPLICATE, Scope.READ]
        path.write_text(TokenFile(server.folder).mint("demo", scopes, ORIGIN))
        return replica_at(server.url, server.vkey, path, None)

    def _reader(self, name: str) -> ReplicaAt:
        server = self._replicas[name]
        return ReplicaAt(url=server.url, vkey=server.vkey, token_file=str(self.folder / f"{name}.token"))

    def _copy(self, name: str) -> Path:
        return self._replicas[name].folder / "logs" / log_id(ORIGIN) / "log"

    def _make_rewritten(self) -> Path:
        """The first entries of the log, and then others: by the same keys, as if for the same replicas."""
        rewritten = self.folder / "rewritten"
        copytree(self.log, rewritten)
        segment = rewritten / ENTRIES_DIR / segment_name(0)
        segment.write_bytes(b"".join(segment.read_bytes().splitlines(keepends=True)[:3]))
        for name in ("tree", "replicas"):
            rmtree(rewritten / name)
        for name in (CHECKPOINT_FILE, "rules.jsonl"):
            (rewritten / name).unlink(missing_ok=True)
        for server in self._replicas.values():
            remove_replica(rewritten, server.url)
        with Log.open(rewritten) as log:
            for number in range(open_source(self.log).size() - 3):
                log.action("other_work", actor_id="agent-7", action_payload={"number": -number})
        return rewritten

    def _answer(self, name: str, shipment: Shipment) -> str:
        """How a replica refuses what no honest writer sends; empty if it accepts it."""
        client = ReplicaClient(self._reader(name), ORIGIN)
        try:
            client.send(shipment)
        except AttestlogError as error:
            return str(error)
        finally:
            client.close()
        return ""

    def _cosign(self) -> None:
        with Log.open(self.log) as log:
            log.checkpoint()
            list(log.sync_replicas())
        cosign_checkpoint(self.log, parse_trust_policy(self.policy.read_bytes()))

    def _sync(self, facts: dict[str, Any]) -> None:
        with Log.open(self.log) as log:
            list(log.sync_replicas())
        self._show_replicas(facts)

    def _restore_from(self, name: str, root: Path) -> int:
        client = ReplicaClient(self._reader(name), ORIGIN)
        # Its log.toml names the signers; of a log that is lost, a copy does.
        there = self.log if self.log.exists() else self.folder / "rewritten"
        try:
            demands = RestoreDemands(trust=[self.vkey], state_dir=self.home / "state")
            return restore_log(root, client, read_config(open_source(there)).signers, demands).size
        finally:
            client.close()

    def _status(self, name: str) -> ReplicaStatus:
        url = self._replicas[name].url
        return next(item for item in replica_status(self.log) if item.url == url)

    def _show_replicas(self, facts: dict[str, Any]) -> None:
        """How far each replica is, by its own answers."""
        shown = []
        for name in REPLICAS:
            item = self._status(name)
            shown.append({"replica": name, "state": item.state, "size": item.size, "lag": item.lag})
            say(f"{name}  {item.state}  holds {item.size}" + (f", {item.lag} behind" if item.lag else ""))
        facts.setdefault("replicas", []).append(shown)

    def _verified(self) -> Report:
        return judge_log(self.log, trust_policy=self.policy, state_dir=self.home / "state", workers=1)

    def _show_verdict(self, facts: dict[str, Any], when: str, report: Report) -> None:
        faults = [item.message for item in report.findings if item.verdict != Verdict.VERIFIED]
        facts.setdefault("verdicts", []).append(report.verdict)
        say(f"{when}{report.verdict}  {faults[0] if faults else f'{report.size} entries'}")

    def _wait(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_MAX_S
        while not holds():
            if time.monotonic() > deadline:
                raise ReplicationError(f"the replicas did not get there within {WAIT_MAX_S:g} s")
            time.sleep(0.05)


def say(line: str) -> None:
    """A line of a step."""
    print(f"   {line}", flush=True)


class Server:
    """`attestlog serve replica` or `attestlog serve witness`, in a process of its own."""

    def __init__(self, verb: str, folder: Path, *arguments: str) -> None:
        self._command = [sys.executable, "-m", "attestlog", "serve", verb, str(folder), "--json", *arguments]
        self.folder = folder
        self.name = folder.name
        self._listen = "127.0.0.1:0"
        self._process: subprocess.Popen[str] | None = None
        self.url = ""
        self.vkey = ""

    @property
    def pid(self) -> int:
        """The id of its process, while it runs."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        """Start it; a second time on the same port as before. Raises StorageError."""
        process = subprocess.Popen(  # noqa: S603 - this interpreter and this package
            [*self._command, "--listen", self._listen],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._process = process
        assert process.stdout is not None
        said = process.stdout.readline()
        if not said:
            _, err = process.communicate()
            raise StorageError(f"{self.name} did not start: {err.strip()[-300:]}")
        facts: dict[str, Any] = json.loads(said)
        self.url = facts["url"]
        self.vkey = facts["vkey"] if "vkey" in facts else facts["vkeys"][0]
        self._listen = self.url.rpartition("/")[2]
        return self

    def kill(self) -> None:
        """SIGKILL: it has no chance to write anything."""
        self._signal(signal.SIGKILL)
        self._wait()

    def freeze(self) -> None:
        """SIGSTOP: the kernel accepts connections and nobody answers, as behind a cut network."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it, in whatever state it is."""
        if self._process is not None:
            self.thaw()
            self._signal(signal.SIGTERM)
            self._wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, number)

    def _wait(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.wait(STOP_TIME_MAX_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


if __name__ == "__main__":
    check_extra()
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="attestlog-replicas-"))
    ReplicatedLog(folder).run()
    print(f"\nEverything is in {folder}.")
