"""A log's service over HTTP and a socket: what is written, once; what is read; who may."""

import gzip
import json
import os
import pwd
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar.routes import HTTPRoute
from tests.support.services_of_logs import ACTION, ORIGIN, Place, served_log
from tests.support.tools import missing

import attestlog
from attestlog._internal.core.entry import format_timestamp
from attestlog._internal.core.report import Verdict
from attestlog._internal.proving import prove_prefix
from attestlog._internal.server import bodies_seen, running
from attestlog._internal.server.explorer import PAGE
from attestlog._internal.server.openapi import document
from attestlog._internal.server.rates import Rates
from attestlog._internal.server.tokens import Scope, Token
from attestlog._internal.server.verifying import Verifier
from attestlog._internal.storage.publishing import publish_log
from attestlog.errors import RateLimitError, StorageError, UncertainCommitError

Client = httpx.Client


@pytest.fixture
def place(tmp_path: Path, own_home: Path) -> Iterator[Place]:
    attestlog.create(tmp_path / "audit", origin=ORIGIN).close()
    with served_log(tmp_path) as served:
        yield served


@pytest.fixture
def admin(place: Place) -> Iterator[Client]:
    """Over the socket, as the user who runs the service: no token."""
    transport = httpx.HTTPTransport(uds=str(place.folder / "log.sock"))
    with Client(timeout=60, base_url="http://localhost", transport=transport) as client:
        yield client


def client_of(place: Place, *scopes: Scope, name: str = "writer", **bounds: Any) -> Client:
    return Client(timeout=60, base_url=place.url, headers=place.bearer(name, *scopes, **bounds))


def size(place: Place) -> int:
    return sum(1 for _ in attestlog.query_log(place.folder / "audit"))


# --- appending ---


def test_a_draft_an_array_and_lines_are_appended(place: Place) -> None:
    with client_of(place, Scope.APPEND) as client:
        one = client.post("/v1/entries", json=ACTION)
        assert one.status_code == 201
        assert one.json()["entry"]["environment"]["attestlog_peer"] == "token:writer"
        many = client.post("/v1/entries", json=[ACTION, ACTION], headers={"Prefer": "return=minimal"})
        assert [item["sequence_number"] for item in many.json()] == [2, 3]
        assert "entry" not in many.json()[0]
        lines = b"\n".join([json.dumps(ACTION).encode()] * 2) + b"\n"
        told = client.post("/v1/entries", content=lines, headers={"Content-Type": "application/x-ndjson"})
        assert [item["sequence_number"] for item in told.json()] == [4, 5]
        packed = gzip.compress(json.dumps(ACTION).encode())
        assert client.post("/v1/entries", content=packed, headers={"Content-Encoding": "gzip"}).is_success
    assert size(place) == 7


