"""What this machine knows of a log: log.toml, read and written in one place, inside the log's turn."""

import threading
from functools import partial
from pathlib import Path

import pytest
from tests.support.logs import create

from attestlog._internal.config import (
    FORMAT_VERSION,
    LogConfig,
    ReplicaAt,
    Signers,
    change_config,
    format_config,
    parse_config,
    read_config,
    with_signers,
)
from attestlog._internal.core.genesis import SEGMENT_ENTRIES_MAX, Settings
from attestlog._internal.replication.settings import add_replica
from attestlog._internal.storage.resolve import open_source, open_store
from attestlog.errors import MalformedConfigError, NotFoundError

CONFIG = LogConfig(
    origin="example.com/agents",
    settings=Settings(),
    signers=Signers(entry="file:keys/entry.pem", checkpoint="file:keys/checkpoint.pem"),
)
TEXT = """\
format_version = 1
origin = "example.com/agents"

[settings]
batch = true
erasable_payloads = false
segment_entries = 65536

[signers]
entry = "file:keys/entry.pem"
checkpoint = "file:keys/checkpoint.pem"
"""


def test_what_log_toml_says() -> None:
    assert format_config(CONFIG) == TEXT
    assert parse_config(TEXT) == CONFIG
    assert FORMAT_VERSION == 1


@pytest.mark.parametrize(
    "text",
    ['a"b\\c', "tab\tline\nfeed\x00\x1f\x7f\x80", "ế𝄞", "'''", '"""', "#", "\\u0041", "\u2028\ufeff", ""],
)
def test_any_string_comes_back(text: str) -> None:
    config = LogConfig(
        origin=text, settings=Settings(batch=False), signers=Signers(entry=text, checkpoint=text)
    )
    assert parse_config(format_config(config)) == config


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
        ('"example.com/agents"', "example.com/agents"),
        ("[settings]", "[setting]"),
        ("batch = true", "batch = 1"),
        ("batch = true", "batch = true\npassword = 'x'"),
        ("segment_entries = 65536", "segment_entries = 0"),
        ("segment_entries = 65536", f"segment_entries = {SEGMENT_ENTRIES_MAX + 1}"),
        ("segment_entries = 65536", "segment_entries = 1.0"),
        ('entry = "file:keys/entry.pem"\n', ""),
        ("[signers]", "[signers"),
        ("segment_entries = 65536", "segment_entries = " + "1" * 5_000),
        (TEXT, ""),
        (TEXT, "\x00"),
        (TEXT, "x = " + "[" * 5_000),
    ],
)
def test_another_log_toml_is_malformed(old: str, new: str) -> None:
    assert old in TEXT
    with pytest.raises(MalformedConfigError, match=r"^log\.toml: "):
        parse_config(TEXT.replace(old, new))


def test_format_version_may_be_left_out_and_then_is_1() -> None:
    assert parse_config(TEXT.replace("format_version = 1\n", "")) == CONFIG


def test_replicas_follow_the_signers() -> None:
    at = ReplicaAt(url="https://r1.example.com", vkey="v", token_file="t")
    text = format_config(LogConfig(
        origin=CONFIG.origin, settings=CONFIG.settings, signers=CONFIG.signers, replicas=[at]
    ))  # fmt: skip
    assert text == TEXT + '\n[[replicas]]\nurl = "https://r1.example.com"\nvkey = "v"\ntoken_file = "t"\n'
    assert parse_config(text).replicas == [at]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    create(tmp_path / "log").close()
    log, path = open_source(tmp_path / "log"), tmp_path / "log" / "log.toml"
    for data in (b"format_version = \xff\n", b"[[["):
        path.write_bytes(data)
        with pytest.raises(MalformedConfigError, match=r"^log\.toml: "):
            read_config(log)
    path.unlink()
    with pytest.raises(NotFoundError, match=r"has no log\.toml"):
        read_config(log)


def test_a_replica_and_a_rotation_at_once_lose_nothing_of_each_other(tmp_path: Path) -> None:
    """Whoever changes log.toml does so within a turn, and reads it there."""
    create(tmp_path / "log").close()
    at = ReplicaAt(url="https://r1.example.com", vkey="v", token_file="t")
    store = open_store(tmp_path / "log")
    with store.exclusive():
        adding = threading.Thread(target=add_replica, args=(tmp_path / "log", at))
        adding.start()
        adding.join(0.2)
        assert adding.is_alive()
        change_config(store, partial(with_signers, entry="file:new.pem"))
    adding.join(30)
    store.close()
    config = read_config(open_source(tmp_path / "log"))
    assert (config.signers.entry, config.replicas) == ("file:new.pem", [at])
