"""TOML: whatever is written is read again, and what is wrong says which file it is in."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from attestlog._internal.core.toml import (
    KEY_PARTS_MAX,
    format_toml,
    format_toml_key,
    format_toml_value,
    load_toml,
    parse_toml,
    toml_statements,
)
from attestlog.errors import MalformedConfigError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NAMES = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
SCALARS = TEXTS | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.lists(TEXTS, max_size=3)
TABLES = st.dictionaries(NAMES, SCALARS, max_size=3)
FILES = st.dictionaries(NAMES, SCALARS | TABLES | st.lists(TABLES, min_size=1, max_size=3), max_size=5)


@given(FILES)
def test_what_is_written_is_read_again(members: dict[str, Any]) -> None:
    assert tomllib.loads(format_toml(members)) == members


@given(TEXTS)
def test_any_string_is_a_value_and_a_key(text: str) -> None:
    assert tomllib.loads(f"{format_toml_key(('a', text))} = {format_toml_value(text)}") == {"a": {text: text}}


def test_how_a_file_looks() -> None:
    members = {
        "table": {"a": 1, "left_out": None}, "name": "x\x7f", "left_out": None, "numbers": [1, 2],
        "items": [{"b": "1"}, {"b": "2"}], "flag": True,
    }  # fmt: skip
    assert format_toml(members) == (
        'name = "x\\u007f"\nnumbers = [1,2]\nflag = true\n\n[table]\na = 1\n\n'
        '[[items]]\nb = "1"\n\n[[items]]\nb = "2"\n'
    )
    assert format_toml({}) == ""
    assert format_toml({"items": [{"b": 1}]}) == "[[items]]\nb = 1\n"


class Settings(Struct, forbid_unknown_fields=True):
    name: str


@pytest.mark.parametrize("text", ["[", "name = 1", "", "name = 'a'\nmore = 1", "name = " + "[" * 5_000])
def test_what_is_wrong_names_the_file(text: str) -> None:
    with pytest.raises(MalformedConfigError, match=r"^some\.toml: "):
        parse_toml(text, Settings, "some.toml")
    assert parse_toml("name = 'a'", Settings, "some.toml") == Settings("a")


def test_a_dotted_key_at_its_limit_and_one_past_it() -> None:
    load_toml(f"{'.'.join('k' * KEY_PARTS_MAX)} = 1.5")
    load_toml(f"a = [{'1.5, ' * 1_000}]  # {'.' * 1_000}\nb = '{'.' * 1_000}'")
    with pytest.raises(tomllib.TOMLDecodeError, match="more than 64 parts"):
        load_toml(f"{'.'.join('k' * (KEY_PARTS_MAX + 1))} = 1")
    with pytest.raises(MalformedConfigError, match="more than 64 parts"):
        parse_toml(f"a = {{ {'.'.join('k' * 100_000)} = 1 }}", Settings, "a file")


def test_statements_end_where_toml_says() -> None:
    text = '''# one
a = [ # two "
  "]", # }
]
b."=" = """
[not a heading]
""""
[c."]"]
d = '\'\'\'
'\'\'\''''
    found = [(line, tomllib.loads(statement)) for line, statement in toml_statements(text)]
    assert [item for item in found if item[1]] == [
        (2, {"a": ["]"]}), (5, {"b": {"=": '[not a heading]\n"'}}), (8, {"c": {"]": {}}}), (9, {"d": "'\n'"}),
    ]  # fmt: skip


@given(FILES)
def test_statements_of_any_file_are_toml_each(members: dict[str, Any]) -> None:
    statements = [statement for _, statement in toml_statements(format_toml(members))]
    assert "".join(statements) == format_toml(members)
    for statement in statements:
        tomllib.loads(statement)
