"""Making logs and keys, and listing them."""

from pathlib import Path

import pytest
from tests.cli.running import ORIGIN, Run

from attestlog._internal.config import read_config
from attestlog._internal.core.note import parse_vkey
from attestlog._internal.log import Log
from attestlog._internal.storage.files.reader import LogReader


def key_file(run: Run, path: Path, *arguments: str) -> dict[str, str]:
    made: dict[str, str] = run("keys", "generate", path, *arguments, "--json").object
    return made


def test_init_makes_a_log_and_says_all_that_matters(run: Run, tmp_path: Path, home: Path) -> None:
    result = run("init", tmp_path / "audit", "--origin", ORIGIN)
    assert (result.code, result.err) == (0, "")
    with Log.open(tmp_path / "audit") as log:
        (key_id,) = log.genesis.entry_keys
        assert (log.origin, log.genesis.settings.batch) == (ORIGIN, True)
    vkey = next(word for word in result.out.split() if word.startswith(f"{ORIGIN}+"))
    assert parse_vkey(vkey).name == ORIGIN
    assert key_id in result.out
    assert f"attestlog verify {tmp_path / 'audit'} --trust {vkey}" in result.out
    assert sum(f"file:{path}" in result.out for path in (home / "keys").iterdir()) == 2


def test_what_init_advises_works(run: Run, tmp_path: Path) -> None:
    advice = run("init", tmp_path / "audit", "--origin", ORIGIN).out.splitlines()[-1]
    result = run(*advice.split()[1:])
    assert result.code == 0
    assert result.out.startswith(f"VERIFIED, confirmed by {ORIGIN}+")


def test_init_with_everything_chosen(run: Run, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("safety_floor = 8\nfloor_per_pillar = true\n")
    log, signer, checkpoint_signer = tmp_path / "audit", tmp_path / "e.pem", tmp_path / "c.pem"
    made = run(
        "init", log, "--origin", ORIGIN, "--signer", f"file:{signer}", "--checkpoint-signer",
        f"file:{checkpoint_signer}", "--algorithm", "Ed25519", "--no-batch", "--policy", policy,
        "--erasable-payloads", "--any-filesystem", "--json",
    ).object  # fmt: skip
    assert made["type"] == "log"
    assert made["origin"] == ORIGIN
    assert [key["algorithm"] for key in made["entry_keys"]] == ["Ed25519"]
    assert made["signers"] == {"entry": f"file:{signer}", "checkpoint": f"file:{checkpoint_signer}"}
    assert made["settings"] == {"batch": False, "erasable_payloads": True, "segment_entries": 65_536}
    assert (made["policy"]["safety_floor"], made["policy"]["floor_per_pillar"]) == (8, True)
    assert signer.is_file()
    assert checkpoint_signer.is_file()


@pytest.mark.parametrize(
    "arguments, code, said",
    [
        (["--origin", "two words"], 3, "origin: key name 'two words' holds a space"),
        (["--origin", ORIGIN, "--algorithm", "RSA"], 3, "algorithm is 'RSA'"),
        (["--origin", ORIGIN, "--signer", "pkcs12:x"], 3, "no known scheme"),
        (["--origin", ORIGIN, "--policy", "POLICY"], 3, "safety_floor"),
        (["--origin", ORIGIN, "--policy", "NOT_TOML"], 3, "not TOML"),
        (["--origin", ORIGIN, "--policy", "nowhere.toml"], 4, "nowhere.toml"),
    ],
)
def test_init_refuses_and_makes_nothing(
    run: Run, tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    for name, text in (("POLICY", "safety_floor = 11"), ("NOT_TOML", "safety_floor == 7")):
        (tmp_path / name).write_text(text)
    given = [str(tmp_path / item) if item in {"POLICY", "NOT_TOML"} else item for item in arguments]
    result = run("init", tmp_path / "audit", *given)
    assert (result.code, result.out) == (code, "")
    assert said in result.err
    assert not (tmp_path / "audit").exists()


def test_init_never_overwrites(run: Run, log: Path) -> None:
    before = sorted(log.rglob("*"))
    result = run("init", log, "--origin", "example.com/other")
    assert result.code == 2
    assert "exists already" in result.err
    assert sorted(log.rglob("*")) == before


def test_a_key_made_first_can_sign_a_log(run: Run, tmp_path: Path) -> None:
    entry = key_file(run, tmp_path / "e.pem")
    checkpoint = key_file(run, tmp_path / "c.pem", "--algorithm", "Ed25519")
    assert (entry["type"], entry["algorithm"]) == ("key", "ECDSA-P256-SHA256")
    assert (tmp_path / "e.pem").stat().st_mode & 0o777 == 0o600
    made = run(
        "init", tmp_path / "audit", "--origin", ORIGIN, "--signer", entry["uri"], "--checkpoint-signer",
        checkpoint["uri"], "--json",
    ).object  # fmt: skip
    assert [key["key_id"] for key in made["entry_keys"]] == [entry["key_id"]]


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


def test_checkpoints_need_ed25519(run: Run, tmp_path: Path) -> None:
    key = key_file(run, tmp_path / "e.pem")
    result = run("init", tmp_path / "audit", "--origin", ORIGIN, "--checkpoint-signer", key["uri"])
    assert result.code == 3
    assert "want Ed25519" in result.err


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


def test_checkpoint_prints_the_note_that_is_stored(run: Run, log: Path) -> None:
    result = run("checkpoint", log)
    assert (result.code, result.err) == (0, "")
    assert result.out.encode() == (log / "checkpoint").read_bytes()
    described = run("checkpoint", log, "--json").object
    assert described["type"] == "checkpoint"
    assert (described["origin"], described["size"], described["note"]) == (ORIGIN, 4, result.out)


def test_checkpoint_of_a_log_that_does_not_continue_the_last_one_is_refused(
    run: Run, log: Path, tmp_path: Path
) -> None:
    with Log.open(log) as opened:
        signer = read_config(LogReader(log)).signers.checkpoint
        assert opened.head().size == 4
    with Log.create(tmp_path / "other", origin=ORIGIN, checkpoint_signer=signer) as other:
        other.append(event_type="ACTION", action_type="a", actor_id="b")
    (log / "checkpoint").write_bytes((tmp_path / "other" / "checkpoint").read_bytes())
    result = run("checkpoint", log)
    assert result.code == 1
    assert result.out == ""
