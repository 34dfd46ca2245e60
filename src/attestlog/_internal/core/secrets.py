"""What a secret looks like: names of members, shapes of keys and tokens, assignments within text.

A name is folded to words before it is compared: `clientSecret`, `client-secret`
and `CLIENT_SECRET` are one. The shapes follow the published formats of services
and the rules of gitleaks (https://github.com/gitleaks/gitleaks, its config/
gitleaks.toml of November 2025), the names those of Sentry's scrubber
(https://github.com/getsentry/sentry-python, sentry_sdk/scrubber.py); tests list
what of both is found, and what is not and why.

Every expression takes time linear in the text: a run of characters is entered at
its start only, and left only forward (possessive repetitions). `core.redaction`
replaces what is found here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

SECRET_FIELDS: Final = tuple(
    """
    *password *passwords *passwd *pwd *passphrase *passcode *password_hash *password_confirmation pin
    *_pin *pin_code otp *_otp totp cvv cvc *secret *secrets *secret_key *secretkey *secret_value
    *secret_access_key *api_key *api_keys *apikey *apikeys *access_key *accesskey *account_key
    *private_key *privatekey *encryption_key *master_key *shared_key *credential *credentials
    *recovery_code *recovery_codes *backup_codes *seed_phrase mnemonic *security_answer *token *tokens
    *authorization *cookie *cookies *_pass pass *jwt *csrf *xsrf *sessid *connect_sid aiohttp_session
    """.split()
)
"""Globs over folded names: the default of a policy's `fields`."""

AMBIGUOUS_FIELDS: Final = frozenset(
    "*token *tokens *authorization *cookie *cookies *_pass pass *jwt *csrf *xsrf *sessid *connect_sid"
    " aiohttp_session *access_key *accesskey *credential *credentials".split()
)
"""Of those, names of other things too: a value is a secret if it looks like one (`looks_secret`)."""

PLAIN_TOKENS: Final = frozenset(
    "bos cached cancellation cls completion continuation cursor eos first idempotency input last mask max min"
    " next output pad page pagination previous prompt reasoning request resume sep special stop sync total"
    " unk used".split()
)
"""Words beside `token` in names of no secrets: positions in a list, counts, vocabularies."""

SECRET_LENGTH_MIN: Final = 6
"""Characters of a secret under an ambiguous name: `none`, `basic`, `yes` and counts are shorter."""

_BREAK: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
"""Where one word of camel case ends and the next begins."""
_SEPARATORS: Final = re.compile(r"[\x00-)+-/:->@\[\]-`{-\x7f]++")
"""ASCII without letters, digits and what globs are made of."""
_NUMBER_AT_END: Final = re.compile(r"_?v?[0-9]{1,9}\Z")
_PLACEHOLDER: Final = re.compile(r"[$%<{*#]|(?i:true|false|null|none|yes|no|undefined|redacted)\Z")
_SCHEME: Final = "(?i:basic|bearer|digest|negotiate|token)"


def fold_name(name: str) -> str:
    """The words of a name or glob in small letters, with `_` between: one however it is spelled."""
    return _SEPARATORS.sub("_", _BREAK.sub("_", name)).lower()


def without_number(folded: str) -> str:
    """The folded name without what only counts: `password_2` and `_password` are `password`."""
    return _NUMBER_AT_END.sub("", folded).strip("_")


def is_plain_token(folded: str) -> bool:
    """Whether a folded name is of a token that is no secret, such as `next_page_token`."""
    *before, last = folded.split("_")
    return last in {"token", "tokens"} and not PLAIN_TOKENS.isdisjoint(before)


def looks_secret(text: str) -> bool:
    """Whether the text under an ambiguous name is a secret: long enough, no number and no sentence."""
    if len(text) < SECRET_LENGTH_MIN or is_placeholder(text) or text.count(" ") > 1:
        # A header's value may have more words: then one of them says so.
        return len(text) >= SECRET_LENGTH_MIN and "=" in text and not is_placeholder(text)
    return not (text.isascii() and text.replace(".", "", 1).lstrip("-").isdigit() and len(text) < 12)


