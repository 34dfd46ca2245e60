"""LOG may be a URL of PostgreSQL in every verb; what makes no sense there says what to do instead."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.approving import DEPLOY, policy_text
from tests.cli.running import ATTESTLOG, ORIGIN, Result, Run, serving
from tests.support.legacy import joined, legacy_lines
from tests.support.logs import draft
from tests.support.postgres import PATIENCE_S, PostgresServer
from tests.support.tsa import Authority

import attestlog
from attestlog._internal.cli import main
from attestlog._internal.config import read_config
from attestlog._internal.core.note import format_vkey
from attestlog._internal.replication import sender as sender_module
from attestlog._internal.signers.file import open_file_signer
from attestlog._internal.storage.resolve import open_source

RULES = """
[rules.deploys]
action_types = ["deploy*"]
required_approvals = 1
roles = ["auditor"]
"""


def done(result: Result) -> Result:
    assert result.code == 0, f"{result.out} {result.err}"
    return result


@pytest.fixture
def url(postgres: PostgresServer, own_home: Path) -> str:
    assert own_home.parent.exists()
    return postgres.new_url(user="app")


def test_every_verb_takes_the_url(url: str, tmp_path: Path, run: Run) -> None:
    def call(*arguments: object, code: int = 0) -> Result:
        found = run(*arguments)
        assert found.code == code, f"{arguments}: {found.out} {found.err}"
        return found

    lines = tmp_path / "drafts.jsonl"
    lines.write_text("".join(json.dumps(draft(number)) + "\n" for number in range(3)))
    actor = ("--actor-id", "officer-1")
    call("init", url, "--origin", "example.com/verbs", "--erasable-payloads")
    call("append", url, lines)
    assert call("verify", url, "--json").object["verdict"] == "VERIFIED"
    assert "T-2" in call("show", url, 3).out
    assert [item["sequence_number"] for item in call("tail", url, "--json").objects] == [0, 1, 2, 3]
    assert call("query", url, "--actor-id", "agent-1", "--json").out.count("\n") == 3
    assert call("stats", url, "--json").object["entries"] == 4
    call("checkpoint", url)
    call("prove", url, 2, "--output", tmp_path / "2.tlog-proof")
    call("verify", tmp_path / "2.tlog-proof")
    call("publish", url, tmp_path / "published")
    call("verify", tmp_path / "published")
    call("erase", url, 2, "--reason", "asked for", *actor)
    assert "T-1" not in call("show", url, 2).out
    call("hold", "add", url, "case-1", "--reason", "litigation", *actor)
    assert "case-1" in call("hold", "list", url).out
    assert call("erase", url, 3, "--reason", "asked for", *actor, code=2).err
    call("policy", "show", url)
    call("retain", url, "--older-than", "1d", "--reason", "old", "--dry-run", *actor)
    call("keys", "rotate", url)
    assert call("keys", "list", url, "--json").out
    assert call("export", url).out.count("\n") == 7
    call("replica", "status", url)
    call("append", url, lines)
    assert call("verify", url, "--json").object["erased_payloads"] == 1
    assert call("repair", url).out


def test_what_others_are_given(url: str, run: Run, tmp_path: Path) -> None:
    """Forms that other tools read, reports, sinks, time stamps, replicas; and what is brought in."""
    done(run("init", url, "--origin", ORIGIN))
    legacy = tmp_path / "legacy.jsonl"
    legacy.write_bytes(joined(legacy_lines(3)))
    assert done(run("import", url, legacy, "--json")).object["appended"] == 3
    for form in ("jsonl", "csv", "cloudevents", "ocsf"):
        done(run("export", url, "--format", form, "-o", tmp_path / f"out.{form}"))
        assert (tmp_path / f"out.{form}").stat().st_size
    done(run("ship", url, "--to", f"file:{tmp_path}/shipped.jsonl", "--once"))
    assert (tmp_path / "shipped.jsonl").read_bytes() == (tmp_path / "out.jsonl").read_bytes()
    assert done(run("ship", url, "--status", "--json")).object["lag"] == 0
    done(run("bundle", url, "-o", tmp_path / "a.bundle"))
    vkey = format_vkey(open_source(url).genesis().checkpoint_keys[0])
    done(run("verify", tmp_path / "a.bundle", "--trust", vkey))
    done(run("report", url, "-o", tmp_path / "a.html"))
    authority = Authority(tmp_path / "authority")
    with authority.serving() as site:
        done(run("checkpoint", url, "--timestamp", site.url))
    assert "  timestamped all " in done(run("verify", url, "--tsa-root", authority.root)).out
    assert [item["origin"] for item in done(run("memory", "list", "--json")).objects] == [ORIGIN]


def test_a_replica_follows_it_and_what_was_restored_goes_back(
    url: str, run: Run, postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "COSIGN_EVERY_S", 0.0)
    done(run("init", url, "--origin", ORIGIN))
    copies, tokens = tmp_path / "copies", {}
    for scope in ("replicate", "read"):
        tokens[scope] = tmp_path / f"{scope}.token"
        tokens[scope].write_text(
            done(run("tokens", "add", copies, scope, "--scope", scope, "--any-origin")).out
        )
    with serving("replica", str(copies), "--name", "replica.example.com/one") as replica:
        add = ("replica", "add", url, replica["url"], "--token-file", tokens["replicate"])
        done(run(*add, "--vkey", replica["vkey"]))
        for number in range(3):
            source = tmp_path / "draft.jsonl"
            source.write_text(json.dumps(draft(number)) + "\n")
            done(run("append", url, source))
        done(run("replica", "sync", url))
        status = done(run("replica", "status", url, "--json")).object
        assert (status["state"], status["lag"], status["cosigned_size"]) == ("good", 0, status["size"])
        # The database is lost: from a replica into a directory, and from there into another database.
        back = ("--from", replica["url"], "--origin", ORIGIN, "--token-file", tokens["read"])
        refused = run("restore", url, *back)
        assert (refused.code, "then attestlog move DIRECTORY URL" in refused.err) == (3, True)
        signers = read_config(open_source(url)).signers
        postgres.sql("update attestlog.log set name = 'lost' where name = %s", url.rpartition("=")[2])
        keys = ("--signer", signers.entries[0], "--checkpoint-signer", signers.checkpoint)
        done(run("restore", tmp_path / "restored", *back, *keys))
    done(run("move", tmp_path / "restored", url))
    assert done(run("verify", url, "--json")).object["verdict"] == "VERIFIED"
    assert open_source(url).entry(4).action_type == "attestlog.restored"


def test_an_entry_needs_approval(url: str, run: Run, tmp_path: Path) -> None:
    done(run("keys", "generate", tmp_path / "auditor.pem"))
    public = open_file_signer(f"file:{tmp_path}/auditor.pem").public_key.pem
    (tmp_path / "policy.toml").write_text(policy_text({"auditor": public}, RULES))
    done(run("init", url, "--origin", ORIGIN, "--policy", tmp_path / "policy.toml"))
    act, request, approval = (tmp_path / name for name in ("act.json", "request.json", "approval.json"))
    act.write_text(json.dumps(DEPLOY))
    done(run("approval", "request", url, act, "-o", request))
    expected = json.loads(request.read_bytes())["action_hash"]
    sign = ("--key", tmp_path / "auditor.pem", "--name", "auditor", "--expect", expected, "--log", url)
    done(run("approval", "sign", request, *sign, "-o", approval))
    done(run("append", url, "--request", request, "--approval", approval))
    assert open_source(url).entry(1).quorum_met


def test_tail_follows(url: str, run: Run) -> None:
    done(run("init", url, "--origin", ORIGIN))
    command = [*ATTESTLOG, "tail", url, "-n", "1", "-f", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as following:
        try:
            assert following.stdout is not None
            assert json.loads(following.stdout.readline())["sequence_number"] == 0
            with attestlog.open(url) as log:
                log.append(draft(1))
                assert json.loads(following.stdout.readline())["sequence_number"] == 1
            following.send_signal(signal.SIGINT)
            _, errors = following.communicate(timeout=PATIENCE_S)
            assert (following.returncode, errors) == (130, b"")
        finally:
            following.kill()


@pytest.mark.parametrize(
    "verb,instead",
    [
        (("copy", "{url}", "{folder}/copy"), "pg_dump"), (("doctor", "{url}"), "opening the log checks"),
        (("archive", "status", "{url}"), "all entries stay"),
        (("archive", "move", "{url}", "{folder}/archive"), "all entries stay"),
    ],
)  # fmt: skip
def test_what_is_for_a_directory_says_what_to_do_instead(
    verb: tuple[str, ...], instead: str, url: str, run: Run, tmp_path: Path
) -> None:
    done(run("init", url, "--origin", ORIGIN))
    found = run(*[word.format(url=url, folder=tmp_path) for word in verb])
    assert found.code == 3
    assert instead in found.err
    assert len([line for line in found.err.splitlines() if "error" in line]) == 1


def test_a_password_is_refused_and_shown_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "postgresql://app:pa55word@localhost/d?log=a"]) != 0
    shown = "".join(capsys.readouterr())
    assert "password" in shown
    assert "pa55word" not in shown


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["postgres", "schema"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("begin;\n")
    assert "create role %I nologin" in shown
    assert main(["postgres", "schema", "--after", "1"]) == 0
    assert capsys.readouterr().out.strip() == ""


def test_without_psycopg_one_line_says_what_to_install(tmp_path: Path) -> None:
    """As on a machine where the extra is not installed."""
    (tmp_path / "psycopg.py").write_text("raise ModuleNotFoundError('no', name='psycopg')\n")
    code = (
        "import sys; from attestlog._internal.cli import main;"
        "sys.exit(main(['show', 'postgresql:///d?log=a', '0']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 4
    assert "a log on PostgreSQL needs psycopg" in done.stderr
    assert "attestlog[postgres]" in done.stderr
