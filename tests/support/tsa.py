"""An RFC 3161 authority on this machine: `openssl ts` behind a web server, with a root of its own."""

import subprocess
from collections.abc import Iterator
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
"""


class Authority:
    """One root, one stamping certificate under it, and how many stamps it made."""

    def __init__(self, folder: Path, name: str = "root") -> None:
        self.folder, self.root = folder, folder / "root.pem"
        folder.mkdir(parents=True)
        (folder / "tsa.cnf").write_text(CONFIG)
        (folder / "serial").write_text("01")
        new_key = "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256"
        self._run(f"{new_key} -x509 -days 30 -subj /CN={name} -keyout root.key -out root.pem")
        self._run(f"{new_key} -subj /CN=stamping -keyout tsa.key -out tsa.csr")
        self._run(
            "x509 -req -in tsa.csr -CA root.pem -CAkey root.key -CAcreateserial -days 30 -sha256 "
            "-extfile tsa.cnf -extensions extensions -out tsa.pem"
        )

    def stamp(self, query: bytes) -> bytes:
        """The response to a query."""
        (self.folder / "query").write_bytes(query)
        self._run("ts -reply -config tsa.cnf -queryfile query -out response")
        return (self.folder / "response").read_bytes()

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