def is_placeholder(text: str) -> bool:
    """Whether the text only stands for a value: `$TOKEN`, `<password>`, `***`, `none`."""
    return _PLACEHOLDER.match(text) is not None


def pair_of(members: dict[Any, Any]) -> tuple[str, str] | None:
    """(name, member that holds its value) of an object such as {"name": "password", "value": "x"}."""
    value = next((member for member in PAIR_VALUES if member in members), None)
    if value is None:
        return None
    for member in PAIR_NAMES:
        if type(name := members.get(member)) is str:
            return name, value
    return None


PAIR_NAMES: Final = ("name", "key", "header", "field", "variable", "param", "parameter", "Name", "Key")
PAIR_VALUES: Final = ("value", "val", "Value")

# --- text ---

_RUN_TOKENS: Final = (
    # (prefixes, least characters after them, characters)
    (r"gh[pousr]_", 30, "A-Za-z0-9"),
    (r"github_pat_", 30, r"\w"),
    (r"gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat|ffct)-", 20, r"\w-"),
    (r"npm_|hf_|r8_|lin_api_|rubygems_|gsk_|dckr_pat_|nfp_|sbp_|lsv2_[ps]t_|fo1_|fm[12][ar]?_", 20, r"\w-"),
    (r"tskey-[a-z]{2,12}-", 20, r"\w-"),
    (r"pypi-", 50, r"\w-"),
    (r"xox[abeprs]-|xapp-[0-9]-|xai-|pplx-|nvapi-|tvly-|figd_|ntn_|PMAK-|NRAK-", 15, r"\w=-"),
    (r"glsa_|glc_|sntry[su]_", 15, r"\w=-"),
    (r"GOCSPX-|pul-|pat-(?:na|eu)[0-9]-|whsec_|phx_|shp(?:at|ss|ca|pa)_|sq0(?:atp|csp)-", 15, r"\w=-"),
    (r"do[opr]_v1_|FLWSECK_TEST-|FLWSECK-|ATATT3|ATCTT3|CLOJARS_|duffel_(?:test|live)_", 15, r"\w=-"),
    (r"ops_eyJ|AGE-SECRET-KEY-1", 15, r"\w=-"),
    (r"[spr]k_(?:live|test|prod)_", 16, "A-Za-z0-9"),
    (r"sk-", 20, r"\w-"),
    (r"dapi", 32, "a-f0-9"),
    (r"EAA[MC]|AKCp|EZ[AT]K", 50, "A-Za-z0-9"),
    (r"hv[sbr]\.|dp\.(?:pt|st|ct|sa)\.|ya29\.|sl\.", 24, r"\w-"),
)  # fmt: skip

_PEM_LABEL: Final = "[A-Z0-9 ]{0,40}+(?:(?<=PRIVATE KEY)|(?<=PRIVATE KEY BLOCK))"

PATTERN_SOURCES: Final[dict[str, str]] = {
    "access_key": (
        r"(?<![A-Za-z0-9])(?:(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}+(?![A-Za-z0-9])"
        r"|AIza[0-9A-Za-z_-]{35}|LTAI[A-Za-z0-9]{12,30}+|AKID[A-Za-z0-9]{32}"
        r"|A3-[A-Z0-9]{6}-(?:[A-Z0-9]{5,11}-){3,4}[A-Z0-9]{5})"
    ),
    "private_key": (
        rf"-----BEGIN {_PEM_LABEL}-----(?s:.)*?(?:-----END {_PEM_LABEL}-----|\Z)"
    ),
    "token": (
        r"(?<![\w-])eyJ[\w-]{10,}+\.[\w-]{6,}+(?:\.[\w-]*+){0,3}+"  # JWT, JWE
        r"|(?<![A-Za-z0-9])(?:"
        + "|".join(f"(?:{prefix})[{characters}]{{{least},}}+" for prefix, least, characters in _RUN_TOKENS)
        + r"|SG\.[\w-]{16,32}+\.[\w-]{32,64}+"  # SendGrid
        r"|key-[0-9a-f]{32}(?![0-9a-f])"  # Mailgun
        r"|dt0c01\.[A-Z0-9]{24}\.[A-Z0-9]{64}"  # Dynatrace
        r"|[A-Za-z0-9]{14}\.atlasv1\.[\w-]{60,70}+"  # Terraform
        r"|[0-9]{8,10}:AA[\w-]{33}(?![\w-])"  # Telegram
        r"|[MNO][A-Za-z0-9_-]{23,27}\.[\w-]{6}\.[\w-]{27,40}+"  # Discord
        r"|1//0[\w-]{40,}+"  # Google refresh token
        r")"
        r"|\b(?i:bearer|basic) {1,4}+[\w.~+/-]{20,}+={0,3}"
        r"|//(?i:hooks\.slack\.com/(?:services|workflows)|discord(?:app)?\.com/api/webhooks)/([\w/-]{20,}+)"
        r"|(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{1,20}+://[^\s/:@\"'<>?#]{0,256}+:([^\s/@\"'<>]{1,256}+)(?=@)"
    ),
    "email": (
        r"(?<![\w.%+-])(?!git@)[\w.%+-]++@[\w-]{1,63}+(?:\.[\w-]{1,63}+)++(?!:[\w~./])"
    ),
}  # fmt: skip
"""What each pattern of a policy looks for. Where one has groups, the group that matched is the secret."""

