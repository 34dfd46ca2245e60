"""Which signer a URI names. Schemes: `file:` so far; an application registers its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attestlog.errors import MalformedConfigError
from attestlog.signers.contract import Passphrase, Signer
from attestlog.signers.file import open_file_signer

Opener = Callable[[str, Passphrase | None], Signer]
_schemes: Final[dict[str, Opener]] = {"file": open_file_signer}


def register_scheme(scheme: str, opener: Opener) -> None:
    """Make `open_signer("<scheme>:…")` call `opener(uri, passphrase)`."""
    _schemes[scheme] = opener


def open_signer(uri: str, *, passphrase: Passphrase | None = None) -> Signer:
    """The signer a URI names. Raises MalformedConfigError for an unknown scheme, SignerError otherwise."""
    scheme, colon, _ = uri.partition(":")
    if scheme not in _schemes or not colon:
        known = ", ".join(sorted(_schemes))
        # What stands behind the scheme may be a secret: it is for those who know the scheme.
        raise MalformedConfigError(
            f"signer '{scheme}{colon and ':…'}' has no known scheme, want one of {known}", member="signer"
        )
    return _schemes[scheme](uri, passphrase)
