"""init: a log is made, or nothing is."""

from pathlib import Path

import pytest
from tests.cli.running import ORIGIN, Run, key_file, segment
from tests.support.logs import config_file

from attestlog._internal.core.note import parse_vkey
from attestlog._internal.log import Log


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
    assert "redaction       on: passwords, tokens and keys are replaced" in result.out
    assert sum(f"file:{path}" in result.out for path in (home / "keys").iterdir()) == 2


def test_what_init_advises_works(run: Run, tmp_path: Path) -> None:
    advice = run("init", tmp_path / "audit", "--origin", ORIGIN).out.splitlines()[-1]
    result = run(*advice.split()[1:])
    assert result.code == 0
    assert result.out.startswith(f"VERIFIED, confirmed by {ORIGIN}+")


def test_init_says_that_redaction_is_off(run: Run, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("redaction.enabled = false\n")
    made = run("init", tmp_path / "audit", "--origin", ORIGIN, "--policy", tmp_path / "policy.toml")
    assert "redaction       off: entries are written as they are given" in made.out


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


def test_checkpoints_need_ed25519(run: Run, tmp_path: Path) -> None:
    key = key_file(run, tmp_path / "e.pem")
    result = run("init", tmp_path / "audit", "--origin", ORIGIN, "--checkpoint-signer", key["uri"])
    assert result.code == 3
    assert "want Ed25519" in result.err


def test_a_log_with_hybrid_checkpoints(run: Run, tmp_path: Path) -> None:
    log, key = tmp_path / "pq", f"file:{tmp_path / 'pq.pem'}"
    done = run("init", log, "--origin", "example.com/pq", "--checkpoint-pq-signer", key)
    assert done.code == 0
    assert "and ML-DSA-44   example.com/pq+" in done.out
    assert f"  kept in       {key}\n" in done.out
    keys = [row for row in run("keys", "list", log, "--json").objects if row["signs"] == "checkpoints"]
    assert [row["algorithm"] for row in keys] == ["Ed25519", "ML-DSA-44"]
    assert run("checkpoint", log).out.count("\n— example.com/pq ") == 2
    config_file(log).unlink()
    assert run("configure", log).code == 4, "the key is not where keys are kept"
    assert run("configure", log, "--checkpoint-pq-signer", key).code == 0
    assert run("verify", log, "--trust", keys[1]["vkey"]).code == 0
    assert run("checkpoint", log).code == 0


def test_init_goes_on_from_an_older_log(run: Run, tmp_path: Path) -> None:
    old, new = tmp_path / "2025", tmp_path / "2026"
    assert run("init", old, "--origin", "example.com/2025").code == 0
    assert run("append", old, "--event-type", "ACTION", "--action-type", "x", "--actor-id", "a").code == 0
    made = ("init", new, "--origin", "example.com/2026")
    assert run(*made, "--continues", old).code == run(*made, "--reason", "x").code == 2
    result = run(*made, "--continues", old, "--reason", "a new year")
    assert result.code == 0
    assert "continues       example.com/2025, 2 entries carried over" in result.out
    followed = run("verify", new, "--chain", "--json")
    assert followed.code == 0
    assert [item["origin"] for item in followed.objects] == ["example.com/2026", "example.com/2025"]
    assert followed.objects[0]["continues"]["reason"] == "a new year"
    assert "continues" in run("verify", new).out
    segment(old).write_bytes(segment(old).read_bytes().replace(b'"x"', b'"y"'))
    damaged = run("verify", new, "--chain", "--older", old)
    assert damaged.code == 1
    third = ("init", tmp_path / "third", "--origin", "example.com/3")
    assert run(*third, "--continues", old, "--reason", "x").code == 1
    assert not (tmp_path / "third").exists()


@pytest.mark.parametrize("options", [("--older", "x"), ("--chain", "--full")])
def test_a_chain_is_of_a_log_s_own_directory(run: Run, log: Path, options: tuple[str, ...]) -> None:
    assert run("verify", log, *options).code == 2
