"""keys: made, listed, rotated and revoked."""

import tomllib
from pathlib import Path

import pytest
from tests.cli.approving import approved, verdict
from tests.cli.running import ORIGIN, Run, key_file
from tests.support.logs import config_file

from attestlog._internal.core.note import parse_vkey
from attestlog._internal.log import Log


def test_a_key_file_can_be_named_by_uri_and_a_device_by_its_option_only(run: Run, tmp_path: Path) -> None:
    assert run("keys", "generate", f"file:{tmp_path / 'k.pem'}").code == 0
    assert (tmp_path / "k.pem").is_file()
    for arguments, code, said in (
        (["pkcs11:token=t;object=k"], 2, "--signer URI makes a key in a device"),
        (["k.pem", "--signer", "pkcs11:token=t;object=k"], 2, "use either --signer"),
        (["--protect", "--signer", "pkcs11:token=t;object=k"], 2, "use either --signer"),
        (["--signer", "awskms:alias/k"], 3, "not in 'awskms:…'"),
    ):
        result = run("keys", "generate", *arguments)
        assert (result.code, result.out) == (code, "")
        assert said in result.err


def test_keys_are_made_where_keys_are_kept_and_listed(run: Run, home: Path) -> None:
    shown = run("keys", "generate")
    assert shown.code == 0
    assert shown.out.splitlines()[-1] == "-----END PUBLIC KEY-----"
    (listed,) = run("keys", "list", "--json").objects
    assert listed["key_id"] in shown.out
    assert listed["uri"] == f"file:{next((home / 'keys').iterdir())}"
    table = run("keys", "list").out
    assert listed["uri"] in table
    assert listed["key_id"] in table


