"""`attestlog keys rotate` and `revoke`, and what `keys list`, `verify` and `repair` say afterwards."""

import tomllib
from pathlib import Path

from tests.cli.running import Run

APPEND = ("--event-type", "ACTION", "--action-type", "a", "--actor-id", "b")


def test_rotating_and_revoking(run: Run, log: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.pem"
    before = run("keys", "list", log, "--json").objects[0]
    rotated = run("keys", "rotate", log, "--to", f"file:{new}", "--algorithm", "Ed25519", "--json").object
    assert rotated["type"] == "rotation"
    assert (rotated["sequence_number"], rotated["old_key_id"]) == (4, before["key_id"])
    assert rotated["algorithm"] == "Ed25519"
    assert tomllib.loads((log / "log.toml").read_text())["signers"]["entry"] == f"file:{new}"
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
    old = tomllib.loads((log / "log.toml").read_text())["signers"]["entry"]
    assert run("keys", "rotate", log).code == 0
    refused = run("append", log, *APPEND, "--signer", old)
    assert refused.code == 4
    assert "the log is signed by" in refused.err
    assert "log.toml" in refused.err


def test_repair_finds_the_key_in_force_for_a_lost_log_toml(run: Run, log: Path) -> None:
    assert run("keys", "rotate", log).code == 0
    wanted = tomllib.loads((log / "log.toml").read_text())["signers"]
    (log / "log.toml").unlink()
    assert run("repair", log, "--yes").code == 0
    assert tomllib.loads((log / "log.toml").read_text())["signers"] == wanted
    assert run("append", log, *APPEND).code == 0
