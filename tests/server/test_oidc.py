"""JWTs of an issuer: a local one, over TLS, whose keys come and go."""

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from tests.support.services_of_logs import ACTION, ORIGIN, served_log
from tests.support.tls import authority

import attestlog
from attestlog._internal.server import oidc
from attestlog._internal.server.oidc import Grant, Issuers, IssuerSettings
from attestlog._internal.server.tokens import Scope
from attestlog.errors import MalformedConfigError, UnauthenticatedError

KEYS: dict[str, Any] = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    "RS256": rsa.generate_private_key(65_537, 2_048),
}
STRANGER = ec.generate_private_key(ec.SECP256R1())
AUDIENCE = "attestlog"


class Issuing:
    """An issuer on loopback."""

    def __init__(self, folder: Path) -> None:
        self.ca, certificate, key = authority(folder)
        self.is_away, self.asked = False, 0
        self.keys = dict(KEYS)
        self.keys_on = ""
        issuing = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuing.asked += 1
                answers = {
                    "/.well-known/openid-configuration": {
                        "issuer": issuing.url, "jwks_uri": f"{issuing.keys_on or issuing.url}/keys",
                    },
                    "/keys": {"keys": [public(name, item) for name, item in issuing.keys.items()]},
                }  # fmt: skip
                body = json.dumps(answers.get(self.path, {})).encode()
                self.send_response(503 if issuing.is_away else 200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_port}"

    def settings(self, **changes: Any) -> IssuerSettings:
        grants = [
            Grant(claims={"sub": "agent-*"}, scopes=[Scope.APPEND], origin=ORIGIN, actor_claim="sub"),
            Grant(claims={"groups": "auditors"}, scopes=[Scope.READ]),
        ]
        members = {
            "name": "ci",
            "url": self.url,
            "audience": AUDIENCE,
            "ca_file": str(self.ca),
            "grants": grants,
        }
        return IssuerSettings(**{**members, **changes})

    def jwt(self, algorithm: str = "ES256", key: Any = None, key_id: str = "", **claims: Any) -> str:
        now = int(time.time())
        given = {"iss": self.url, "aud": AUDIENCE, "sub": "agent-7", "iat": now, "exp": now + 600, **claims}
        present = {name: value for name, value in given.items() if value is not None}
        return jwt.encode(
            present, key or KEYS[algorithm], algorithm=algorithm, headers={"kid": key_id or algorithm}
        )


def public(name: str, key: Any) -> dict[str, Any]:
    algorithm = jwt.algorithms.get_default_algorithms()[name]
    members: dict[str, Any] = json.loads(algorithm.to_jwk(key.public_key()))
    return {**members, "kid": name, "alg": name, "use": "sig"}


@contextmanager
def issuing_in(folder: Path) -> Iterator[Issuing]:
    made = Issuing(folder)
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        thread.join(10)
        made.server.server_close()


@pytest.fixture
def issuing(tmp_path: Path) -> Iterator[Issuing]:
    with issuing_in(tmp_path) as made:
        yield made


@pytest.mark.parametrize("algorithm", list(KEYS))
def test_the_first_grant_that_matches_says_what_a_token_may_do(issuing: Issuing, algorithm: str) -> None:
    issuers = Issuers([issuing.settings()])
    agent = issuers.authenticate(issuing.jwt(algorithm))
    assert (agent.name, agent.scopes, agent.actor_id, agent.origin) == (
        "oidc:ci:agent-7", [Scope.APPEND], "agent-7", ORIGIN,
    )  # fmt: skip
    auditor = issuers.authenticate(issuing.jwt(algorithm, sub="ana b", groups=["x", "auditors"]))
    assert (auditor.name, auditor.scopes, auditor.actor_id) == ("oidc:ci:ana%20b", [Scope.READ], None)
    with pytest.raises(UnauthenticatedError, match="may do nothing"):
        issuers.authenticate(issuing.jwt(algorithm, sub="somebody"))


def test_what_is_no_token_of_the_issuer_is_refused(issuing: Issuing) -> None:
    issuers = Issuers([issuing.settings()])
    good = issuing.jwt()
    head, _, mac = good.split(".")
    other = issuing.jwt(sub="agent-8").split(".")[1]
    shared = jwt.encode({"sub": "agent-7"}, "x" * 32, algorithm="HS256", headers={"kid": "ES256"})
    bad = {
        "expired": issuing.jwt(exp=int(time.time()) - 3600),
        "not yet": issuing.jwt(nbf=int(time.time()) + 3600),
        "no end": issuing.jwt(exp=None),
        "no subject": issuing.jwt(sub=None),
        "for another": issuing.jwt(aud="other"),
        "of another": issuing.jwt(iss="https://other.example.com"),
        "no issuer": issuing.jwt(iss=None),
        "other key": issuing.jwt(key=STRANGER),
        "no such key": issuing.jwt(key_id="none"),
        "other algorithm": issuing.jwt("EdDSA", key_id="ES256"),
        "shared secret": shared,
        "unsigned": jwt.encode({"iss": issuing.url, "sub": "agent-7"}, "", algorithm="none"),
        "other body": f"{head}.{other}.{mac}",
        "cut": good[:-4],
        "no JSON": "a.b.c",
        "long": "a" * oidc.JWT_SIZE_MAX_BYTES + ".b.c",
    }
    for what, text in bad.items():
        with pytest.raises(UnauthenticatedError):
            pytest.fail(f"{what}: {issuers.authenticate(text)}")
    assert issuers.authenticate(good).actor_id == "agent-7"


