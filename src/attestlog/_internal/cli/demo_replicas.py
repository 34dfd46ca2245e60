"""The demo of replicas and witnesses: one is killed, one is cut off, one lies, and so does the log.

Every line says what a process answered or the verifier found.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any, Final

from attestlog._internal.cli.demo_servers import Server
from attestlog._internal.cli.demo_steps import Step
from attestlog._internal.cli.output import Piece
from attestlog._internal.cli.reports import STYLES
from attestlog._internal.config import ReplicaAt, read_config
from attestlog._internal.core.note import format_vkey
from attestlog._internal.core.replication import Shipment, log_id
from attestlog._internal.core.report import Report, Verdict
from attestlog._internal.core.trust import TrustPolicy, parse_trust_policy
from attestlog._internal.log import Log
from attestlog._internal.replica.evidence import evidence
from attestlog._internal.replication.client import ReplicaClient
from attestlog._internal.replication.settings import add_replica, remove_replica, replica_at
from attestlog._internal.replication.status import replica_status
from attestlog._internal.restoring import RestoreDemands, restore_log
from attestlog._internal.server.tokens import Scope, TokenFile
from attestlog._internal.storage.files.layout import CHECKPOINT_FILE, ENTRIES_DIR, segment_name
from attestlog._internal.storage.resolve import open_source
from attestlog._internal.verifying import verify_log
from attestlog._internal.witness.collecting import cosign_checkpoint
from attestlog.errors import AttestlogError, QuorumError, ReplicationError

ORIGIN: Final = "example.com/demo"
REPLICAS: Final = ("replica-1", "replica-2", "replica-3")
WITNESSES: Final = ("witness-1", "witness-2")
WAIT_MAX_S: Final = 30.0
"""For a replica to come to what it will come to within a second on an idle machine."""

ACK_TIMEOUT_S: Final = 1.5


class ReplicatedDemo:
    """A log, three replicas and two witnesses, all in one folder; nothing of the user's is touched."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.log = folder, folder / "home", folder / "audit"
        self.policy = folder / "policy.txt"
        self.keys = {name: f"file:{self.home}/keys/{name}.pem" for name in ("signer", "checkpoint_signer")}
        self.vkey = ""
        self._replicas: dict[str, Server] = {}
        self._count = 0

    def steps(self) -> Iterator[Step]:
        """Everything, in order; the servers are ended with the last step."""
        with ExitStack() as stack:
            yield self._start(stack)
            yield self._record()
            yield self._kill()
            yield self._cut_off()
            yield self._lie()
            yield self._rewrite()
            yield self._verify()
            yield self._restore()

    # --- steps ---

    def _start(self, stack: ExitStack) -> Step:
        step = Step("start", "Three replicas and two witnesses start, each with a key of its own")
        with Log.create(self.log, origin=ORIGIN, **self.keys) as log:  # type: ignore[arg-type]
            self.vkey = format_vkey(log.genesis.checkpoint_keys[0])
        key = f"file:{self.home}/keys"
        policy = [f"log {self.vkey}"]
        for name in REPLICAS:
            server = Server("replica", self.folder / name, *_named(name, key))
            self._replicas[name] = stack.enter_context(server)
            add_replica(self.log, self._at(server))
            policy.append(f"witness {name} {server.vkey}")
            step.lines.append([f"{name}  {server.url}"])
        for name in WITNESSES:
            server = Server("witness", self.folder / name, *_named(name, key), "--log", self.vkey)
            stack.enter_context(server)
            policy.append(f"witness {name} {server.vkey} {server.url}")
            step.lines.append([f"{name}  {server.url}"])
        policy += [f"group witnesses all {' '.join(WITNESSES)}", f"group copies 2 {' '.join(REPLICAS)}"]
        policy += ["group everyone all witnesses copies", "quorum everyone"]
        self.policy.write_text("\n".join([*policy, ""]))
        step.facts = {"vkey": self.vkey, "policy": str(self.policy)}
        return step

    def _record(self) -> Step:
        step = Step("record", "An append waits until all three replicas hold its entry durably")
        with Log.open(self.log, ack_replicas=3, ack_timeout_s=WAIT_MAX_S) as log:
            numbers = [self._append(log).sequence_number for _ in range(3)]
            step.lines.append([f"entries {numbers[0]} to {numbers[-1]} are appended"])
        self._show(step)
        return step

    def _kill(self) -> Step:
        step = Step("kill", "replica-1 is killed; the log goes on, and it catches up when it is back")
        self._replicas["replica-1"].kill()
        with Log.open(self.log) as log:
            for _ in range(3):
                self._append(log)
            self._wait(lambda: self._held("replica-2") == self._count + 1)
            self._wait(lambda: bool(self._error("replica-1")))
        self._show(step)
        self._replicas["replica-1"].start()
        step.lines.append(["started again"])
        self._sync(step)
        return step

    def _cut_off(self) -> Step:
        step = Step("cut_off", "replica-2 is cut off: nothing it is sent is ever answered")
        self._replicas["replica-2"].freeze()
        with Log.open(self.log, ack_replicas=3, ack_timeout_s=ACK_TIMEOUT_S) as log:
            try:
                self._append(log)
            except ReplicationError as error:
                step.facts |= {"have": error.have, "need": error.need}
                step.lines.append(["an append that waits for three copies: ", (error.message, "yellow")])
        self._replicas["replica-2"].thaw()
        step.lines.append(["connected again"])
        self._sync(step)
        return step

    def _lie(self) -> Step:
        step = Step("lie", "replica-3 lies: its operator changes one byte, and offers it for restoring")
        copy = self._copy("replica-3")
        segment = copy / ENTRIES_DIR / segment_name(0)
        before = segment.read_bytes()
        segment.write_bytes(before.replace(b'"number":2', b'"number":7', 1))
        self._judge(step, "its copy", verify_log(copy, remember=False, workers=1))
        try:
            self._restore_from("replica-3", self.folder / "restored-from-3")
        except AttestlogError as error:
            step.facts["refused"] = error.message
            step.lines.append(["restoring from it: ", (error.message, "bold red")])
        segment.write_bytes(before)
        return step

    def _rewrite(self) -> Step:
        step = Step("rewrite", "The log's own key holder rewrites it, with true signatures")
        self._cosign()
        rewritten = self.folder / "rewritten"
        self._begin_anew(rewritten)
        self._judge(step, "by itself", verify_log(rewritten, remember=False, workers=1))
        told = Shipment(0, list(open_source(rewritten).lines()), (rewritten / CHECKPOINT_FILE).read_bytes())
        for name in REPLICAS:
            refusal = self._tell(name, told)
            step.facts.setdefault("refused_by", {})[name] = refusal
            step.lines.append([f"{name}  refuses: ", (refusal.partition(": ")[2] or "took it", "bold red")])
        kept = [name for name in REPLICAS if any(evidence(self._copy(name).parent))]
        step.facts["evidence"] = kept
        step.lines.append([f"both checkpoints are kept as evidence by {', '.join(kept)}"])
        try:
            cosign_checkpoint(rewritten, self._trust_policy)
        except QuorumError as error:
            for name in WITNESSES:
                refusal = str(error.failures[name])
                step.facts["refused_by"][name] = refusal
                step.lines.append([f"{name}  refuses: ", (refusal.partition(": ")[2] or refusal, "bold red")])
        return step

    def _verify(self) -> Step:
        step = Step("verify", "Who else vouches for the log is part of the verdict")
        self._cosign()
        self._show(step)
        report = self._verified()
        self._judge(step, "", report)
        names = [cosigner.name for cosigner in report.cosigned_by]
        step.facts["cosigned_by"] = names
        step.lines.append([f"independently confirmed by {', '.join(names)}"])
        return step

    def _restore(self) -> Step:
        step = Step("restore", "The log is lost, and comes back from replica-1, byte for byte")
        before = (self.log / ENTRIES_DIR / segment_name(0)).read_bytes()
        rmtree(self.log)
        restored = self._restore_from("replica-1", self.log)
        same = (self.log / ENTRIES_DIR / segment_name(0)).read_bytes() == before
        step.facts = {"size": restored, "is_same": same}
        bytes_are: Piece = "the same bytes" if same else ("other bytes", "bold red")
        step.lines.append([f"{restored} entries, ", bytes_are])
        for name in REPLICAS:
            add_replica(self.log, self._readable(name))
        with Log.open(self.log) as log:
            receipt = self._append(log)
        step.lines.append([f"it goes on with entry {receipt.sequence_number}"])
        self._cosign()
        self._judge(step, "", self._verified())
        return step

    # --- within ---

    def _append(self, log: Log) -> Any:
        self._count += 1
        return log.action("work", actor_id="agent-7", action_payload={"number": self._count})

    def _at(self, server: Server) -> ReplicaAt:
        """As the log reaches it, with a token made for it."""
        path = self.folder / f"{server.name}.token"
        scopes = [Scope.REPLICATE, Scope.READ]
        path.write_text(TokenFile(server.folder).mint("demo", scopes, ORIGIN))
        return replica_at(server.url, server.vkey, path, None)

    def _begin_anew(self, rewritten: Path) -> None:
        """The first entries of the log, and then others: by the same keys, to the same replicas."""
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

    def _tell(self, name: str, shipment: Shipment) -> str:
        """What a replica says to what no honest writer sends; empty if it takes it."""
        client = ReplicaClient(self._readable(name), ORIGIN)
        try:
            client.send(shipment)
        except AttestlogError as error:
            return error.message
        finally:
            client.close()
        return ""

    def _cosign(self) -> None:
        with Log.open(self.log) as log:
            log.checkpoint()
            for _ in log.sync_replicas():
                pass
        cosign_checkpoint(self.log, self._trust_policy)

    @property
    def _trust_policy(self) -> TrustPolicy:
        return parse_trust_policy(self.policy.read_bytes())

    def _restore_from(self, name: str, root: Path) -> int:
        client = ReplicaClient(self._readable(name), ORIGIN)
        signers = read_config(
            open_source(self.folder / "rewritten" if root == self.log else self.log)
        ).signers
        try:
            demands = RestoreDemands(trust=[self.vkey], state_dir=self.home / "state")
            return restore_log(root, client, signers, demands).size
        finally:
            client.close()

    def _readable(self, name: str) -> ReplicaAt:
        server = self._replicas[name]
        return ReplicaAt(url=server.url, vkey=server.vkey, token_file=str(self.folder / f"{name}.token"))

    def _copy(self, name: str) -> Path:
        return self._replicas[name].folder / "logs" / log_id(ORIGIN) / "log"

    def _name(self, url: str) -> str:
        return next(name for name, server in self._replicas.items() if server.url == url)

    def _sync(self, step: Step) -> None:
        with Log.open(self.log) as log:
            for _ in log.sync_replicas():
                pass
        self._show(step)

    def _show(self, step: Step) -> None:
        """How far each replica is, by its own answers."""
        shown = []
        for item in replica_status(self.log):
            name = self._name(item.url)
            shown.append({"replica": name, "state": item.state, "size": item.size, "lag": item.lag})
            state = (item.state, "green" if item.state == "good" else "bold red")
            lag = f", {item.lag} behind" if item.lag else ""
            step.lines.append([f"{name}  ", state, f"  holds {item.size}{lag}"])
        step.facts.setdefault("replicas", []).append(shown)

    def _held(self, name: str) -> int:
        return next(item.size for item in replica_status(self.log) if self._name(item.url) == name)

    def _error(self, name: str) -> str:
        return next(item.error for item in replica_status(self.log) if self._name(item.url) == name)

    def _judge(self, step: Step, circumstance: str, report: Report) -> None:
        faults = [item for item in report.findings if item.verdict != Verdict.VERIFIED]
        said = faults[0].message if faults else f"{report.size} entries"
        step.facts.setdefault("verdicts", []).append(report.verdict)
        line: list[Piece] = [
            f"{circumstance}  " if circumstance else "",
            (report.verdict, STYLES[report.verdict]),
        ]
        step.lines.append([*line, f"  {said}"])

    def _verified(self) -> Report:
        return verify_log(self.log, policy=self.policy, state_dir=self.home / "state", workers=1)

    def _wait(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_MAX_S
        while not holds():
            if time.monotonic() > deadline:
                raise ReplicationError(f"the replicas did not come to it within {WAIT_MAX_S:g} s")
            time.sleep(0.05)


def _named(name: str, keys: str) -> list[str]:
    return ["--name", f"{name}.example.com", "--key", f"{keys}/{name}.pem"]
