"""The string formats that schemas of custom resources may ask for; what upstream does not know it does not check.

Source: apiextensions-apiserver `pkg/apiserver/validation/formats.go` and kube-openapi's `strfmt`.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from datetime import date
from typing import Final
from urllib.parse import urlsplit

from seatrial.kube import regexes

NEWEST: Final = 1 << 31
"""Later than every version: knows all formats."""
_HEX: Final = "[0-9a-f]"
_ANY4: Final = f"{_HEX}{{4}}"
_CARD: Final = re.compile(
    r"(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}"
    r"|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35\d{3})\d{11})",
    re.ASCII,
)
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_HOSTNAME: Final = (
    r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)"
    r"|([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}([a-zA-Z\p{L}]){2,63})$"
)
_GO_DURATION: Final = re.compile(r"[-+]?(0|((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)")
_WORDED_DURATION: Final = re.compile(r"(\d+)\s*([A-Za-zµ]+)")
_UNITS: Final = ("ns", "us", "µs", "ms", "s", "m", "h", "hr", "d", "w", "wk")
_UNIT_STARTS: Final = ("nano", "micro", "milli", "sec", "min", "hour", "day", "week")


def _uuid(third: str, fourth: str) -> Callable[[str], bool]:
    pattern = re.compile(f"{_HEX}{{8}}-?{_HEX}{{4}}-?{third}-?{fourth}-?{_HEX}{{12}}", re.IGNORECASE)
    return lambda text: pattern.fullmatch(text) is not None


def _matches(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern, re.ASCII)
    return lambda text: compiled.fullmatch(text) is not None


def _is_ipv4(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 4 and all(
        0 < len(each) < 20 and each.isascii() and each.isdigit() and int(each) < 256 for each in parts
    )


def _is_ipv6(text: str) -> bool:
    if ":" not in text or "%" in text:
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _is_cidr(text: str) -> bool:
    address, slash, bits = text.partition("/")
    if not slash or not (bits.isascii() and bits.isdigit() and len(bits) < 20):
        return False
    return (_is_ipv4(address) and int(bits) <= 32) or (_is_ipv6(address) and int(bits) <= 128)


def _is_mac(text: str) -> bool:
    for separator, size in ((":", 2), ("-", 2), (".", 4)):
        parts = text.split(separator)
        if len(parts) > 1 and all(re.fullmatch(f"{_HEX}{{{size}}}", each, re.IGNORECASE) for each in parts):
            return len(parts) * size // 2 in (6, 8, 20)
    return False


def _is_uri(text: str) -> bool:
    """As Go's `url.ParseRequestURI`: absolute, or a path from the root."""
    if not text or any(ord(letter) < 0x20 or letter == "\x7f" or letter == " " for letter in text.partition("?")[0]):
        return False
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    if re.search(r"%(?![0-9a-fA-F]{2})", parts.path):
        return False
    return text.startswith("/") or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:.", text) is not None


def _is_hostname(text: str) -> bool:
    if len(text.encode()) > 255 or any(len(part.encode()) > 63 for part in text.split(".")):
        return False
    return regexes.compile(_HOSTNAME).searches(text)


def _is_email(text: str) -> bool:
    """An address, or a name with an address in angle brackets (Go's `mail.ParseAddress`, of which this is a part)."""
    text = text.strip(" \t")
    bracketed = re.fullmatch(r"(?:\"[^\"]*\"|[^<>\"@,;]*)\s*<([^<>]*)>", text)
    address = bracketed[1] if bracketed else text
    local, at, domain = address.rpartition("@")
    atom = r"[^\s<>@,;:\\\"()\[\].]+(\.[^\s<>@,;:\\\"()\[\].]+)*"
    named = re.fullmatch(atom, local) or re.fullmatch(r"\"(?:[^\"\\]|\\.)*\"", local)
    return bool(at) and named is not None and (re.fullmatch(atom, domain) is not None or domain[:1] == "[")


def _is_isbn10(text: str) -> bool:
    digits = re.sub(r"[\s-]", "", text)
    if not re.fullmatch(r"[0-9]{9}[0-9X]", digits):
        return False
    return sum((10 - at) * (10 if each == "X" else int(each)) for at, each in enumerate(digits)) % 11 == 0


