"""The explorer's page as tests load it: a log to show, and a server without a socket."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from tests.support.browser import ORIGIN
from tests.support.logs import Key, LogMaker, draft
from tests.support.people import governed

from attestlog._internal.explorer.answering import CONTENT_SECURITY_POLICY, Explorer, Waiting
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import AttestlogError

if TYPE_CHECKING:
    from playwright.sync_api import Page

ENTRIES: Final = 300
"""More than one tile and more than one page of the timeline."""

VIEWS: Final = (
    "",
    "?lane=session",
    "?entry=3",
    "?view=governance",
    "?view=keys",
    "?view=confirming",
    "?view=figures",
    "?view=file",
)

PREFIX: Final = f"{ORIGIN}/some/prefix/"

SCORES: Final = {"an_toan": 9, "duong_dai": 8, "tin_vao_so_lieu": 6.5, "han_che_rui_ro": 9}

Change = Callable[[str, bytes], bytes]
"""What a lying server makes of an answer, by its path."""


def example_log(root: Path) -> LogMaker:
    """Scores, sessions, a rule, a guarded act (1 and 2), a violation (3), a rotation (4), an approval (5)."""
    rule = {"action_types": ["deploy*"], "required_approvals": 1}
    made = LogMaker(root, policy=governed(rules={"releases": rule}))
    act: dict[str, Any] = {"action_type": "deploy", "pillars_scores": SCORES}
    made.append(draft(1, event_type="DECISION", actor_context={"guard": "intent"}, **act))
    intent = json.loads(made.lines[-1])["entry_id"]
    made.append(draft(2, actor_context={"guard": "outcome"}, dependencies=[intent], **act))
    broken = {"violated_invariant": "INVARIANT_2_SAFETY_FLOOR", "message": "<img src=x onerror=alert(1)>"}
    blocked: dict[str, Any] = {"execution_status": "BLOCKED", "pillars_scores": {"an_toan": 6.2}}
    made.append(draft(3, event_type="VIOLATION", actor_id="agent-7", error_details=broken, **blocked))
    made.rotate(Key(2))
    approval = {"signer": "somebody", "signature": "00", "timestamp": "2025-10-30T12:00:00.000000Z"}
    made.append(draft(5, action_type="release", received_approvals=[approval], required_approvals=1))
    made.append(
        *(draft(number, actor_context={"session": f"s-{number % 3}"}) for number in range(6, ENTRIES))
    )
    made.lay_out()
    return made


def served(
    page: "Page",
    made: LogMaker,
    change: Change | None = None,
    origin: str = ORIGIN,
    kept: list[Waiting] | None = None,
) -> list[str]:
    """Answer the page's requests as the server does, below a prefix, without a socket. Errors it met.

    `kept`: requests for approval.
    """
    explorer = Explorer(open_source(made.root), None if kept is None else lambda most: kept[:most])
    prefix, errors = f"{origin}/some/prefix/", list[str]()

    def answer(route: Any) -> None:
        url: str = route.request.url
        if not url.startswith(prefix):
            errors.append(f"asked for {url}")
            route.abort()
            return
        path, _, query = url.removeprefix(prefix).partition("?")
        headers = {"content-security-policy": CONTENT_SECURITY_POLICY}
        try:
            given = explorer.answer(path, dict(parse_qsl(query)))
        except AttestlogError as error:
            route.fulfill(status=400, body=json.dumps({"detail": str(error)}), headers=headers)
            return
        body = given.body if change is None else change(path.removeprefix("api/"), given.body)
        route.fulfill(body=body, headers={**headers, "content-type": given.media_type})

    page.route("**/*", answer)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    return errors


def check(page: "Page") -> str:
    """Press "Check here"; the verdict."""
    page.click("#check")
    page.wait_for_selector("#verdict[data-done]")
    return page.get_attribute("#verdict", "data-verdict") or ""


def _flip(place: int) -> Callable[[bytes], bytes]:
    return lambda body: body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


def _swap(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda body: body.replace(old, new, 1)


LIES: Final[dict[str, tuple[str, Callable[[bytes], bytes], str]]] = {
    "payload": ("entries/3", _swap(b'"number":3', b'"number":9'), "entry.action_hash"),
    "actor": ("entries/3", _swap(b"agent-7", b"agent-8"), "entry.entry_hash"),
    "spelling": ("entries/3", _swap(b'"number":3', b'"number": 3'), "entry.canonical"),
    "signature": (
        "entries/3",
        _swap(b'"hsm_signature":"3', b'"hsm_signature":"x3'),
        "entry.signature_form",
    ),
    "genesis entry": (
        "entries/0",
        _swap(b'"origin":"example', b'"origin":"examp1e'),
        "entry.action_hash",
    ),
    "leaf": ("tile/0/000", _flip(3 * 32 + 5), "published.tile"),
    "other leaf": ("tile/0/000", _flip(200 * 32), "published.tile"),
    "right edge": ("tile/0/001.p/44", _flip(40), "published.tile"),
    "upper tile": ("tile/1/000.p/1", _flip(7), "published.tile"),
    "bundle": ("tile/entries/000", _flip(2 * 34 + 9), "published.bundle"),
    "length in a bundle": ("tile/entries/000", _flip(1), "published.tile"),
    "tile cut short": ("tile/0/000", lambda body: body[:-32], "published.tile"),
    "size of the checkpoint": ("checkpoint", _swap(b"\n300\n", b"\n299\n"), "checkpoint.signature"),
    "checkpoint": ("checkpoint", lambda _: b"nothing\n", "checkpoint.malformed"),
}
"""What a lying server makes of an answer: its path, how it is changed, and what that is called."""