ASSIGNING: Final = re.compile(
    r"(?<![\w.-])([\w.-]{2,64}+)(\\{0,7}+[\"']?[ ]?+(?::=|=>|[:=])[ \t]{0,8}+"
    r"|\\{0,7}+[\"'][ ]?,[ ]?(?=\\{0,7}+[\"']))|(?<![\w.-])--([\w-]{2,64}+) (?!-)"
)
"""A name to which a value is given, up to the value. Groups: the name and what joins, or an option's name."""

ASSIGNED: Final = re.compile(
    r"(?s)\"((?:[^\"\\]|\\.)*+)\"|'((?:[^'\\]|\\.)*+)'|(\\{1,7}+[\"'])((?:(?!\3).)*+)\3"
    rf"|((?:{_SCHEME} {{1,2}})?[^\s\"'`,;&<>(){{}}\[\]|\\=]++(?:={{1,2}}+(?![\w\"'/+]))?+)"
)
"""The value: in quotes, in quotes behind backslashes, or up to a space or separator (groups 1, 2, 4, 5)."""

HEADER_VALUE: Final = re.compile(r"([\"']?)()()()([^\r\n\"'\\]++)")
"""The value of a `Cookie:` header, to the end of the line. Groups as of `ASSIGNED`."""


# --- the quick question, asked of every entry ---

_TOKEN_BEGINS: Final = (
    rb"(?:AKIA|ASIA|ABIA|ACCA|AIza|LTAI|AKID|A3-|eyJ|gh[pousr]_|github_pat_|gl[a-z]{2,5}-|npm_|hf_|r8_|lin_api"
    rb"|rubygems|gsk_|dckr_|tskey-|nfp_|sbp_|lsv2_|fo1_|fm[12]|pypi-|xox|xapp-|xai-|pplx-|nvapi-|tvly-|figd_|ntn_"
    rb"|PMAK-|NRAK-|gl[sc]|sntry|GOCSPX|pul-|pat-|whsec_|phx_|shp|sq0|do[opr]_v1|FLWSECK|AT[AC]TT3|CLOJARS_"
    rb"|duffel_|ops_eyJ|AGE-SEC|[spr]k_|sk-|dapi|EAA|AKCp|EZ[AT]K|hv[sbr]\.|dp\.|ya29\.|sl\.|SG\.|key-|dt0c01"
    rb"|atlasv1|AA[\w-]{33}|[MNO][\w-]{23,27}\.)"
)
_BEGINS: Final = re.compile(_TOKEN_BEGINS)
_BEGINS_WITHIN: Final = re.compile(rb"[-_.]" + _TOKEN_BEGINS)
_RUN_LENGTH_MIN: Final = 20
"""Keys and tokens are unbroken runs at least this long: most text is passed over by that alone."""

