"""What this machine knows of a log: a file of the operator's, found by the log's genesis hash."""

import os
import shutil
import threading
from functools import partial
from pathlib import Path

import msgspec
import pytest
from tests.support.logs import MINIMAL, config_file, create

from attestlog._internal import config as config_module
from attestlog._internal import places
from attestlog._internal.config import (
    FORMAT_VERSION,
    LogConfig,
    ReplicaAt,
    Signers,
    change_config,
    find_config,
    format_config,
    identity,
    parse_config,
    read_config,
    save_config,
    with_signers,
)
from attestlog._internal.configuring import configure_log
from attestlog._internal.log import Log
from attestlog._internal.replication.settings import add_replica
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import (
    CorruptError,
    KeyFileError,
    MalformedConfigError,
    NoConfigError,
    NoHomeError,
    StorageError,
)
from attestlog.testing import MemorySigner

GENESIS = "0123456789abcdef" * 4
CONFIG = LogConfig(
    origin="example.com/agents",
    genesis=GENESIS,
    path="/var/lib/audit",
    signers=Signers(entry="file:keys/entry.pem", checkpoint="file:keys/checkpoint.pem"),
)
TEXT = f"""\
format_version = 1
origin = "example.com/agents"
genesis = "{GENESIS}"
path = "/var/lib/audit"

[signers]
entry = "file:keys/entry.pem"
checkpoint = "file:keys/checkpoint.pem"
"""


