"""Every way in which an approval comes into a log, from the person's key to both verifiers."""

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.cli.approving import approved, policy_text, proposed
from tests.cli.running import ORIGIN, Run
from tests.support.audits import verdicts
from tests.support.people import Person
from tests.support.ssh import agent, armoured, fido_agent, fido_line, fido_sshsig, make_key
from tests.support.tools import tool

import attestlog
from attestlog._internal.signers.file import open_file_signer
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import ActionBlockedError

NAMESPACE = "attestlog-approval"
RULES = '[rules.deploys]\naction_types = ["deploy*"]\nrequired_approvals = 1\n'


class Approver(NamedTuple):
    """Somebody who can approve."""

    line: str
    """Their key, as a policy has it."""
    algorithm: str
    """What the log stores of their approvals."""
    approve: Callable[[Path], Path]
    """The file of their approval of a request, by its file."""


Way = Callable[[Run, Path, pytest.MonkeyPatch], contextlib.AbstractContextManager[Approver]]


def by_pem(algorithm: str) -> Way:
    @contextlib.contextmanager
    def way(run: Run, folder: Path, _: pytest.MonkeyPatch) -> Iterator[Approver]:
        assert run("keys", "generate", folder / "ana.pem", "--algorithm", algorithm).code == 0
        pem = open_file_signer(f"file:{folder / 'ana.pem'}").public_key.pem
        yield Approver(pem, algorithm, lambda request: approved(run, request, folder / "ana.pem", "ana"))

    return way


def by_openssh(kind: str) -> Way:
    @contextlib.contextmanager
    def way(run: Run, folder: Path, _: pytest.MonkeyPatch) -> Iterator[Approver]:
        line = make_key(folder / "id", kind)
        yield Approver(line, "SSHSIG", lambda request: approved(run, request, folder / "id", "ana"))

    return way


@contextlib.contextmanager
def by_agent(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Approver]:
    line = make_key(folder / "id", "ed25519")
    with agent(folder / "id") as environment:
        (folder / "id").unlink()
        monkeypatch.setenv("SSH_AUTH_SOCK", environment["SSH_AUTH_SOCK"])
        yield Approver(line, "SSHSIG", lambda request: approved(run, request, folder / "id.pub", "ana"))


def by_fido_agent(algorithm: str) -> Way:
    @contextlib.contextmanager
    def way(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Approver]:
        person = Person("ana", algorithm=algorithm)
        (folder / "id_sk.pub").write_text(fido_line(person) + "\n")
        with fido_agent(person, folder / "agent.sock") as environment:
            monkeypatch.setenv("SSH_AUTH_SOCK", environment["SSH_AUTH_SOCK"])
            line = fido_line(person)
            yield Approver(
                line, "SSHSIG", lambda request: approved(run, request, folder / "id_sk.pub", "ana")
            )

    return way


def taken_in(run: Run, request: Path, sign: Callable[[Path], None]) -> Path:
    """The message in a file, whatever signs it, and the approval that comes of both."""
    message, approval = request.with_name("ana.msg"), request.with_name("ana-signed.json")
    words = ["approval", "sign", request, "--expect", json.loads(request.read_bytes())["action_hash"][:8]]
    assert run(*words, "--name", "ana", "--message", "-o", message).code == 0
    sign(message)
    taken = run(*words, "--signature", f"{message}.sig", "-o", approval)
    assert taken.code == 0, taken.err
    return approval


