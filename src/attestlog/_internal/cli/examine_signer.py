"""What `doctor` says of keys: what a device offers, how well it keeps a key, how fast the key signs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from attestlog._internal.cli.examine import Check
from attestlog.errors import AttestlogError

if TYPE_CHECKING:
    from attestlog._internal.signers import Signer

SIGNATURES_MAX: Final = 32
SIGN_TIME_S: Final = 2.0
"""How many test signatures, and for how long at most, tell what one costs."""

SLOW_SIGNATURE_S: Final = 0.1
"""A smart card's cost; with one signature a batch it bounds latency, not rate."""

_WANTED: Final = {
    "sensitive": True, "extractable": False, "never_extractable": True, "local": True, "decrypt": False,
    "unwrap": False, "derive": False,
}  # fmt: skip
"""How a key is kept that was made in the device, never leaves it and does nothing but sign."""


def devices(path: str) -> Iterator[Check]:
    """A PKCS#11 library and the tokens behind it."""
    from attestlog._internal.signers.opening import signer_module

    try:
        signer_module("pkcs11")
        from attestlog._internal.signers.pkcs11_survey import survey

        found = survey(path)
    except AttestlogError as error:
        yield Check("module", str(error), "bad")
        return
    tokens = found.pop("tokens")
    yield Check(
        "module", "{manufacturer}: {description} {version}, PKCS#11 {cryptoki}".format(**found), facts=found
    )
    if not tokens:
        yield Check("token", "there is none that is initialised", "note")
    for token in tokens:
        usable = [name for name in ("ECDSA", "ECDSA_SHA256", "EDDSA") if name in token["mechanisms"]]
        signs = f"signs with {' and '.join(usable)}" if usable else "signs with neither ECDSA nor EDDSA"
        value = f"{token['manufacturer']} {token['model']}, serial {token['serial']}: {signs}"
        yield Check(f"token {token['token']}", value, "good" if usable else "note", token)


def signer(uri: str) -> Iterator[Check]:
    """A key that a URI names: opened, looked at, and asked for signatures, which are verified."""
    from attestlog._internal.cli.opening import ask_passphrase
    from attestlog._internal.signers import open_signer

    try:
        opened = open_signer(uri, passphrase=ask_passphrase)
    except AttestlogError as error:
        yield Check("key", str(error), "bad")
        return
    try:
        yield _kept(opened)
        yield _signature_cost(opened)
    except AttestlogError as error:
        yield Check("signature", str(error), "bad")
    finally:
        opened.close()


def _kept(opened: Signer) -> Check:
    public = opened.public_key
    facts: dict[str, Any] = {
        "uri": opened.uri, "algorithm": public.algorithm, "key_id": public.key_id,
    }  # fmt: skip
    describe = getattr(opened, "describe", None)
    told: dict[str, Any] = describe() if describe is not None else {}
    facts |= told
    weak = [
        name.replace("_", " ") if told[name] else f"not {name.replace('_', ' ')}"
        for name, wanted in _WANTED.items()
        if told.get(name) is not None and told[name] is not wanted
    ]
    value = f"{public.key_id} ({public.algorithm})"
    if told.get("sensitive") is not None:
        value += f", {', '.join(weak)}" if weak else ", made in the device, cannot leave it, signs only"
    return Check("key", value, "note" if weak else "good", facts)


def _signature_cost(opened: Signer) -> Check:
    from attestlog._internal.cli.new_keys import sign_once

    costs: list[float] = []
    while len(costs) < SIGNATURES_MAX and sum(costs) < SIGN_TIME_S:
        begun = time.perf_counter()
        sign_once(opened)
        costs.append(time.perf_counter() - begun)
    median, worst = statistics.median(costs), max(costs)
    value = f"{median * 1e3:.2f} ms, at worst {worst * 1e3:.2f} ms, verified: {1 / median:,.0f} a second"
    facts = {"median_s": median, "max_s": worst, "count": len(costs)}
    return Check("signature", value, "note" if median > SLOW_SIGNATURE_S else "good", facts)
