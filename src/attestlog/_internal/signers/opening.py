"""Which signer a URI names. Each scheme's module is imported when it is first asked for: no driver before.

An application registers a scheme of its own with `register_scheme`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Final, cast

from attestlog._internal.signers.contract import Passphrase, Signer
from attestlog.errors import MalformedConfigError, MissingExtraError

Opener = Callable[[str, Passphrase | None], Signer]

_BUILT_IN: Final = {
    "file": ("attestlog._internal.signers.file", "open_file_signer", None),
    "pkcs11": ("attestlog._internal.signers.pkcs11", "open_pkcs11_signer", "hsm"),
    "awskms": ("attestlog._internal.signers.aws", "open_aws_signer", "aws"),
    "gcpkms": ("attestlog._internal.signers.gcp", "open_gcp_signer", "gcp"),
    "azurekms": ("attestlog._internal.signers.azure", "open_azure_signer", "azure"),
    "openbao": ("attestlog._internal.signers.openbao", "open_openbao_signer", None),
}
"""Scheme: the module, the opener in it, and the extra that installs what the module imports."""

_registered: Final[dict[str, Opener]] = {}


def register_scheme(scheme: str, opener: Opener) -> None:
    """Make `open_signer("<scheme>:…")` call `opener(uri, passphrase)`, also where the scheme is known."""
    _registered[scheme] = opener


def open_signer(uri: str, *, passphrase: Passphrase | None = None) -> Signer:
    """The signer a URI names.

    Raises MalformedConfigError for an unknown scheme or a URI that is none, MissingExtraError where the
    driver is not installed, SignerError otherwise.
    """
    scheme, colon, _ = uri.partition(":")
    if not colon or (scheme not in _registered and scheme not in _BUILT_IN):
        known = ", ".join(sorted({*_registered, *_BUILT_IN}))
        # What stands behind the scheme may be a secret: it is for those who know the scheme.
        raise MalformedConfigError(
            f"signer '{scheme}{colon and ':…'}' has no known scheme, want one of {known}", member="signer"
        )
    opener = _registered.get(scheme) or getattr(signer_module(scheme), _BUILT_IN[scheme][1])
    return cast("Opener", opener)(uri, passphrase)


def signer_module(scheme: str) -> ModuleType:
    """The module of a scheme that is built in. Raises MissingExtraError where its driver is not installed."""
    name, _, extra = _BUILT_IN[scheme]
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if extra is None or (error.name or "").startswith(f"{__package__}."):
            raise
        raise MissingExtraError(
            f"signers of scheme {scheme} need the extra {extra!r}, which is not installed: "
            f"there is no module {error.name}",
            extra=extra,
        ) from None