def _is_isbn13(text: str) -> bool:
    digits = re.sub(r"[\s-]", "", text)
    return (
        bool(re.fullmatch(r"[0-9]{13}", digits))
        and sum(int(e) * (3 if at % 2 else 1) for at, e in enumerate(digits)) % 10 == 0
    )


def _is_card(text: str) -> bool:
    digits = re.sub(r"[^0-9]+", "", text)
    if not _CARD.fullmatch(digits):
        return False
    doubled = [int(each) * (2 if at % 2 else 1) for at, each in enumerate(reversed(digits))]
    return sum(each - 9 if each > 9 else each for each in doubled) % 10 == 0


def _is_rgb(text: str) -> bool:
    byte = r"\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*"
    return re.fullmatch(rf"rgb\({byte},{byte},{byte}\)", text, re.ASCII) is not None


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return bool(text)


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII) is not None


def _is_datetime(text: str) -> bool:
    found = re.fullmatch(
        r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(\.\d+)?([Zz]|[+-]\d{2}:\d{2})", text, re.ASCII
    )
    if found is None:
        return False
    return _is_date(found[1]) and found[2] <= "23" and found[3] <= "59" and found[4] <= "59"


def _is_duration(text: str) -> bool:
    """Go's durations, and Scala's, of which upstream looks for one anywhere in the text."""
    if _GO_DURATION.fullmatch(text):
        return True
    for _, word in _WORDED_DURATION.findall(text):
        unit = word.lower()
        if unit in _UNITS or unit.startswith(_UNIT_STARTS):
            return True
    return False


def _is_short_name(text: str) -> bool:
    return len(text) <= 63 and _LABEL.fullmatch(text) is not None


def _is_long_name(text: str) -> bool:
    return len(text) <= 253 and all(_LABEL.fullmatch(part) for part in text.split("."))


_KNOWN: Final[dict[str, Callable[[str], bool]]] = {
    "bsonobjectid": _matches("[0-9a-fA-F]{24}"),
    "uri": _is_uri,
    "email": _is_email,
    "hostname": _is_hostname,
    "ipv4": _is_ipv4,
    "ipv6": _is_ipv6,
    "cidr": _is_cidr,
    "mac": _is_mac,
    "uuid": _uuid(_ANY4, _ANY4),
    "uuid3": _uuid(f"3{_HEX}{{3}}", _ANY4),
    "uuid4": _uuid(f"4{_HEX}{{3}}", f"[89ab]{_HEX}{{3}}"),
    "uuid5": _uuid(f"5{_HEX}{{3}}", f"[89ab]{_HEX}{{3}}"),
    "isbn": lambda text: _is_isbn10(text) or _is_isbn13(text),
    "isbn10": _is_isbn10,
    "isbn13": _is_isbn13,
    "creditcard": _is_card,
    "ssn": _matches(r"\d{3}[- ]?\d{2}[- ]?\d{4}"),
    "hexcolor": _matches("#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})"),
    "rgbcolor": _is_rgb,
    "byte": _is_base64,
    "password": lambda _: True,
    "date": _is_date,
    "duration": _is_duration,
    "datetime": _is_datetime,
}
_KNOWN_SINCE_34: Final[dict[str, Callable[[str], bool]]] = {
    "k8sshortname": _is_short_name,
    "k8slongname": _is_long_name,
}


def known(name: str, kind: str, minor: int) -> bool:
    """Whether the format means something for this type (empty where a value may have several)."""
    if kind == "integer":
        return name in ("int32", "int64")
    if kind == "number":
        return name in ("float", "double")
    plain = name.replace("-", "")
    return kind in ("", "string") and (plain in _KNOWN or (minor >= 34 and plain in _KNOWN_SINCE_34))


def fits(name: str, text: str) -> bool:
    """Whether a text has a known format."""
    plain = name.replace("-", "")
    return (_KNOWN.get(plain) or _KNOWN_SINCE_34[plain])(text)
