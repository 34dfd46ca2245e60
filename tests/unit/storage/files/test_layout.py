"""Names of files and the one configuration file of the embedded directory."""

from pathlib import Path

import pytest

from attestlog._internal.core.genesis import SEGMENT_ENTRIES_MAX, Settings
from attestlog._internal.storage.files.layout import (
    FORMAT_VERSION,
    LogConfig,
    Signers,
    format_config,
    is_log,
    list_segments,
    parse_config,
    segment_name,
    tree_path,
)
from attestlog.errors import MalformedConfigError

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


@pytest.mark.parametrize(
    "first, name",
    [(0, "000000000000.jsonl"), (65_536, "000000065536.jsonl"), (999_999_999_999, "999999999999.jsonl")],
)
def test_segment_names(first: int, name: str) -> None:
    assert segment_name(first) == name


def test_segments_are_listed_in_order_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "entries"
    folder.mkdir()
    names = [segment_name(first) for first in (131_072, 0, 65_536)]
    others = ["torn-000000000000-1", "1.jsonl", "000000000000.json", "000000000000.jsonl.tmp"]
    others += ["٠00000000000.jsonl", "0000000000000.jsonl"]
    for name in [*names, *others]:
        (folder / name).touch()
    want = [(first, folder / segment_name(first)) for first in (0, 65_536, 131_072)]
    assert list_segments(tmp_path) == want
    with pytest.raises(FileNotFoundError):
        list_segments(tmp_path / "nowhere")


def test_tree_files_are_named_by_level(tmp_path: Path) -> None:
    assert tree_path(tmp_path, 2) == tmp_path / "tree" / "2"


def test_what_looks_like_a_log(tmp_path: Path) -> None:
    assert not is_log(tmp_path)
    assert not is_log(tmp_path / "nowhere")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "log.toml").touch()
    assert is_log(tmp_path / "a")
    (tmp_path / "b" / "entries").mkdir(parents=True)
    assert is_log(tmp_path / "b")
    (tmp_path / "c" / "log.toml").mkdir(parents=True)
    assert not is_log(tmp_path / "c")
