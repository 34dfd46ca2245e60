"""An RFC 3161 authority on this machine: `openssl ts` behind a web server, with a root of its own."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.support.serving import Site, reply, served
from tests.support.tools import tool

CONFIG = """
[tsa]
default_tsa = stamping
[stamping]
serial = serial
signer_cert = tsa.pem
signer_key = tsa.key
default_policy = 1.2.3.4.1
digests = sha256
signer_digest = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
[extensions]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[issuing]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
"""
KEYS = {
    "P-256": "ec -pkeyopt ec_paramgen_curve:P-256",
    "P-384": "ec -pkeyopt ec_paramgen_curve:P-384",
    "RSA": "rsa:2048",
}


class Authority:
    """One root, one stamping certificate under it, and how many stamps it made.

    `sends`: the certificates that come with a stamp beside that one, such as ("issuing", "root"): where
    "issuing" is among them, it stands between the two. `key`: of the stamping certificate, see KEYS.
    """

    def __init__(
        self, folder: Path, name: str = "root", *, sends: Sequence[str] = (), key: str = "P-256"
    ) -> None:
        self.folder, self.root = folder, folder / "root.pem"
        folder.mkdir(parents=True)
        (folder / "tsa.cnf").write_text(CONFIG)
        (folder / "serial").write_text("01")
        root_key = f"req -newkey {KEYS['P-256']} -nodes -sha256"
        self._run(f"{root_key} -x509 -days 30 -subj /CN={name} -keyout root.key -out root.pem")
        issuer = "issuing" if "issuing" in sends else "root"
        if issuer == "issuing":
            self._issue("issuing", "root", "RSA", "issuing")
        self._issue("tsa", issuer, key, "extensions")
        chain = b"".join((folder / f"{sent}.pem").read_bytes() for sent in sends)
        (folder / "chain.pem").write_bytes(chain)
        self._chain = " -chain chain.pem" if chain else ""

    def stamp(self, query: bytes) -> bytes:
        """The response to a query."""
        (self.folder / "query").write_bytes(query)
        self._run(f"ts -reply -config tsa.cnf -queryfile query -out response{self._chain}")
        return (self.folder / "response").read_bytes()

    def _issue(self, subject: str, issuer: str, key: str, extensions: str) -> None:
        files = f"-keyout {subject}.key -out {subject}.csr"
        self._run(f"req -newkey {KEYS[key]} -nodes -sha256 -subj /CN={subject} {files}")
        signed = f"x509 -req -in {subject}.csr -CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial -sha256"
        extended = f"-extfile tsa.cnf -extensions {extensions}"
        self._run(f"{signed} -days 30 {extended} -out {subject}.pem")

    @contextmanager
    def serving(self) -> Iterator[Site]:
        """Answers queries at any path of the site's URL."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            query = handler.rfile.read(int(handler.headers["content-length"]))
            reply(handler, 200, self.stamp(query), content_type="application/timestamp-reply")

        with served(self.folder) as site:
            site.answers["*"] = answer
            yield site

    def _run(self, arguments: str) -> None:
        subprocess.run(
            [tool("openssl"), *arguments.split()], cwd=self.folder, check=True, capture_output=True
        )
