"""A certificate authority for tests."""

import datetime as dt
import ipaddress
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def authority(directory: Path, address: str = "127.0.0.1") -> tuple[Path, Path, Path]:
    """A CA, and a certificate that it issued for an address: the files of (CA, certificate, key)."""

    def issue(name: str, key: Any, issuer: Any, signing: Any, *extensions: Any) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        builder = x509.CertificateBuilder(
            issuer or subject, subject, key.public_key(), x509.random_serial_number(),
            now - dt.timedelta(minutes=1), now + dt.timedelta(days=1),
        )  # fmt: skip
        for extension in extensions:
            # RFC 5280, 4.2.1.9: in a CA's certificate this one is critical, as Python 3.13 asks.
            critical = isinstance(extension, x509.BasicConstraints)
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(signing, hashes.SHA256())

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    ca = issue("test CA", ca_key, None, ca_key, x509.BasicConstraints(True, 0), usage,
               x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()))  # fmt: skip
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    leaf = issue("server", key, ca.subject, ca_key, names,
                 x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()))  # fmt: skip
    pem = serialization.Encoding.PEM
    files = {
        "ca.pem": ca.public_bytes(pem),
        "server.pem": leaf.public_bytes(pem),
        "server.key": key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    }
    for name, data in files.items():
        (directory / name).write_bytes(data)
    return directory / "ca.pem", directory / "server.pem", directory / "server.key"