@pytest.mark.parametrize(
    "body, status, code",
    [
        (b"", 400, "malformed.json"),
        (b"{", 400, "malformed.json"),
        (b'{"a":1,"a":2}', 400, "malformed.json"),
        (b"[]", 400, "malformed"),
        (b"7", 400, "malformed"),
        (b"[7]", 400, "malformed"),
        (b"{}", 400, "malformed.entry"),
        (json.dumps({**ACTION, "event_type": "X"}).encode(), 400, "malformed.entry"),
        (json.dumps({**ACTION, "k_state": 0}).encode(), 422, "verification.derived"),
        (json.dumps({**ACTION, "environment": {"attestlog_peer": "root"}}).encode(), 400, "malformed.entry"),
        (json.dumps([ACTION] * 1_025).encode(), 413, "log.too_large"),
    ],
)
def test_what_is_refused_writes_nothing(place: Place, body: bytes, status: int, code: str) -> None:
    with client_of(place, Scope.APPEND) as client:
        for headers in ({}, {"Idempotency-Key": "k"}):
            answer = client.post("/v1/entries", content=body, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (status, code)
            assert answer.headers["content-type"] == "application/problem+json"
        # The key was not used up: a body that is mended may have it.
        assert client.post("/v1/entries", json=ACTION, headers={"Idempotency-Key": "k"}).status_code == 201
    assert size(place) == 2


def test_a_repeat_under_the_same_key_has_the_first_receipt(place: Place) -> None:
    key = {"Idempotency-Key": "order-17"}
    with client_of(place, Scope.APPEND) as client, client_of(place, Scope.APPEND, name="other") as other:
        first = client.post("/v1/entries", json=ACTION, headers=key)
        again = client.post("/v1/entries", json=ACTION, headers=key)
        assert (first.status_code, again.status_code) == (201, 200)
        assert again.json() == {**first.json(), "replayed": True, "compared": True}
        different = client.post("/v1/entries", json={**ACTION, "action_payload": {"x": 1}}, headers=key)
        assert (different.status_code, different.json()["code"]) == (409, "log.idempotency")
        assert other.post("/v1/entries", json=ACTION, headers=key).status_code == 201
        for bad in ("", "x" * 129):
            refused = client.post("/v1/entries", json=ACTION, headers={"Idempotency-Key": bad})
            assert refused.status_code == 400
    assert size(place) == 3


def test_where_bodies_cannot_be_compared_the_answer_says_so(tmp_path: Path, own_home: Path) -> None:
    attestlog.create(tmp_path / "audit", origin=ORIGIN).close()
    key = {"Idempotency-Key": "order-17"}
    with served_log(tmp_path) as place, client_of(place, Scope.APPEND) as client:
        first = client.post("/v1/entries", json=ACTION, headers=key).json()
    for damage in (Path.unlink, lambda path: path.write_bytes(b"no database" * 500)):
        for file in (tmp_path / "service").glob(f"{bodies_seen.DATABASE}-*"):
            file.unlink()
        damage(tmp_path / "service" / bodies_seen.DATABASE)
        with (
            served_log(tmp_path) as place,
            Client(timeout=60, base_url=place.url, headers=dict(client.headers)) as later,
        ):
            for was_compared in (False, True):
                again = later.post("/v1/entries", json=ACTION, headers=key).json()
                assert again == {**first, "replayed": True, "compared": was_compared}
    assert size(place) == 2


def test_the_bodies_file_holds_no_body(place: Place) -> None:
    with client_of(place, Scope.APPEND) as client:
        secret = {**ACTION, "action_payload": {"note": "a-word-of-its-own"}}
        client.post("/v1/entries", json=secret, headers={"Idempotency-Key": "key-of-its-own"})
    for file in (place.folder / "service").iterdir():
        if file.is_file():
            assert b"a-word-of-its-own" not in file.read_bytes()
            assert b"key-of-its-own" not in file.read_bytes()


# --- reading ---


def test_what_is_read_is_what_is_stored(place: Place, admin: Client) -> None:
    admin.post("/v1/entries", json=[{**ACTION, "action_payload": {"n": number}} for number in range(5)])
    stored = (place.folder / "audit" / "entries" / "000000000000.jsonl").read_bytes().splitlines()
    answer = admin.get("/v1/entries/3")
    assert answer.content == stored[3]
    same = admin.get("/v1/entries/3", headers={"If-None-Match": answer.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    page = admin.get("/v1/entries", params={"action_type": "dep*", "limit": 2}).json()
    assert [entry["sequence_number"] for entry in page["entries"]] == [5, 4]
    rest = admin.get("/v1/entries", params={"action_type": "dep*", "cursor": page["next_cursor"]}).json()
    assert [entry["sequence_number"] for entry in rest["entries"]] == [3, 2, 1]
    assert rest["next_cursor"] is None
    one = admin.get("/v1/entries", params={"payload": "n=2", "newest_first": "false"}).json()
    assert [entry["sequence_number"] for entry in one["entries"]] == [3]
    trust = admin.get("/v1/keys").json()["vkeys"]
    attestlog.verify_proof(admin.get("/v1/entries/3/proof").content, trust=trust)
    assert admin.post("/v1/checkpoint").text.splitlines()[1] == "6"
    assert admin.get("/v1/consistency", params={"size": 2}).content == prove_prefix(place.folder / "audit", 2)
    assert admin.get("/v1/stats").json()["entries"] == 6
    assert admin.get("/v1/replicas").json() == {"replicas": []}
    assert admin.get("/v1/rules").json()["origin"] == ORIGIN


@pytest.mark.parametrize(
    "path, status",
    [
        ("entries/-1", 404), ("entries/x", 404), ("entries/99999999", 404), ("entries/9e9/proof", 404),
        ("entries/77/proof", 404), ("entries/0/proof?payload=maybe", 400), ("consistency", 404),
        ("consistency?size=0", 404), ("consistency?size=9", 404), ("entries?since=yesterday", 400),
        ("entries?limit=x", 400), ("entries?limit=0", 400), ("entries?nothing=1", 400),
        ("stats?since=x", 400), ("entries?payload=x", 400), ("tail?after=x", 404),
        ("requests/none", 404), ("rules?log=other", 404),
        ("requests/8a9e3a0e-9a70-4a3e-9b0b-0b6f0f0f0f0f/approvals", 404), ("nothing", 404),
    ],
)  # fmt: skip
def test_what_is_not_there_or_cannot_be_asked(admin: Client, path: str, status: int) -> None:
    answer = admin.get(f"/v1/{path}")
    assert answer.status_code == status
    assert answer.json()["status"] == status


def read_events(client: Client, after: int | None, count: int, **headers: str) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    params = {} if after is None else {"after": after}
    with client.stream("GET", "/v1/tail", params=params, headers=headers, timeout=60) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        number = -1
        for line in stream.iter_lines():
            if line.startswith("id: "):
                number = int(line[4:])
            if line.startswith("data: "):
                found.append((number, line[6:].encode()))
                if len(found) == count:
                    break
    return found


def test_a_tail_goes_on_where_it_ended(place: Place, admin: Client) -> None:
    admin.post("/v1/entries", json=[ACTION] * 9)
    stored = (place.folder / "audit" / "entries" / "000000000000.jsonl").read_bytes().splitlines()
    assert read_events(admin, 0, 4) == list(enumerate(stored))[1:5]
    resumed = read_events(admin, None, 5, **{"Last-Event-ID": "4"})
    assert resumed == list(enumerate(stored))[5:10]


# --- who may ---


def test_every_route_asks_for_a_scope_but_the_public_ones(place: Place) -> None:
    assert place.service is not None
    routes = {
        (route.path, method)
        for route in place.service.app.routes
        if isinstance(route, HTTPRoute)
        for method in route.methods - {"OPTIONS"}
    }
    described = {
        (path, method.upper()): operation
        for path, operations in document()["paths"].items()
        for method, operation in operations.items()
    }
    # The page at the root, and what it asks for, are no protocol: tests/explorer/test_service.py has them.
    plain = {
        (path.replace(":str", "").replace(":path", ""), method)
        for path, method in routes
        if path not in PAGE and not path.startswith("/api/")
    }
    assert plain == set(described)
    with Client(timeout=60, base_url=place.url) as client:
        for (path, method), operation in described.items():
            url = path.format(number=0, request_id="x", path="0/000.p/1")
            is_public = operation.get("security") == []
            assert (client.request(method, url).status_code != 401) == is_public, (path, method)
    assert {path for (path, _), operation in described.items() if operation.get("security") == []} == {
        "/healthz", "/readyz", "/openapi.json",
    }  # fmt: skip


@pytest.mark.parametrize("scope", [Scope.READ, Scope.APPEND, Scope.APPROVE, Scope.METRICS, Scope.REPLICATE])
def test_a_scope_is_good_for_what_the_document_says(place: Place, scope: Scope) -> None:
    with client_of(place, scope) as client:
        for path, operations in document()["paths"].items():
            for method, operation in operations.items():
                if operation.get("security") == [] or path == "/v1/tail":
                    continue
                url = path.format(number=0, request_id="x", path="0/000.p/1")
                may = scope in operation["description"]
                assert (client.request(method, url).status_code != 403) == may, (path, method)


def test_an_agent_s_token_appends_as_itself_only(place: Place) -> None:
    bounds: dict[str, Any] = {"actor_id": "agent-7", "action_types": ["deploy*", "tool.*"]}
    with client_of(place, Scope.APPEND, origin=ORIGIN, **bounds) as client:
        assert client.post("/v1/entries", json=ACTION).status_code == 201
        for other in (
            {"actor_id": "agent-8"}, {"action_type": "wipe"}, {"actor_id": None}, {"action_type": 7},
        ):  # fmt: skip
            for body in ({**ACTION, **other}, [ACTION, {**ACTION, **other}]):
                assert client.post("/v1/entries", json=body).status_code == 403
        assert client.get("/v1/rules", params={"log": "example.com/other"}).status_code == 403
    with client_of(place, Scope.APPEND, name="stranger", origin="example.com/other") as stranger:
        assert stranger.post("/v1/entries", json=ACTION).status_code == 404
    hold = {"event_type": "CHANGE", "action_type": "attestlog.place_legal_hold", "actor_id": "a"}
    with client_of(place, Scope.APPEND, name="free") as free:
        assert free.post("/v1/entries", json=hold).status_code == 403
    assert size(place) == 2


def test_a_token_expires_and_a_revoked_one_is_refused(place: Place) -> None:
    with client_of(place, Scope.READ, expires="2001-01-01T00:00:00.000000Z") as client:
        assert client.get("/v1/stats").status_code == 401
    with client_of(place, Scope.READ, name="reader", expires="2999-01-01T00:00:00.000000Z") as client:
        assert client.get("/v1/stats").status_code == 200
        place.tokens.revoke("reader")
        assert client.get("/v1/stats").status_code == 401


def test_over_the_socket_the_kernel_says_who_it_is(place: Place, admin: Client) -> None:
    told = admin.post("/v1/entries", json=ACTION).json()["entry"]["environment"]["attestlog_peer"]
    assert told == f"uid:{os.getuid()} pid:{os.getpid()}"
    # A rule for this user takes the place of what the service's own user may do.
    login = pwd.getpwuid(os.getuid()).pw_name
    place.tokens.add(Token(name="me", scopes=[Scope.READ], user=login))
    assert admin.post("/v1/entries", json=ACTION).status_code == 403
    assert admin.get("/v1/stats").status_code == 200


def test_a_token_that_sends_too_much_waits(place: Place) -> None:
    with client_of(place, Scope.APPEND, entries_per_minute=2) as client:
        assert client.post("/v1/entries", json=[ACTION, ACTION]).status_code == 201
        refused = client.post("/v1/entries", json=ACTION)
        assert (refused.status_code, refused.json()["code"]) == (429, "request.rate")
        assert int(refused.headers["retry-after"]) > 0
    with client_of(place, Scope.METRICS, name="prometheus") as client:
        assert "attestlog_rate_limited_total 1" in client.get("/metrics").text


def test_a_bucket_fills_evenly() -> None:
    now = [100.0]
    rates = Rates(lambda: now[0])
    token = Token(
        name="a", scopes=[Scope.APPEND], sha256="00" * 32, entries_per_minute=60, bytes_per_minute=600
    )
    rates.take(token, 60, 300)
    with pytest.raises(RateLimitError) as caught:
        rates.take(token, 6, 1)
    assert caught.value.retry_after_s == 6
    now[0] += 6
    rates.take(token, 6, 360)
    with pytest.raises(RateLimitError):
        rates.take(token, 1, 1)


def test_with_little_room_left_acts_are_refused_and_outcomes_are_not(place: Place, admin: Client) -> None:
    assert place.service is not None
    place.service.logs[0].free_bytes_min = 1 << 62
    assert admin.post("/v1/entries", json=ACTION).status_code == 507
    assert admin.get("/readyz").status_code == 503
    outcome = {**ACTION, "actor_context": {"guard": "outcome"}}
    violation = {**ACTION, "event_type": "VIOLATION", "event_category": "ERROR"}
    change = {**ACTION, "event_type": "CHANGE"}
    for spared in (outcome, violation, change):
        assert admin.post("/v1/entries", json=spared).status_code == 201
    assert admin.post("/v1/entries", json=[violation, ACTION]).status_code == 507


# --- operation ---


def test_several_logs_in_one_service(tmp_path: Path, own_home: Path) -> None:
    for name in ("one", "two"):
        attestlog.create(tmp_path / name, origin=f"example.com/{name}").close()
    with served_log(tmp_path, tmp_path / "one", tmp_path / "two") as place:
        with client_of(place, Scope.ADMIN) as client:
            assert client.get("/v1/stats").status_code == 400
            client.post("/v1/entries", json=ACTION, params={"log": "example.com/two"})
            assert client.get("/v1/stats", params={"log": "example.com/two"}).json()["entries"] == 2
            assert client.get("/v1/stats", params={"log": "example.com/one"}).json()["entries"] == 1
        with client_of(place, Scope.METRICS, Scope.READ, name="one", origin="example.com/one") as client:
            assert client.get("/v1/stats").json()["entries"] == 1
            assert "example.com/two" not in client.get("/metrics").text


def test_metrics_say_what_became_of_appends(place: Place, admin: Client) -> None:
    admin.post("/v1/entries", json=[ACTION] * 3)
    admin.post("/v1/entries", json={})
    text = admin.get("/metrics").text
    label = f'origin="{ORIGIN}"'
    for sample in (
        f"attestlog_entries{{{label}}} 4", f'attestlog_appended_entries_total{{{label},outcome="written"}} 3',
        f'attestlog_appended_entries_total{{{label},outcome="malformed.entry"}} 1',
        f'attestlog_append_seconds_bucket{{{label},le="+Inf"}} 2',
        f"attestlog_append_seconds_count{{{label}}} 2",
    ):  # fmt: skip
        assert sample in text.splitlines()


def test_the_document_is_valid_openapi(tmp_path: Path) -> None:
    validator = Path(".venv-services/bin/openapi-spec-validator")
    if not validator.exists():
        missing("openapi-spec-validator is not installed: make services")
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(document()))
    done = subprocess.run([validator, file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_metrics_tell_how_long_entries_wait_for_a_checkpoint(place: Place, admin: Client) -> None:
    label = f'origin="{ORIGIN}"'
    assert f"attestlog_checkpoint_age_seconds{{{label}}} 0" in admin.get("/metrics").text.splitlines()
    admin.post("/v1/entries", json=ACTION)
    assert f"attestlog_checkpoint_age_seconds{{{label}}} 0\n" not in admin.get("/metrics").text
    admin.post("/v1/checkpoint")
    assert f"attestlog_checkpoint_age_seconds{{{label}}} 0" in admin.get("/metrics").text.splitlines()


def test_a_log_is_verified_again_and_again_and_whole_where_it_was_not_right(
    place: Place, admin: Client
) -> None:
    assert place.service is not None
    (served,) = place.service.logs
    verifier = Verifier(place.service.logs, place.folder / "service", 3600)
    admin.post("/v1/entries", json=[ACTION] * 3)
    first = verifier.verify(served)
    assert (first.verdict, first.size, first.start) == (Verdict.VERIFIED, 4, 0)
    admin.post("/v1/entries", json=[ACTION] * 2)
    second = verifier.verify(served)
    assert (second.verdict, second.size, second.start) == (Verdict.VERIFIED, 6, 4)
    label = f'origin="{ORIGIN}"'
    page = admin.get("/metrics").text.splitlines()
    assert f"attestlog_verified{{{label}}} 1" in page
    assert f"attestlog_verified_entries{{{label}}} 6" in page
    # A change of what was verified before is found once all is read again, and then until it is right.
    file = place.folder / "audit" / "entries" / "000000000000.jsonl"
    stored = file.read_bytes()
    verifier._wholly.clear()
    file.write_bytes(stored.replace(b'"actor_id":"agent-7"', b'"actor_id":"agent-8"', 1))
    assert [verifier.verify(served).verdict for _ in range(2)] == [Verdict.TAMPERED] * 2
    assert f"attestlog_verified{{{label}}} 0" in admin.get("/metrics").text.splitlines()
    file.write_bytes(stored)
    assert verifier.verify(served).verdict is Verdict.VERIFIED


def test_a_verification_that_cannot_be_made_is_told_as_unknown(place: Place) -> None:
    assert place.service is not None
    (served,) = place.service.logs
    (place.folder / "service" / "verified").write_text("no folder")
    verifier = Verifier(place.service.logs, place.folder / "service", 3600)
    assert verifier.verify(served).verdict is not Verdict.TAMPERED


def test_the_tree_is_there_for_everybody_where_the_operator_says_so(tmp_path: Path, own_home: Path) -> None:
    made = attestlog.create(tmp_path / "audit", origin=ORIGIN)
    made.append_many([ACTION] * 299)
    vkeys = made.vkeys
    made.close()
    with (
        served_log(tmp_path, tiles_are_public=True) as place,
        Client(timeout=60, base_url=place.url) as anybody,
    ):
        publish_log(tmp_path / "audit", tmp_path / "public")
        published = [path for path in (tmp_path / "public").rglob("*") if path.is_file()]
        assert len(published) > 5
        for path in published:
            answer = anybody.get(f"/{path.relative_to(tmp_path / 'public')}")
            assert answer.content == path.read_bytes()
        for wrong in ("tile/0/002", "tile/0/001.p/45", "tile/entries/001.p/45", "tile/x", "tile/2/000.p/1"):
            assert anybody.get(f"/{wrong}").status_code == 404
        assert anybody.get("/v1/checkpoint").status_code == 401
        report = attestlog.judge_published(place.url, trust=vkeys, remember=False)
        assert (report.ok, report.size) == (True, 300)
    with served_log(tmp_path) as place, Client(timeout=60, base_url=place.url) as anybody:
        assert {anybody.get(path).status_code for path in ("/checkpoint", "/tile/0/000")} == {401}


def test_a_log_whose_commit_failed_halfway_is_opened_again(place: Place, admin: Client) -> None:
    """What the disk keeps of the failed one is found by opening, and nothing is written twice."""
    assert place.service is not None
    (served,) = place.service.logs
    failed = served.log
    committed = failed._store.commit
    key = {"Idempotency-Key": "order-17"}

    def fail(*arguments: Any) -> None:
        committed(*arguments)
        raise UncertainCommitError("flushing failed", path="audit")

    failed._store.commit = fail  # type: ignore[method-assign, assignment]
    answer = admin.post("/v1/entries", json=ACTION, headers=key)
    assert (answer.status_code, answer.json()["code"]) == (500, "storage.uncertain")
    again = admin.post("/v1/entries", json=ACTION, headers=key)
    assert (again.status_code, again.json()["sequence_number"], again.json()["replayed"]) == (200, 1, True)
    assert served.log is not failed
    assert admin.post("/v1/entries", json=ACTION).json()["sequence_number"] == 2
    assert admin.get("/v1/entries/1").is_success
    assert "attestlog_write_failures_total" in admin.get("/metrics").text
    assert size(place) == 3


def test_a_log_that_cannot_be_opened_again_refuses_and_is_tried_with_the_next(
    place: Place, admin: Client
) -> None:
    assert place.service is not None
    (served,) = place.service.logs
    served.log.close()
    opening, tries = served._open, []

    def away() -> Any:
        tries.append(1)
        if len(tries) < 2:
            raise StorageError("the disk is away", path="audit")
        return opening()

    served._open = away
    assert admin.post("/v1/entries", json=ACTION).status_code == 503
    assert admin.post("/v1/entries", json=ACTION).status_code == 503
    assert admin.post("/v1/entries", json=ACTION).status_code == 201
    assert (len(tries), size(place)) == (2, 2)


def test_who_may_not_connect_to_the_socket_does_not(tmp_path: Path) -> None:
    with running._bind_unix(tmp_path / "open.sock"), running._bind_unix(tmp_path / "own.sock", 0o600):
        modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("open.sock", "own.sock")]
    assert modes == [0o666, 0o600]


def test_who_read_is_recorded_once_an_hour_over_restarts_too(tmp_path: Path, own_home: Path) -> None:
    attestlog.create(tmp_path / "audit", origin=ORIGIN).close()
    readers: dict[str, dict[str, str]] = {}
    next_hour_us = (time.time_ns() // 3_600_000_000_000 + 1) * 3_600_000_000
    for _ in range(2):
        with served_log(tmp_path, records_reads=True) as place:
            assert place.service is not None
            (served,) = place.service.logs
            served.log._writer.clock = lambda: next_hour_us  # so that no hour ends meanwhile
            readers = readers or {name: place.bearer(name, Scope.READ) for name in ("ana", "bao")}
            for name in ("ana", "bao", "ana"):
                with Client(base_url=place.url, headers=readers[name]) as client:
                    for path in ("/v1/entries/0", "/v1/entries", "/v1/stats", "/v1/entries/0/proof"):
                        assert client.get(path).is_success
                    assert client.get("/v1/head").is_success
    found = list(attestlog.query_log(tmp_path / "audit", newest_first=False))[1:]
    assert [entry.action_type for entry in found] == ["attestlog.was_read"] * 2
    assert [entry.action_payload for entry in found] == [
        {"reader": f"token:{name}", "hour": format_timestamp(next_hour_us)[:13]} for name in ("ana", "bao")
    ]
    assert attestlog.verify(tmp_path / "audit", remember=False).ok


def test_what_cannot_be_recorded_is_not_read(tmp_path: Path, own_home: Path) -> None:
    attestlog.create(tmp_path / "audit", origin=ORIGIN).close()
    with served_log(tmp_path, records_reads=True) as place, client_of(place, Scope.READ) as client:
        assert place.service is not None
        place.service.logs[0].log.close()
        assert client.get("/v1/entries/0").status_code == 503


VISITOR = """
import os, socket, sys
path, user, request = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode()
os.setgroups([]), os.setgid(user), os.setuid(user)
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(path)
    connection.sendall(request)
    answer = b""
    while part := connection.recv(65536):
        answer += part
print(answer.split()[1].decode())
"""
"""It becomes another user once it has loaded what it needs, perhaps from where that user cannot go."""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_second_user_who_may_and_a_third_who_may_not(own_home: Path) -> None:
    nobody, body = pwd.getpwnam("nobody").pw_uid, json.dumps(ACTION)
    head = [
        "POST /v1/entries HTTP/1.1",
        "Host: x",
        "Connection: close",
        f"Content-Length: {len(body)}",
        "",
        body,
    ]
    request = "\r\n".join(head)
    with tempfile.TemporaryDirectory() as name:  # pytest's own directory lets nobody else in
        folder = Path(name)
        attestlog.create(folder / "audit", origin=ORIGIN).close()
        with served_log(folder) as place:
            place.tokens.add(Token(name="visitor", scopes=[Scope.APPEND], origin=ORIGIN, user="nobody"))
            folder.chmod(0o755)
            said = [
                subprocess.run(
                    [sys.executable, "-c", VISITOR, str(folder / "log.sock"), str(user), request],
                    capture_output=True, text=True, check=True, timeout=60,
                ).stdout.strip()
                for user in (nobody, 54_321)
            ]  # fmt: skip
            assert said == ["201", "401"]
            (entry,) = list(attestlog.query_log(folder / "audit", newest_first=False))[1:]
            assert entry.environment["attestlog_peer"].startswith(f"uid:{nobody} pid:")
