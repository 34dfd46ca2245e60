"""What a PKCS#11 library offers, without a PIN: its version, the tokens behind it, what these can do."""

from __future__ import annotations

from typing import Any

from pkcs11 import TokenFlag

from attestlog._internal.signers.pkcs11_module import Library, module_at, token_texts, tokens_of
from attestlog._internal.signers.pkcs11_uri import TIMEOUT_S


def survey(path: str, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """`description`, `manufacturer`, `version`, `cryptoki` and `tokens` of the library at a path.

    Each token has what a URI can ask for, `flags` and `mechanisms` by name. Raises SignerError.
    """
    module = module_at(path)
    found = module.call(_survey, timeout_s)
    module.let_go(timeout_s)
    return found


def _survey(library: Library) -> dict[str, Any]:
    return {
        "path": library.so,
        "description": library.library_description,
        "manufacturer": library.manufacturer_id,
        "version": _version(library.library_version),
        "cryptoki": _version(library.cryptoki_version),
        "tokens": [_describe(token) for token in tokens_of(library)],
    }


def _describe(token: Any) -> dict[str, Any]:
    mechanisms = [getattr(found, "name", hex(found)) for found in token.slot.get_mechanisms()]
    flags = [flag.name for flag in TokenFlag if flag in token.flags]
    return {**token_texts(token), "flags": flags, "mechanisms": sorted(mechanisms)}


def _version(parts: tuple[int, int]) -> str:
    return ".".join(map(str, parts))
