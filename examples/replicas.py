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
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shutil import copytree, rmtree
from types import TracebackType
from typing import Any, Final, Self

import attestlog
from attestlog import Log, Report, Verdict
from attestlog.errors import QuorumError, ReplicationError, StorageError

ORIGIN: Final = "example.com/demo"
REPLICAS: Final = ("replica-1", "replica-2", "replica-3")
WITNESSES: Final = ("witness-1", "witness-2")
WAIT_MAX_S: Final = 30.0
"""For a replica to reach a state that it reaches within a second on an idle machine."""

ACK_TIMEOUT_S: Final = 1.5
STOP_TIME_MAX_S: Final = 10.0
"""After that a server is killed: no process is left behind."""

SEGMENT: Final = Path("entries", "000000000000.jsonl")
"""Where a log keeps its first entries."""


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
        os.environ["ATTESTLOG_HOME"] = str(self.home)
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
            self._mint(server)
            self._add(name)
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
        copytree(self.log, self.folder / "rewritten")  # an older copy, which comes in at the end
        self._show_replicas(facts)

    def _kill(self) -> None:
        facts = self._begin("kill", "replica-1 is killed; the log goes on, and it catches up when it is back")
        self._replicas["replica-1"].kill()
        with Log.open(self.log) as log:
            for _ in range(3):
                self._append(log)
            self._wait(lambda: self._status()["replica-2"]["size"] == self._count + 1)
            self._wait(lambda: bool(self._status()["replica-1"]["error"]))
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
        segment = copy / SEGMENT
        before = segment.read_bytes()
        segment.write_bytes(before.replace(b'"number":2', b'"number":7', 1))
        self._show_verdict(facts, "its copy  ", attestlog.verify(copy, remember=False, workers=1))
        done = self._restored_from("replica-3", self.folder / "restored-from-3")
        facts["refused"] = done.get("message", "")
        say(f"restoring from it: {facts['refused']}")
        segment.write_bytes(before)

    def _rewrite(self) -> None:
        facts = self._begin("rewrite", "The log's own key holder rewrites it, with valid signatures")
        self._cosign()
        with self._another_machine():
            self._send_rewritten(facts)

    def _send_rewritten(self, facts: dict[str, Any]) -> None:
        rewritten = self._make_rewritten()
        self._show_verdict(facts, "by itself  ", attestlog.verify(rewritten, remember=False, workers=1))
        refused = facts["refused_by"] = dict[str, str]()
        try:
            attestlog.cosign_checkpoint(rewritten, self._trust_policy())
        except QuorumError as error:
            refused |= {name: error.failures[name] for name in WITNESSES}
        facts["evidence"] = [name for name in WITNESSES if self._ask("evidence", self.folder / name)]
        for name in REPLICAS:
            self._add(name, rewritten)
        names = {server.url: name for name, server in self._replicas.items()}
        with Log.open(rewritten) as log:
            refused |= {names[url]: str(error or "") for url, error in log.sync_replicas()}
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
        before = (self.log / SEGMENT).read_bytes()
        rmtree(self.log)
        size = self._restored_from("replica-1", self.log)["size"]
        facts |= {"size": size, "is_same": (self.log / SEGMENT).read_bytes().startswith(before)}
        say(f"{size} entries, {'the same' if facts['is_same'] else 'other'} bytes")
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

    @contextmanager
    def _another_machine(self) -> Iterator[None]:
        """The same keys, and a configuration and state of its own."""
        places = {
            f"ATTESTLOG_{name.upper()}": self.folder / "elsewhere" / name for name in ("config", "state")
        }
        before = {name: os.environ.pop(name, None) for name in places}
        copytree(self.home / "config", places["ATTESTLOG_CONFIG"])
        os.environ |= {name: str(path) for name, path in places.items()}
        try:
            yield
        finally:
            for name, value in before.items():
                del os.environ[name]
                if value is not None:
                    os.environ[name] = value

    def _mint(self, server: Server) -> None:
        """A token with which the log reaches this replica."""
        scopes = ["--scope", "replicate", "--scope", "read"]
        (made,) = self._ask("tokens", "add", server.folder, "demo", "--origin", ORIGIN, *scopes)
        self._token(server.name).write_text(made["token"])

    def _add(self, name: str, log: Path | None = None) -> None:
        server = self._replicas[name]
        options = ["--vkey", server.vkey, "--token-file", str(self._token(name))]
        self._ask("replica", "add", log or self.log, server.url, *options)

    def _token(self, name: str) -> Path:
        return self.folder / f"{name}.token"

    def _copy(self, name: str) -> Path:
        """The log's copy at a replica; a replica holds one for each log."""
        (held,) = (self._replicas[name].folder / "logs").iterdir()
        return held / "log"

    def _ask(self, *arguments: str | Path) -> list[dict[str, Any]]:
        """What `attestlog …` answers as JSON, an error included; with this example's keys and memory."""
        done = subprocess.run(  # noqa: S603 - this interpreter and this package
            [sys.executable, "-m", "attestlog", *map(str, arguments), "--json"],
            env={**os.environ, "ATTESTLOG_HOME": str(self.home)},
            capture_output=True,
            text=True,
            check=False,
        )
        return [json.loads(line) for line in (done.stdout + done.stderr).splitlines()]

    def _make_rewritten(self) -> Path:
        """The first entries of the log, and then others: by the same keys."""
        rewritten = self.folder / "rewritten"
        self._ask("adopt", rewritten, "--yes")
        for server in self._replicas.values():
            self._ask("replica", "remove", rewritten, server.url)
        with Log.open(rewritten) as log:
            for number in range(self._count - 3):
                log.action("other_work", actor_id="agent-7", action_payload={"number": -number})
        return rewritten

    def _size(self) -> int:
        with Log.open(self.log) as log:
            return log.head().size

    def _cosign(self) -> None:
        with Log.open(self.log) as log:
            log.checkpoint()
            list(log.sync_replicas())
        attestlog.cosign_checkpoint(self.log, self._trust_policy())

    def _trust_policy(self) -> attestlog.TrustPolicy:
        return attestlog.parse_trust_policy(self.policy.read_bytes())

    def _sync(self, facts: dict[str, Any]) -> None:
        with Log.open(self.log) as log:
            list(log.sync_replicas())
        self._show_replicas(facts)

    def _restored_from(self, name: str, root: Path) -> dict[str, Any]:
        """What the command says of the restored log, or why it refused the copy."""
        server = self._replicas[name]
        options = ["--from", server.url, "--origin", ORIGIN, "--token-file", str(self._token(name))]
        options += ["--trust", self.vkey, "--signer", self.keys["signer"]]
        options += ["--checkpoint-signer", self.keys["checkpoint_signer"]]
        return self._ask("restore", root, *options)[-1]

    def _status(self) -> dict[str, dict[str, Any]]:
        """How far each replica is, by its own answers."""
        found = {item["url"]: item for item in self._ask("replica", "status", self.log)}
        return {name: found[server.url] for name, server in self._replicas.items()}

    def _show_replicas(self, facts: dict[str, Any]) -> None:
        shown = []
        for name, item in self._status().items():
            state, size, lag = item["state"], item["size"], item["lag"]
            shown.append({"replica": name, "state": state, "size": size, "lag": lag})
            say(f"{name}  {state}  holds {size}" + (f", {lag} behind" if lag else ""))
        facts.setdefault("replicas", []).append(shown)

    def _verified(self) -> Report:
        return attestlog.verify(self.log, trust_policy=self.policy, state_dir=self.home / "state", workers=1)

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
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="attestlog-replicas-"))
    ReplicatedLog(folder).run()
    print(f"\nEverything is in {folder}.")