_RUN: Final = b"r" * _RUN_LENGTH_MIN
_LETTERS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-."
_RUNS: Final = bytes(ord("r") if byte in _LETTERS + b"~+/=" else ord(" ") for byte in range(256))
_TOKENS: Final = bytes(ord("r") if byte in _LETTERS else ord(" ") for byte in range(256))
_HEX: Final = b"0123456789abcdef-"
_HAS_USER: Final = re.compile(rb"://[^\s/:@]{0,256}+:[^\s/@]{1,256}+@")
_HAS_WEBHOOK: Final = re.compile(rb"//(?i:hooks\.slack|discord)")


def may_hold_shape(data: bytes) -> bool:
    """Whether canonical JSON may hold what one of `PATTERN_SOURCES` but `email` matches. False is sure."""
    if b"@" in data and b"://" in data and _HAS_USER.search(data):
        return True
    if _RUN not in data.translate(_RUNS):
        return False
    if b"PRIVATE KEY" in data or (b"://" in data and _HAS_WEBHOOK.search(data)):
        return True
    lower = data.lower()
    return b"bearer " in lower or b"basic " in lower or _has_token(data)


def _has_token(data: bytes) -> bool:
    runs = data.translate(_TOKENS)
    start = runs.find(_RUN)
    while start >= 0:
        stop = runs.find(b" ", start)
        stop = len(runs) if stop < 0 else stop
        run = data[start:stop]
        # Digests and ids are the longest runs of most entries.
        if run.strip(_HEX) and (
            _BEGINS.match(run) or ((b"_" in run or b"-" in run or b"." in run) and _BEGINS_WITHIN.search(run))
        ):
            return True
        if data[max(0, start - 3) : start] == b"1//":
            return True
        start = runs.find(_RUN, stop)
    return False


_NAME: Final = rb"([\w.\x80-\xff-]{2,64})"
_GIVEN_BACKWARDS: Final = tuple(
    # One for each mark: an expression that begins with one byte looks for that byte alone.
    re.compile(mark + rb":?[ ]?(?:[\"']?\\{1,15}|')?+" + _NAME)
    for mark in (b":", b"=")
)
_PAIRED_BACKWARDS: Final = re.compile(rb"[\"']\\{0,15} ?, ?[\"']\\{0,15}" + _NAME)
_OPTION: Final = re.compile(rb"--(?<![\w-]--)([\w-]{2,64}+) ")


NameEnds = tuple[re.Pattern[bytes], re.Pattern[bytes]]


def names_given(data: bytes, ends: NameEnds | None) -> list[bytes]:
    """The names to which strings within canonical JSON give a value, as `ASSIGNING` finds them; or more.

    `ends`: see `name_ends`. None: a name may end in anything.
    """
    names: list[bytes] = []
    is_quoted = (b"\\" in data and b'\\"' in data) or (
        b"'" in data and any(mark in data for mark in (b"':", b"' :", b"',", b"' ,", b"'="))
    )
    if is_quoted or ends is None or ends[0].search(data) or (b"=" in data and ends[1].search(data)):
        backwards = data[::-1]
        for expression in (*_GIVEN_BACKWARDS, *([_PAIRED_BACKWARDS] if is_quoted else [])):
            names += [name[::-1] for name in expression.findall(backwards)]
    if b"-" in data and b"--" in data:
        names += _OPTION.findall(data)
    return names


def name_ends(fields: Iterable[str]) -> NameEnds | None:
    """Expressions for a colon and for `=` after the last two letters of one of these names, in either case.

    None if a glob is open at its end. Two letters tell most words before a colon from a secret's name.
    """
    last: dict[str, str] = {}
    for glob in fields:
        end = fold_name(glob)[-2:]
        if not (end.isascii() and end.isalpha() and len(end) == 2):
            return None
        last[end[1]] = last.get(end[1], "") + end[0]
    pairs = [f"[{firsts}{firsts.upper()}][{second}{second.upper()}]" for second, firsts in last.items()]
    pairs.append("[A-Za-z_][0-9]")  # as in password2
    # It begins with the mark, which is found fast; then what stands before the mark is looked at. Nearly
    # every colon follows the quote after a member's name, and gives nothing within a text.
    either = '%(?<!"%)(?:(?<=' + "%|".join(pairs) + "%)|(?<= %)(?<=" + " %|".join(pairs) + " %))"
    return re.compile(either.replace("%", ":").encode()), re.compile(either.replace("%", "=").encode())
