"""docs/exports.md: every member of an entry has its row, and the maps of the page are those of the code."""

import re

import pytest
from tests.support.repository import ROOT

from attestlog._internal.core.entry import Entry, EventCategory, ExecutionStatus
from attestlog._internal.exporting import ocsf, otlp
from attestlog._internal.exporting.contract import Form
from attestlog._internal.exporting.parquet import _TYPES
from attestlog._internal.shipping import opening, syslog

PAGE = (ROOT / "docs" / "exports.md").read_text(encoding="utf-8")
KINDS = {"json": "JSON text", "timestamp": "timestamp in µs, UTC"}


def table(first: str) -> dict[str, list[str]]:
    """The rows of the table whose heading begins so, by their first cell."""
    lines = PAGE[PAGE.index(f"\n| {first} |") + 1 :].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {row[0].strip().strip("`"): row[1:] for row in rows}


def test_every_member_has_a_row_and_its_column_the_type_that_it_says() -> None:
    rows = table("member")
    assert list(rows) == sorted(Entry.__struct_fields__)
    assert {name: row[-1].strip() for name, row in rows.items()} == {
        name: KINDS.get(kind, kind) for name, kind in _TYPES.items()
    }


@pytest.mark.parametrize("category", EventCategory)
def test_severities(category: EventCategory) -> None:
    in_ocsf, in_otlp, in_syslog = table("`event_category`")[category]
    assert in_ocsf == "{} {}".format(*ocsf.SEVERITY[category])
    assert in_otlp == "{} {}".format(*otlp.SEVERITY[category])
    assert in_syslog.split()[0] == str(syslog.SEVERITY[category])


@pytest.mark.parametrize("status", ExecutionStatus)
def test_statuses(status: ExecutionStatus) -> None:
    assert table("`execution_status`")[status][0] == "{} {}".format(*ocsf.STATUS[status])


def test_every_kind_of_sink_is_described() -> None:
    assert [uri.partition(":")[0] + ":" for uri in table("URI")] == list(opening.KINDS)


def test_every_form_is_described() -> None:
    assert list(table("`--format`")) == list(Form)
    assert set(table("form")) == set(Form) - {Form.JSONL, Form.CSV}
    assert ocsf.OCSF_VERSION in re.findall(r"\*\*(\d+\.\d+\.\d+)\*\*", PAGE)
