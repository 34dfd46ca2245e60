"""A PKCS#11 library in this process: loaded once, called by one thread, loaded anew after a loss.

python-pkcs11 initialises libraries for use by a single thread, and libraries crash when several use them
then: every call, the first `C_Initialize` included, is made by the module's own worker. A process has one
login per token, and whoever closes the session that logged in logs everybody out: so a token has one
session here, shared by its signers, and it ends with the last of them.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import pkcs11
from pkcs11 import PKCS11Error, TokenFlag

from attestlog._internal.signers.pkcs11_uri import KeyUri, matches
from attestlog._internal.signers.secret import Secret
from attestlog._internal.signers.worker import HungError, Worker
from attestlog.errors import MalformedConfigError, SignerError

LEAVE_TIMEOUT_S: Final = 2.0
"""How long the end of a process may wait for a device to hear of it."""
MODULE_VARIABLE: Final = "ATTESTLOG_PKCS11_MODULE"

Library = Any
"""pkcs11.lib, whose class the driver does not export by that name."""
Result = TypeVar("Result")

_LOSSES: Final = (
    pkcs11.DeviceError, pkcs11.DeviceRemoved, pkcs11.FunctionFailed, pkcs11.GeneralError,
    pkcs11.KeyHandleInvalid, pkcs11.NoSuchToken, pkcs11.ObjectHandleInvalid, pkcs11.OperationNotInitialized,
    pkcs11.SessionClosed, pkcs11.SessionHandleInvalid, pkcs11.SlotIDInvalid, pkcs11.TokenNotPresent,
    pkcs11.UserNotLoggedIn,
)  # fmt: skip
"""After these a session, a login or the whole connection is gone; all else is an answer."""
_SHORTAGES: Final = (pkcs11.SessionCount, pkcs11.DeviceMemory, pkcs11.HostMemory)
"""Others have what is needed, for now."""


@dataclass(eq=False)
class OpenToken:
    """A token that signers of this process use: how it is found again, and its one session."""

    label: str
    serial: str
    needs_pin: bool
    pin: Secret | None = None
    session: Any = None
    users: int = 0

    @property
    def name(self) -> str:
        """For messages."""
        return f"token {self.label!r}"


@dataclass(eq=False)
class Module:
    """One library, by its real path."""

    path: str
    tokens: list[OpenToken] = field(default_factory=list)
    generation: int = 0
    """Counts losses: what was got from the library in an earlier generation is void."""
    _library: Library = None
    _refused: set[bytes] = field(default_factory=set, repr=False)
    _worker: Worker = field(default_factory=lambda: Worker("attestlog-pkcs11"), repr=False)

    def call(self, work: Callable[[Library], Result], timeout_s: float) -> Result:
        """What `work` returns, run by the module's thread; once more from the start if all was lost.

        Raises SignerError, `retryable` after a loss or a timeout.
        """
        try:
            return self._worker.call(partial(self._run, work), timeout_s)
        except HungError:
            raise SignerError(
                f"the device behind {self.path} has not answered within {timeout_s:g} s",
                retryable=True, reason="timeout", timeout_s=timeout_s,
            ) from None  # fmt: skip
        except PKCS11Error as error:
            raise self._signer_error(error) from None

    def release(self, attached: Sequence[OpenToken], timeout_s: float) -> None:
        """One signer fewer of each, now, or when a hung device is back: of what is attached by then.

        What the device says concerns nobody.
        """
        with contextlib.suppress(HungError, PKCS11Error):
            self._worker.call(partial(self._release, attached), timeout_s, is_owed=True)

    def let_go(self, timeout_s: float) -> None:
        """Of the library, unless a signer uses it."""
        with contextlib.suppress(HungError, PKCS11Error):
            self._worker.call(self._let_go, timeout_s, is_owed=True)

    # --- for work, on the module's thread ---

    def attach(self, library: Library, uri: KeyUri) -> OpenToken:
        """The one token that a URI names, counted as used."""
        token = self._find(library, partial(matches, uri))
        serial = token.serial.decode("utf-8", "replace")
        flags = token.flags
        known = [held for held in self.tokens if (held.label, held.serial) == (token.label, serial)]
        held = known[0] if known else OpenToken(token.label, serial, bool(flags & TokenFlag.LOGIN_REQUIRED))
        if not known:
            self.tokens.append(held)
        held.users += 1
        return held

    def session(self, library: Library, held: OpenToken) -> Any:
        """The token's session, logged in; opened again after a loss."""
        if held.session is None:
            held.session = self.open_session(library, held)
        return held.session

    def open_session(self, library: Library, held: OpenToken, *, writable: bool = False) -> Any:
        """A session of its own, logged in if none is yet."""
        token = self.find(library, held)
        if held.session is not None or not held.needs_pin:
            return token.open(rw=writable)
        pin = self.usable_pin(held)
        if token.flags & TokenFlag.USER_PIN_LOCKED:
            raise SignerError(f"the PIN of {held.name} is locked", reason="pin")
        if token.flags & TokenFlag.USER_PIN_FINAL_TRY:
            raise SignerError(
                f"{held.name} has one try left for its PIN, which is not spent here", reason="pin"
            )
        try:
            return token.open(rw=writable, user_pin=pin.reveal())
        except pkcs11.UserAlreadyLoggedIn:  # by other code in this process
            return token.open(rw=writable)
        except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange):
            raise self.refuse_pin(held) from None

    def usable_pin(self, held: OpenToken) -> Secret:
        """A token's PIN. One that the token has refused is never sent to it again. Raises SignerError."""
        if held.pin is None:
            raise SignerError(f"{held.name} needs a PIN", needs_pin=True)
        if self._fingerprint(held, held.pin) in self._refused:
            raise SignerError(
                f"{held.name} has refused this PIN before; it was not tried again", reason="pin"
            )
        return held.pin

    def refuse_pin(self, held: OpenToken) -> SignerError:
        """The token has refused its PIN: the error that says so."""
        assert held.pin is not None
        self._refused.add(self._fingerprint(held, held.pin))
        return SignerError(f"{held.name} refused the PIN", reason="pin")

    def _fingerprint(self, held: OpenToken, pin: Secret) -> bytes:
        return pin.fingerprint(f"{self.path}\0{held.label}\0{held.serial}")

    def find(self, library: Library, held: OpenToken) -> Any:
        """The token again, wherever it is plugged in now."""
        return self._find(
            library, lambda texts: texts["token"] == held.label and texts["serial"] == held.serial
        )

    def _release(self, attached: Sequence[OpenToken]) -> None:
        """With a token's last signer its session ends, with the last session the library."""
        for held in attached:
            held.users -= 1
            if held.users:
                continue
            self.tokens.remove(held)
            if held.session is not None:
                with contextlib.suppress(PKCS11Error):
                    held.session.close()
        self._let_go()

    def _let_go(self) -> None:
        if not self.tokens:
            self._unload()

    def _run(self, work: Callable[[Library], Result]) -> Result:
        held_it = self._library is not None
        try:
            return work(self._load())
        except PKCS11Error as error:
            if not _is_loss(error):
                raise
            self._unload()
            if not held_it:
                raise
        try:
            return work(self._load())
        except PKCS11Error as error:
            if _is_loss(error):
                self._unload()
            raise

    def _load(self) -> Library:
        if self._library is None:
            inherited = _inherited.pop(self.path, None)
            if inherited is not None:
                inherited.unload()
            try:
                self._library = pkcs11.lib(self.path)
            except PKCS11Error as error:
                is_there = Path(self.path).exists()  # and its device may come back
                raise SignerError(
                    f"PKCS#11 module {self.path} cannot be loaded: {_words(error)}",
                    retryable=is_there and _is_loss(error), path=self.path,
                ) from None  # fmt: skip
        return self._library

    def _unload(self) -> None:
        self.generation += 1
        for held in self.tokens:
            held.session = None
        library, self._library = self._library, None
        if library is not None:
            # The driver ends a library with the interpreter's lock held: from a device that hangs, that would
            # stop the whole process. So it is asked for something first, which stops this thread alone.
            with contextlib.suppress(PKCS11Error):
                library.get_slots()
            pkcs11.unload(self.path)

    def _find(self, library: Library, is_meant: Callable[[dict[str, str]], bool]) -> Any:
        there = list(tokens_of(library))
        found = [token for token in there if is_meant(token_texts(token))]
        if not found:
            raise pkcs11.NoSuchToken(f"it has {', '.join(repr(token.label) for token in there) or 'none'}")
        if len(found) > 1:
            names = ", ".join(repr(token.serial.decode("utf-8", "replace")) for token in found)
            raise SignerError(
                f"{len(found)} tokens are meant, want one: their serial numbers are {names}",
                reason="ambiguous",
            )
        return found[0]

    def _signer_error(self, error: PKCS11Error) -> SignerError:
        return SignerError(
            f"PKCS#11 module {self.path}: {_words(error)}",
            retryable=_is_loss(error) or isinstance(error, _SHORTAGES), reason=type(error).__name__,
        )  # fmt: skip

    # --- ends ---

    def leave(self) -> None:
        """At the end of the process: log out of what is still open, unless the device hangs."""
        if self.keep() is not None:
            with contextlib.suppress(HungError, PKCS11Error):
                self._worker.call(self._unload, LEAVE_TIMEOUT_S)

    def keep(self) -> Library:
        """The library, if it is loaded, which no destructor will end from now on: that could hang."""
        if self._library is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._library))
        return self._library