def test_keys_are_kept_for_ten_minutes_while_the_issuer_is_away(issuing: Issuing) -> None:
    now = [1_000.0]
    issuers, text = Issuers([issuing.settings()], lambda: now[0]), issuing.jwt()
    issuers.authenticate(text)
    issuing.is_away = True
    now[0] += oidc.KEYS_KEPT_S - 1
    issuers.authenticate(text)
    now[0] += 2
    with pytest.raises(UnauthenticatedError, match=r"cannot be had|too old"):
        issuers.authenticate(text)
    issuing.is_away = False
    now[0] += oidc.KEYS_FRESH_S
    issuers.authenticate(text)


def test_a_key_that_the_issuer_took_back_or_brought_in(issuing: Issuing) -> None:
    now = [1_000.0]
    issuers = Issuers([issuing.settings()], lambda: now[0])
    del issuing.keys["EdDSA"]
    issuers.authenticate(issuing.jwt("ES256"))
    asked = issuing.asked
    for _ in range(20):
        with pytest.raises(UnauthenticatedError):
            issuers.authenticate(issuing.jwt("EdDSA"))
    assert issuing.asked == asked  # not for every key id that somebody makes up
    issuing.keys = {"EdDSA": KEYS["EdDSA"]}
    now[0] += oidc.UNKNOWN_KEY_S
    issuers.authenticate(issuing.jwt("EdDSA"))
    with pytest.raises(UnauthenticatedError):
        issuers.authenticate(issuing.jwt("ES256"))


def test_keys_come_from_the_issuer_only(issuing: Issuing, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with issuing_in(tmp_path / "other") as other:
        issuing.keys_on = other.url
        with pytest.raises(UnauthenticatedError, match="another host"):
            Issuers([issuing.settings()]).authenticate(issuing.jwt())
        assert other.asked == 0
        # Another authority than the one that is named does not vouch for it.
        issuing.keys_on = ""
        with pytest.raises(UnauthenticatedError, match="cannot be had"):
            Issuers([issuing.settings(ca_file=str(other.ca))]).authenticate(issuing.jwt())
    named = issuing.settings(keys_url=f"{issuing.url}/keys")
    assert Issuers([named]).authenticate(issuing.jwt()).actor_id == "agent-7"


PLAIN = """
[[issuers]]
name = 'x'
url = 'http://issuer.example.com'
audience = 'a'
[[issuers.grants]]
claims = {sub='*'}
scopes = ['read']
"""


@pytest.mark.parametrize(
    "text",
    [
        "issuers = 7", "[[issuers]]\nname = 'x'", "[[issuer]]",
        PLAIN,
        "[[issuers]]\nname='x'\nurl='https://issuer.example.com'\naudience='a'\ngrants=[]",
        PLAIN.replace("http:", "https:").replace("sub='*'", ""),
    ],
)  # fmt: skip
def test_what_is_no_list_of_issuers(tmp_path: Path, text: str) -> None:
    (tmp_path / oidc.ISSUERS_FILE).write_text(text)
    with pytest.raises(MalformedConfigError):
        Issuers.read(tmp_path)


def test_two_issuers_of_one_name(issuing: Issuing) -> None:
    with pytest.raises(MalformedConfigError):
        Issuers([issuing.settings(), issuing.settings(url="https://issuer.example.com")])


def test_who_shows_a_jwt_appends_as_itself_and_is_named_in_the_entry(
    issuing: Issuing, tmp_path: Path, own_home: Path
) -> None:
    attestlog.create(tmp_path / "audit", origin=ORIGIN).close()
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / oidc.ISSUERS_FILE).write_text(
        f'[[issuers]]\nname = "ci"\nurl = "{issuing.url}"\naudience = "{AUDIENCE}"\n'
        f'ca_file = "{issuing.ca}"\n'
        f'[[issuers.grants]]\nclaims = {{sub = "agent-*"}}\nscopes = ["append"]\norigin = "{ORIGIN}"\n'
        'actor_claim = "sub"\nentries_per_minute = 3\n'
    )
    with served_log(tmp_path) as place, attestlog.connect(place.url, token=issuing.jwt()) as log:
        receipt = log.append(ACTION, idempotency_key="k")
        assert receipt.entry.environment["attestlog_peer"] == "oidc:ci:agent-7"
        again = httpx.post(
            f"{place.url}/v1/entries", json=ACTION, headers={"Authorization": f"Bearer {issuing.jwt()}"}
        )
        assert again.status_code == 201
        for headers, change, status in (
            (issuing.jwt(), {"actor_id": "agent-8"}, 403),
            (issuing.jwt(exp=1), {}, 401),
            (issuing.jwt(sub="nobody"), {}, 401),
        ):
            answer = httpx.post(
                f"{place.url}/v1/entries", json={**ACTION, **change},
                headers={"Authorization": f"Bearer {headers}"},
            )  # fmt: skip
            assert answer.status_code == status
        assert (
            httpx.get(
                f"{place.url}/v1/stats", headers={"Authorization": f"Bearer {issuing.jwt()}"}
            ).status_code
            == 403
        )