@contextlib.contextmanager
def by_message(run: Run, folder: Path, _: pytest.MonkeyPatch) -> Iterator[Approver]:
    line = make_key(folder / "id", "ecdsa")

    def sign(message: Path) -> None:
        subprocess.run(
            [tool("ssh-keygen"), "-q", "-Y", "sign", "-n", NAMESPACE, "-f", folder / "id", message],
            check=True, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    yield Approver(line, "SSHSIG", lambda request: taken_in(run, request, sign))


def by_fido_message(algorithm: str) -> Way:
    """Signed on another machine, where the authenticator is."""

    @contextlib.contextmanager
    def way(run: Run, folder: Path, _: pytest.MonkeyPatch) -> Iterator[Approver]:
        person = Person("ana", algorithm=algorithm)

        def sign(message: Path) -> None:
            made = fido_sshsig(person, NAMESPACE, message.read_bytes())
            message.with_name(message.name + ".sig").write_text(armoured(made))

        yield Approver(fido_line(person), "SSHSIG", lambda request: taken_in(run, request, sign))

    return way


WAYS: dict[str, Way] = {
    "PEM, Ed25519": by_pem("Ed25519"),
    "PEM, P-256": by_pem("ECDSA-P256-SHA256"),
    "OpenSSH, Ed25519": by_openssh("ed25519"),
    "OpenSSH, P-256": by_openssh("ecdsa"),
    "agent": by_agent,
    "FIDO in the agent, Ed25519": by_fido_agent("Ed25519"),
    "FIDO in the agent, P-256": by_fido_agent("ECDSA-P256-SHA256"),
    "message, P-256": by_message,
    "message, FIDO, Ed25519": by_fido_message("Ed25519"),
    "message, FIDO, P-256": by_fido_message("ECDSA-P256-SHA256"),
}


@pytest.fixture(params=list(WAYS.values()), ids=list(WAYS))
def approver(
    request: pytest.FixtureRequest, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Approver]:
    (tmp_path / "person").mkdir()
    with request.param(run, tmp_path / "person", monkeypatch) as found:
        yield found


@pytest.fixture
def log(run: Run, tmp_path: Path, approver: Approver) -> Path:
    (tmp_path / "policy.toml").write_text(policy_text({"ana": approver.line.strip()}, RULES))
    made = run("init", tmp_path / "audit", "--origin", ORIGIN, "--policy", tmp_path / "policy.toml")
    assert made.code == 0, made.err
    return tmp_path / "audit"


def test_from_the_key_to_the_verifiers(run: Run, log: Path, approver: Approver) -> None:
    request = proposed(run, log)
    approval = approver.approve(request)
    appended = run("append", log, "--request", request, "--approval", approval)
    assert appended.code == 0, appended.err
    entry = open_source(log).entry(1)
    assert entry.quorum_met
    assert [item["algorithm"] for item in entry.received_approvals] == [approver.algorithm]

    again = run("append", log, "--request", request, "--approval", approval, "--json")
    assert (again.error["code"], again.error["used_by"]) == ("governance.approval_used", 1)
    assert open_source(log).size() == 2
    assert verdicts(log) == ("VERIFIED", "VERIFIED")


def test_a_guarded_act_that_asks(run: Run, log: Path, approver: Approver, tmp_path: Path) -> None:
    room = tmp_path / "room"
    with attestlog.open(log) as opened:
        act = opened.guard(action_type="deploy_web", actor_id="agent-7", ask=room, ask_timeout_s=60)
        approver.approve(act.propose()).rename(room / "ana.json")
        with act:
            act.result = {"done": True}
        spent = [(room / "ana.json").read_bytes()]
        with (
            pytest.raises(ActionBlockedError),
            opened.guard(action_type="deploy_web", actor_id="agent-7", approvals=spent),
        ):
            raise AssertionError("one request, one act")
    met = [entry.quorum_met for entry in open_source(log).entries(1)]
    assert met[:2] == [True, True]
    assert verdicts(log) == ("VERIFIED", "VERIFIED")


def test_from_python(run: Run, log: Path, approver: Approver, tmp_path: Path) -> None:
    """One process asks, people sign, another process appends."""
    with attestlog.open(log) as opened:
        request = opened.request(event_type="ACTION", action_type="deploy_web", actor_id="agent-7")
    (tmp_path / "request.json").write_bytes(attestlog.format_request(request))
    approval = attestlog.parse_approval(approver.approve(tmp_path / "request.json").read_bytes())
    with attestlog.open(log) as opened:
        attestlog.check_approvals(opened.rules.policy, request, [approval])
        assert opened.append(attestlog.approved_draft(request, [approval])).entry.quorum_met
    assert verdicts(log) == ("VERIFIED", "VERIFIED")