def module_path(path: str | None) -> str:
    """The path given, else that of ATTESTLOG_PKCS11_MODULE. Raises MalformedConfigError if neither is."""
    path = path or os.environ.get(MODULE_VARIABLE)
    if not path:
        raise MalformedConfigError(
            f"signer 'pkcs11:…' names no module-path and {MODULE_VARIABLE} is not set", member="signer"
        )
    return path


def module_at(path: str) -> Module:
    """The module of a path; one for all paths that lead to the same file."""
    real = str(Path(path).resolve())
    return _modules.setdefault(real, Module(real))


def tokens_of(library: Library) -> Iterator[Any]:
    """The tokens that are plugged in and can hold keys."""
    for slot in library.get_slots(token_present=True):
        try:
            token = slot.get_token()
        except (pkcs11.TokenNotPresent, pkcs11.TokenNotRecognised):
            continue
        if token.flags & TokenFlag.TOKEN_INITIALIZED:
            yield token


def token_texts(token: Any) -> dict[str, str]:
    """What a URI can ask of a token."""
    return {
        "token": token.label, "manufacturer": token.manufacturer_id,
        "serial": token.serial.decode("utf-8", "replace"), "model": token.model,
    }  # fmt: skip


def _is_loss(error: PKCS11Error) -> bool:
    # The driver has no class for CKR_CRYPTOKI_NOT_INITIALIZED, nor for what vendors add.
    return isinstance(error, _LOSSES) or type(error) is PKCS11Error


def _words(error: PKCS11Error) -> str:
    """The driver's exceptions mostly have no text but their name."""
    if type(error) is PKCS11Error:
        return str(error)
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()
    return f"{name}: {error}" if str(error) else name


_modules: Final[dict[str, Module]] = {}
_inherited: Final[dict[str, Library]] = {}
"""In a forked child: the parent's libraries, ended only if the child loads them for itself."""


def _leave_all() -> None:
    for module in _modules.values():
        module.leave()


def _follow_fork() -> None:
    """A forked child has neither the worker nor a right to the sessions: it loads libraries anew."""
    for path, module in _modules.items():
        # Ended by a destructor, it would log out over the connection it shares with its parent.
        library = module.keep()
        if library is not None:
            _inherited[path] = library
            pkcs11._loaded.pop(path, None)
    _modules.clear()


atexit.register(_leave_all)
os.register_at_fork(after_in_child=_follow_fork)
