"""What a form is told of an entry."""

from pathlib import Path

import pytest
from tests.support.exports import TRACE, items, made_log
from tests.support.logs import MINIMAL
from tests.support.shapes import line_of, read

from attestlog._internal.exporting.contract import Content, act_of, content_of, trace_of


def test_content_says_what_is_gone(tmp_path: Path) -> None:
    log = made_log(tmp_path / "log")
    found = {item.entry.sequence_number: item.content for item in items(log)}
    gone = {number: content for number, content in found.items() if content is not Content.WHOLE}
    assert gone == {2: Content.ERASED, 8: Content.REDACTED}


@pytest.mark.parametrize("text", ["[redacted:", "[redacted:email:00:11]", '"action_payload":null,'])
def test_text_that_only_looks_like_it_is_whole(text: str) -> None:
    assert content_of(line_of(MINIMAL, action_payload={"said": text})) is Content.WHOLE


@pytest.mark.parametrize(
    "context, expected",
    [
        (TRACE, (TRACE["trace_id"], TRACE["span_id"])),
        ({"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}, ("a" * 32, "b" * 16)),
        ({"trace_id": "A" * 32}, ("", "")),
        ({"trace_id": "0" * 32, "span_id": "b" * 16}, ("", "")),
        ({"trace_id": "a" * 32, "span_id": "short"}, ("a" * 32, "")),
        ({"trace_id": 7}, ("", "")),
    ],
)
def test_a_trace_is_one_of_the_w3c_or_none(context: dict[str, object], expected: tuple[str, str]) -> None:
    assert trace_of(read(line_of(MINIMAL, actor_context=context))) == expected


def test_entries_of_one_act_share_the_intent() -> None:
    intent = read(line_of(MINIMAL, event_type="DECISION", actor_context={"guard": "intent"}))
    outcome = {"actor_context": {"guard": "outcome"}, "dependencies": [intent.entry_id]}
    assert act_of(intent) == act_of(read(line_of(MINIMAL, **outcome))) == intent.entry_id
    alone = read(line_of(MINIMAL, dependencies=["00000000-0000-4000-8000-000000000007"]))
    assert act_of(alone) == alone.entry_id