def test_keys_list_names_what_cannot_be_opened(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("keys", "generate", home / "keys" / "open.pem")
    (home / "keys" / "open.pem").chmod(0o644)
    (home / "keys" / "rubbish.pem").write_text("-----BEGIN")
    (home / "keys" / "rubbish.pem").chmod(0o600)
    monkeypatch.setenv("ATTESTLOG_PASSPHRASE", "secret")
    run("keys", "generate", home / "keys" / "locked.pem")
    monkeypatch.delenv("ATTESTLOG_PASSPHRASE")
    problems = {Path(row["uri"]).name: row["problem"] for row in run("keys", "list", "--json").objects}
    assert problems["locked.pem"] == "encrypted"
    assert "0644" in problems["open.pem"]
    assert "PKCS#8" in problems["rubbish.pem"]
    assert run("keys", "list").code == 0


def test_a_logs_keys_are_those_of_its_genesis(run: Run, log: Path) -> None:
    entries, checkpoints = run("keys", "list", log, "--json").objects
    with Log.open(log) as opened:
        assert [entries["key_id"]] == list(opened.genesis.entry_keys)
    assert (entries["signs"], checkpoints["signs"]) == ("entries", "checkpoints")
    assert parse_vkey(checkpoints["vkey"]).key_id.hex() == checkpoints["key_id"]
    assert entries["key_id"] in run("keys", "list", log).out


def test_a_key_file_is_never_overwritten(run: Run, tmp_path: Path) -> None:
    key_file(run, tmp_path / "k.pem")
    before = (tmp_path / "k.pem").read_bytes()
    assert run("keys", "generate", tmp_path / "k.pem").code == 2
    assert (tmp_path / "k.pem").read_bytes() == before


def test_a_key_others_can_read_is_refused_with_a_hint(run: Run, log: Path, home: Path) -> None:
    entry_key = next((home / "keys").glob("*-entry-*"))
    entry_key.chmod(0o640)
    result = run("append", log, "--event-type", "ACTION", "--action-type", "a", "--actor-id", "b")
    assert (result.code, result.out) == (4, "")
    assert "has mode 0640, want 0600" in result.err
    assert f"chmod 600 {entry_key}" in result.err


def test_passphrase_comes_from_the_environment_and_is_never_shown(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTESTLOG_PASSPHRASE", "correct horse")
    made = run("init", tmp_path / "audit", "--origin", ORIGIN)
    arguments = [
        "append",
        tmp_path / "audit",
        "--event-type",
        "ACTION",
        "--action-type",
        "a",
        "--actor-id",
        "b",
    ]
    appended = run(*arguments)
    assert (made.code, appended.code) == (0, 0)
    monkeypatch.setenv("ATTESTLOG_PASSPHRASE", "wrong pony")
    refused = run(*arguments)
    assert refused.code == 4
    assert "passphrase is wrong" in refused.err
    everything = made.out + made.err + appended.out + appended.err + refused.out + refused.err
    assert "horse" not in everything
    assert "pony" not in everything


APPEND = ("--event-type", "ACTION", "--action-type", "a", "--actor-id", "b")


def test_rotating_and_revoking(run: Run, log: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.pem"
    before = run("keys", "list", log, "--json").objects[0]
    rotated = run("keys", "rotate", log, "--to", f"file:{new}", "--algorithm", "Ed25519", "--json").object
    assert rotated["type"] == "rotation"
    assert (rotated["sequence_number"], rotated["old_key_id"]) == (4, before["key_id"])
    assert rotated["algorithm"] == "Ed25519"
    assert tomllib.loads(config_file(log).read_text())["signers"]["entry"] == f"file:{new}"
    assert run("append", log, *APPEND).code == 0
    revoked = run(
        "keys", "revoke", log, before["key_id"], "--last-trusted", 2, "--reason", "laptop stolen",
        "--actor-id", "operator", "--json",
    ).object  # fmt: skip
    assert (revoked["type"], revoked["sequence_number"], revoked["last_trusted"]) == ("revocation", 6, 2)
    first, second, _ = run("keys", "list", log, "--json").objects
    assert (first["start"], first["stop"], first["last_trusted"]) == (0, 5, 2)
    assert (second["start"], second["stop"], second["key_id"]) == (5, None, rotated["key_id"])
    shown = run("keys", "list", log).out
    assert "entries from 0 to 4, revoked: trusted to 2" in shown
    assert "entries from 5 on" in shown
    for trust, doubted in (([], 2), (["--trust", rotated["key_id"]], 1)):
        verified = run("verify", log, "--no-remember", "--json", *trust)
        assert (verified.code, verified.object["finding_counts"]["key.revoked"]) == (4, doubted)


def test_what_settles_a_doubt_is_said(run: Run, log: Path) -> None:
    key = run("keys", "list", log, "--json").objects[0]["key_id"]
    run("keys", "rotate", log)
    run("keys", "revoke", log, key, "--last-trusted", 2, "--reason", "stolen")
    verified = run("verify", log, "--no-remember")
    assert verified.code == 4
    assert "--trust of a later key can settle it" in verified.err
    assert "no verdict on the log" not in verified.err


def test_text_output(run: Run, log: Path) -> None:
    rotated = run("keys", "rotate", log)
    assert rotated.code == 0
    assert rotated.out.startswith("4  ")
    (old,) = [row["key_id"] for row in run("keys", "list", log, "--json").objects if row.get("start") == 0]
    assert f"old key id    {old}" in rotated.out
    revoked = run("keys", "revoke", log, old, "--last-trusted", 4, "--reason", "old")
    assert "last trusted  4" in revoked.out
    assert run("verify", log).code == 0


def test_what_cannot_be_done_is_a_usage_error_and_writes_nothing(run: Run, log: Path) -> None:
    key = run("keys", "list", log, "--json").objects[0]["key_id"]
    for arguments, why in (
        ((key, "--last-trusted", 1, "--reason", "x"), "is the only one in force"),
        (("0" * 64, "--last-trusted", 1, "--reason", "x"), "never was in force"),
        (("nonsense", "--last-trusted", 1, "--reason", "x"), "action_payload.key_id"),
    ):
        refused = run("keys", "revoke", log, *arguments)
        assert (refused.code, refused.out) == (2, "")
        assert why in refused.err
    assert run("verify", log, "--json").object["size"] == 4


def test_a_signer_that_holds_a_retired_key_is_told_which_is_in_force(run: Run, log: Path) -> None:
    old = tomllib.loads(config_file(log).read_text())["signers"]["entry"]
    assert run("keys", "rotate", log).code == 0
    refused = run("append", log, *APPEND, "--signer", old)
    assert refused.code == 4
    assert "the log is signed by" in refused.err
    assert "attestlog configure LOG" in refused.err


def test_a_key_of_another_host_is_admitted(run: Run, log: Path, tmp_path: Path) -> None:
    key = key_file(run, tmp_path / "host-2.pem")["key_id"]
    consent = tmp_path / "host-2.json"
    made = run("keys", "consent", log, "--signer", f"file:{tmp_path / 'host-2.pem'}", "--label", "host-2")
    consent.write_text(made.out)
    (shown,) = run("keys", "admit", log, consent, "--json").objects
    assert (shown["label"], shown["key_id"]) == ("host-2", key)
    rows = run("keys", "list", log, "--json").objects
    assert [row.get("label") for row in rows] == ["", "host-2", None]
    assert "entries of host-2 from" in run("keys", "list", log).out
    arguments = ["--event-type", "ACTION", "--action-type", "a", "--actor-id", "b"]
    assert run("append", log, *arguments, "--signer", f"file:{tmp_path / 'host-2.pem'}").code == 0
    assert run("append", log, *arguments).code == 0
    assert run("verify", log).code == 0
    result = run("keys", "admit", log, consent)
    assert result.code == 2
    assert "was in force before" in result.err
    assert run("keys", "admit", log, consent, "--request-approval", tmp_path / "request.json").code == 0


def test_a_consent_that_is_none(run: Run, log: Path, tmp_path: Path) -> None:
    key_file(run, tmp_path / "k.pem")
    result = run("keys", "consent", log, "--signer", f"file:{tmp_path / 'k.pem'}", "--label", "")
    assert result.code == 3
    assert "label" in result.err
    (tmp_path / "consent.json").write_text("{}")
    assert run("keys", "admit", log, tmp_path / "consent.json").code == 3
    assert run("keys", "admit", log, tmp_path / "nothing.json").code == 4


def test_keys_are_changed_by_their_own_verbs_with_approvals(
    run: Run, governed_log: Path, keys: dict[str, Path], tmp_path: Path
) -> None:
    second, request = key_file(run, tmp_path / "host-2.pem")["key_id"], tmp_path / "request.json"
    by = ("--signer", f"file:{tmp_path / 'host-2.pem'}", "--label", "host-2")
    consent = tmp_path / "host-2.json"
    consent.write_text(run("keys", "consent", governed_log, *by).out)
    for verb in (
        ("admit", governed_log, consent),
        ("revoke", governed_log, second, "--last-trusted", 1, "--reason", "not needed"),
    ):
        assert run("keys", *verb, "--request-approval", request).code == 0  # by the key that signs
        change = ("keys", *verb, "--actor-id", "operator")
        assert run(*change, "--json").error["code"] == "verification.rule_change"
        assert run(*change, "--request-approval", request).code == 0
        approvals = [approved(run, request, key, role) for role, key in keys.items()]
        files = [word for approval in approvals for word in ("--approval", approval)]
        by_append = run("append", governed_log, "--request", request, *files)
        assert (by_append.code, "only where keys are managed" in by_append.err) == (2, True)
        assert run(*change, *files).code == 0
    assert verdict(run, governed_log) == "VERIFIED"
    assert second not in [row["key_id"] for row in run("keys", "list", governed_log, "--json").objects[:1]]