@pytest.fixture(autouse=True)
def own_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Configurations of the test's own."""
    monkeypatch.setenv("ATTESTLOG_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config" / "logs"


# --- the text ---


def test_what_a_configuration_says() -> None:
    assert format_config(CONFIG) == TEXT
    assert parse_config(TEXT, "a.toml") == CONFIG
    assert FORMAT_VERSION == 1


@pytest.mark.parametrize(
    "text",
    ['a"b\\c', "tab\tline\nfeed\x00\x1f\x7f\x80", "ế𝄞", "'''", '"""', "#", "\\u0041", "\u2028\ufeff", ""],
)
def test_any_string_comes_back(text: str) -> None:
    config = LogConfig(origin=text, genesis=GENESIS, signers=Signers(entry=[text, text], checkpoint=text))
    assert parse_config(format_config(config), "a.toml") == config


@pytest.mark.parametrize(
    "old, new",
    [
        ("format_version = 1", "format_version = 2"),
        ("format_version = 1", "format_version = 0"),
        ("format_version = 1", 'format_version = "1"'),
        ("format_version = 1", "format_version = true"),
        ("format_version = 1", "format_version = 1\nformat_version = 1"),
        ("format_version = 1", "format_version = 1\nunknown = 1"),
        ('origin = "example.com/agents"\n', ""),
        ('"example.com/agents"', "5"),
        (f'genesis = "{GENESIS}"\n', ""),
        (GENESIS, GENESIS[1:]),
        (GENESIS, GENESIS.upper()),
        ('entry = "file:keys/entry.pem"\n', ""),
        ('"file:keys/entry.pem"', "[]"),
        ('"file:keys/entry.pem"', "[1]"),
        ("[signers]", "[signers"),
        (TEXT, ""),
        (TEXT, "\x00"),
        (TEXT, "x = " + "[" * 5_000),
    ],
)
def test_another_text_is_malformed(old: str, new: str) -> None:
    assert old in TEXT
    with pytest.raises(MalformedConfigError, match=r"^a\.toml: "):
        parse_config(TEXT.replace(old, new), "a.toml")


def test_format_version_and_path_may_be_left_out() -> None:
    text = TEXT.replace("format_version = 1\n", "").replace('path = "/var/lib/audit"\n', "")
    assert parse_config(text, "a.toml") == msgspec.structs.replace(CONFIG, path="")


def test_replicas_follow_the_signers() -> None:
    at = ReplicaAt(url="https://r1.example.com", vkey="v", token_file="t")
    text = format_config(msgspec.structs.replace(CONFIG, replicas=[at]))
    assert text == TEXT + '\n[[replicas]]\nurl = "https://r1.example.com"\nvkey = "v"\ntoken_file = "t"\n'
    assert parse_config(text, "a.toml").replicas == [at]


# --- where it stands, and how it is found ---


def test_a_new_log_has_a_configuration_and_its_directory_has_none(tmp_path: Path, own_config: Path) -> None:
    path = tmp_path / "audit"
    create(path).close()
    genesis = open_source(path).entry(0).entry_hash
    (made,) = own_config.iterdir()
    assert made.name == f"audit-{genesis[:16]}.toml"
    assert made.stat().st_mode & 0o777 == 0o600
    config = read_config(open_source(path))
    assert (config.origin, config.genesis, config.path) == (
        open_source(path).genesis().origin,
        genesis,
        str(path),
    )
    assert not any(name.suffix == ".toml" for name in path.rglob("*"))


def test_a_configuration_of_any_name_is_found_by_genesis_hash(tmp_path: Path, own_config: Path) -> None:
    create(tmp_path / "a").close()
    create(tmp_path / "b").close()
    config_file(tmp_path / "a").rename(own_config / "ours.toml")
    config_file(tmp_path / "b").rename(own_config / "theirs.toml")
    (own_config / "notes.toml").write_text("x = [")
    (own_config / "unrelated").write_text("")
    for name in "ab":
        assert read_config(open_source(tmp_path / name)).path == str(tmp_path / name)


def test_a_log_that_was_moved_keeps_its_configuration(tmp_path: Path) -> None:
    create(tmp_path / "a").close()
    (tmp_path / "a").rename(tmp_path / "b")
    with Log.open(tmp_path / "b") as log:
        log.append(MINIMAL)


def test_of_two_copies_each_may_have_its_own(tmp_path: Path, own_config: Path) -> None:
    create(tmp_path / "a").close()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    config = read_config(open_source(tmp_path / "a"))
    other = msgspec.structs.replace(config, path=str(tmp_path / "b"), signers=CONFIG.signers)
    (own_config / f"b-{config.genesis[:16]}.toml").write_text(format_config(other))
    (own_config / f"b-{config.genesis[:16]}.toml").chmod(0o600)
    assert read_config(open_source(tmp_path / "a")) == config
    assert read_config(open_source(tmp_path / "b")) == other


def test_a_log_of_the_same_origin_is_another_log(tmp_path: Path) -> None:
    create(tmp_path / "a").close()
    create(tmp_path / "b").close()
    config_file(tmp_path / "b").unlink()
    assert open_source(tmp_path / "a").genesis().origin == open_source(tmp_path / "b").genesis().origin
    assert find_config(open_source(tmp_path / "b")) is None
    with pytest.raises(NoConfigError, match="no configuration of this user"):
        Log.open(tmp_path / "b")


def test_another_origin_under_the_same_hash_is_refused(tmp_path: Path) -> None:
    create(tmp_path / "log").close()
    file = config_file(tmp_path / "log")
    file.write_text(file.read_text().replace('origin = "', 'origin = "other.'))
    with pytest.raises(MalformedConfigError, match="is of 'other"):
        Log.open(tmp_path / "log")


def test_a_log_that_claims_anothers_genesis_hash_is_damaged(tmp_path: Path) -> None:
    """Its hash is computed: else a stranger's log could have this user's keys opened for it."""
    create(tmp_path / "mine").close()
    create(tmp_path / "theirs").close()
    mine, theirs = (open_source(tmp_path / name).entry(0).entry_hash for name in ("mine", "theirs"))
    segment = tmp_path / "theirs" / "entries" / "000000000000.jsonl"
    segment.write_text(segment.read_text().replace(theirs, mine))
    with pytest.raises(CorruptError, match="entry 0 is damaged"):
        identity(open_source(tmp_path / "theirs"))


def test_what_came_with_a_log_says_nothing(tmp_path: Path) -> None:
    create(tmp_path / "log").close()
    file = config_file(tmp_path / "log")
    planted = file.read_text().replace("memory:", "pkcs11:module-path=/nowhere;object=")
    (tmp_path / "log" / "log.toml").write_text(planted)
    (tmp_path / "log" / file.name).write_text(planted)
    file.unlink()
    with pytest.raises(NoConfigError):
        Log.open(tmp_path / "log")
    assert find_config(open_source(tmp_path / "log")) is None


def test_signers_by_argument_need_no_configuration(
    tmp_path: Path, own_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, checkpoint, new = MemorySigner(), MemorySigner("Ed25519"), MemorySigner()
    create(tmp_path / "log", signer=again(entry), checkpoint_signer=again(checkpoint)).close()
    shutil.rmtree(own_config)
    with Log.open(tmp_path / "log", signer=entry, checkpoint_signer=again(checkpoint)) as log:
        log.append(MINIMAL)
        log.rotate_key(again(new))
        log.append(MINIMAL)
    assert not own_config.exists()
    monkeypatch.delenv("ATTESTLOG_CONFIG")
    monkeypatch.delenv("ATTESTLOG_HOME")
    monkeypatch.setattr(Path, "home", _homeless)
    with Log.open(tmp_path / "log", signer=new, checkpoint_signer=checkpoint) as log:
        log.append(MINIMAL)
    with pytest.raises(NoHomeError, match="ATTESTLOG_HOME"):
        Log.open(tmp_path / "log")
    with pytest.raises(NoHomeError, match="ATTESTLOG_HOME"):
        create(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def again(signer: MemorySigner) -> MemorySigner:
    """A signer closes with the log that it was given to."""
    return MemorySigner(signer.public_key.algorithm, key=signer._key)


def _homeless() -> Path:
    raise RuntimeError("could not determine home directory")


# --- whose it is ---


def test_what_others_can_write_is_refused(tmp_path: Path) -> None:
    create(tmp_path / "log").close()
    file = config_file(tmp_path / "log")
    for mode in (0o620, 0o602, 0o666):
        file.chmod(mode)
        with pytest.raises(MalformedConfigError, match=f"has mode {mode:04o}: others can write it"):
            Log.open(tmp_path / "log")
    for mode in (0o600, 0o640, 0o644, 0o400):
        file.chmod(mode)
        Log.open(tmp_path / "log").close()


def test_what_belongs_to_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create(tmp_path / "log").close()
    owner = config_file(tmp_path / "log").stat().st_uid
    if owner == 0:
        os.chown(config_file(tmp_path / "log"), 12_345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(MalformedConfigError, match="belongs to another user"):
        Log.open(tmp_path / "log")


@pytest.mark.parametrize("kind", ["pipe", "directory", "dangling link", "too long", "not UTF-8", "not TOML"])
def test_what_cannot_be_read_is_named(tmp_path: Path, kind: str) -> None:
    create(tmp_path / "log").close()
    file = config_file(tmp_path / "log")
    genesis = file.read_text()
    file.unlink()
    match kind:
        case "pipe":
            os.mkfifo(file)
        case "directory":
            file.mkdir()
        case "dangling link":
            file.symlink_to(tmp_path / "nowhere")
        case "too long":
            file.write_text(genesis + "#" * (1 << 20))
        case "not UTF-8":
            file.write_bytes(b"format_version = \xff\n")
        case "not TOML":
            file.write_text(genesis + "[[[")
    if file.is_file():
        file.chmod(0o600)
    with pytest.raises(MalformedConfigError, match=file.name.replace(".", r"\.")):
        Log.open(tmp_path / "log")


def test_a_file_in_place_of_the_directory_is_said(tmp_path: Path, own_config: Path) -> None:
    own_config.parent.mkdir()
    own_config.write_text("")
    with pytest.raises(StorageError):
        create(tmp_path / "log")
    assert not (tmp_path / "log").exists()


# --- changing it ---


def test_a_replica_and_a_rotation_at_once_lose_nothing_of_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All who change a configuration wait for each other."""
    monkeypatch.setattr(config_module, "LOCK_WAIT_S", 60.0)
    create(tmp_path / "log").close()
    log, at = open_source(tmp_path / "log"), ReplicaAt(url="https://r1.example.com", vkey="v", token_file="t")
    adding = threading.Thread(target=add_replica, args=(tmp_path / "log", at))

    def change(config: LogConfig) -> LogConfig:
        adding.start()
        adding.join(0.2)
        assert adding.is_alive()
        return with_signers(config, entry="file:new.pem")

    change_config(log, change)
    adding.join(60)
    config = read_config(log)
    assert (config.signers.entry, config.replicas) == ("file:new.pem", [at])


def test_of_several_signers_the_one_with_a_key_in_force_signs(tmp_path: Path) -> None:
    """So a rotation works under a configuration that cannot be written: the new signer is listed first."""
    old, new, other = MemorySigner(), MemorySigner(), MemorySigner()
    path = tmp_path / "log"
    create(path, signer=old).close()
    source = open_source(path)
    change_config(source, partial(with_signers, entry=[new.uri, other.uri, old.uri]))
    before = config_file(path).read_bytes()
    with Log.open(path) as log:
        assert log.append(MINIMAL).entry.signing_key_id == old.public_key.key_id
    with Log.open(path) as log:
        log.rotate_key(new)
        assert log.append(MINIMAL).entry.signing_key_id == new.public_key.key_id
    assert read_config(source).signers.entries == [new.uri]
    config_file(path).write_bytes(before)  # as if it could not have been written
    with Log.open(path) as log:
        assert log.append(MINIMAL).entry.signing_key_id == new.public_key.key_id


def test_configuring_a_log_that_came_from_elsewhere(tmp_path: Path, own_config: Path) -> None:
    keys = {name: f"file:{tmp_path / name}.pem" for name in ("entry", "checkpoint")}
    path = tmp_path / "log"
    create(path, signer=keys["entry"], checkpoint_signer=keys["checkpoint"]).close()
    shutil.rmtree(own_config)
    with pytest.raises(KeyFileError, match="--entry-signer"):
        configure_log(path)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    made = configure_log(path, entry=[keys["entry"]], checkpoint=keys["checkpoint"])
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    assert read_config(open_source(path)) == made
    with Log.open(path) as log:
        log.append(MINIMAL)
    at = ReplicaAt(url="https://r1.example.com", vkey="v", token_file="t")
    add_replica(path, at)
    kept = configure_log(path, entry=["file:other.pem", keys["entry"]])
    assert kept.replicas == [at]
    assert kept.signers.entries == [f"file:{Path('other.pem').absolute()}", keys["entry"]]
    assert kept.signers.checkpoint == keys["checkpoint"]


def test_configuring_finds_key_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_config: Path
) -> None:
    monkeypatch.setenv("ATTESTLOG_HOME", str(tmp_path / "home"))
    path = tmp_path / "log"
    with Log.create(path, origin="example.com/found") as log:
        log.rotate_key()
    wanted = read_config(open_source(path))
    shutil.rmtree(own_config)
    assert configure_log(path) == msgspec.structs.replace(wanted, state="")
    assert places.keys_dir() == tmp_path / "home" / "keys"


def test_saving_again_replaces_the_file(tmp_path: Path, own_config: Path) -> None:
    create(tmp_path / "log").close()
    source = open_source(tmp_path / "log")
    config_file(tmp_path / "log").rename(own_config / "by hand.toml")
    save_config(source, with_signers(read_config(source), entry="file:x"))
    assert [path.name for path in own_config.iterdir()] == ["by hand.toml"]
    assert read_config(source).signers.entry == "file:x"
