"""What is refused of single fields, in upstream's words: the rules that the validation of several kinds shares
(`pkg/apis/core/validation`, apimachinery's `validation`, `content` and `field`).

A rule is a generator of faults; its first argument is the path of the field. A field that is absent is one with its
zero value, as in Go, unless upstream holds a pointer: then it is None.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from seatrial.kube.faults import Fault, quoted
from seatrial.kube.objects import JsonObject
from seatrial.kube.quantities import ZERO, Quantity

Faults = Iterator[Fault]
Rule = Callable[[str, str], Faults]

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_UNDERSCORED: Final = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_NAME: Final = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_ENDS: Final = "and must start and end with an alphanumeric character"
NO_NEGATIVE: Final = "must be greater than or equal to 0"
NO_POSITIVE: Final = "must be greater than zero"
IMMUTABLE: Final = "field is immutable"
LONGEST_LABEL: Final = 63
LONGEST_SUBDOMAIN: Final = 253
MOST: Final = 2**31 - 1
_MOST_ANNOTATIONS: Final = 256 * 1024


def matching(text: str, pattern: str, *examples: str) -> str:
    """A rule about a pattern, in the words of upstream's `RegexError`."""
    if not examples:
        return f"{text} (regex used for validation is '{pattern}')"
    listed = " or ".join(f"'{each}', " for each in examples)
    return f"{text} (e.g. {listed}regex used for validation is '{pattern}')"


SUBDOMAIN: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*")
LABEL: Final = re.compile(_LABEL)
_LABEL_1035: Final = re.compile("[a-z]([-a-z0-9]*[a-z0-9])?")
_WILDCARD: Final = re.compile(rf"\*\.{_LABEL}(\.{_LABEL})*")
_UNDERSCORED_NAME: Final = re.compile(rf"{_UNDERSCORED}(\.{_UNDERSCORED})*")
_NAME_PART: Final = re.compile(_NAME)
_LABEL_VALUE: Final = re.compile(f"({_NAME})?")
_PERCENT: Final = re.compile("[0-9]+%")
_DATA_KEY: Final = re.compile("[-._a-zA-Z0-9]+")
_ENV_NAME: Final = re.compile("[-._a-zA-Z][-._a-zA-Z0-9]*")
SUBDOMAIN_RULE: Final = matching(
    f"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', {_ENDS}",
    rf"{_LABEL}(\.{_LABEL})*",
    "example.com",
)
LABEL_RULE: Final = matching(
    f"a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', {_ENDS}",
    _LABEL,
    "my-name",
    "123-abc",
)
_LABEL_1035_RULE: Final = matching(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character,"
    " and end with an alphanumeric character",
    _LABEL_1035.pattern,
    "my-name",
    "abc-123",
)
_WILDCARD_RULE: Final = matching(
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower"
    " case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
    _WILDCARD.pattern,
    "*.example.com",
)
_UNDERSCORED_RULE: Final = matching(
    f"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', {_ENDS}",
    _UNDERSCORED_NAME.pattern,
    "example.com",
)
_NAME_RULE: Final = matching(
    f"must consist of alphanumeric characters, '-', '_' or '.', {_ENDS}", _NAME, "MyName", "my.name", "123-abc"
)
_LABEL_VALUE_RULE: Final = matching(
    f"a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', {_ENDS}",
    _LABEL_VALUE.pattern,
    "MyValue",
    "my_value",
    "12345",
)
_PERCENT_RULE: Final = matching(
    "a valid percent string must be a numeric string followed by an ending '%'", _PERCENT.pattern, "1%", "93%"
)
_DATA_KEY_RULE: Final = matching(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    _DATA_KEY.pattern,
    "key.name",
    "KEY_NAME",
    "key-name",
)
_ENV_NAME_RULE: Final = matching(
    "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not "
    "start with a digit",
    _ENV_NAME.pattern,
    "my.env-name",
    "MY_ENV.NAME",
    "MyEnvName1",
)
_RELAXED_ENV_NAME_RULE: Final = (
    "a valid environment variable name must consist only of printable ASCII characters other than '='"
)


# --- faults ---


def shown(value: object) -> str:
    if isinstance(value, str):
        return quoted(value)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def invalid(path: str, value: object, why: str = "") -> Fault:
    return Fault("FieldValueInvalid", path, f"Invalid value: {shown(value)}" + (f": {why}" if why else ""))


def required(path: str, why: str = "") -> Fault:
    return Fault("FieldValueRequired", path, f"Required value: {why}" if why else "Required value")


def forbidden(path: str, why: str = "") -> Fault:
    return Fault("FieldValueForbidden", path, f"Forbidden: {why}" if why else "Forbidden")


def unsupported(path: str, value: object, allowed: Iterable[str]) -> Fault:
    known = ", ".join(quoted(one) for one in allowed)
    return Fault("FieldValueNotSupported", path, f"Unsupported value: {shown(value)}: supported values: {known}")


def duplicate(path: str, value: object, why: str = "") -> Fault:
    return Fault("FieldValueDuplicate", path, f"Duplicate value: {shown(value)}" + (f": {why}" if why else ""))


def missing(path: str, value: object, why: str = "") -> Fault:
    """What is named is not there (upstream's NotFound)."""
    return Fault("FieldValueNotFound", path, f"Not found: {shown(value)}" + (f": {why}" if why else ""))


def too_long(path: str, most: int) -> Fault:
    return Fault("FieldValueTooLong", path, f"Too long: may not be more than {most} bytes")


def too_many(path: str, number: int, most: int) -> Fault:
    return Fault("FieldValueTooMany", path, f"Too many: {number}: must have at most {most} items")


def at_most(length: int, unit: str = "characters") -> str:
    return f"must be no more than {length} {unit}"


def between(low: int, high: int) -> str:
    return f"must be between {low} and {high}, inclusive"


# --- parts of objects ---


def part(holder: Mapping[str, Any], name: str) -> JsonObject:
    """The object under `name`; an empty one if there is none."""
    return holder.get(name) or {}


def items(path: str, holder: Mapping[str, Any], name: str) -> Iterator[tuple[str, Any]]:
    """What the list under `name` holds, each with its path; an item that is null has the zero value."""
    for number, each in enumerate(holder.get(name) or ()):
        yield f"{path}[{number}]", {} if each is None else each


def given(path: str, holder: Mapping[str, Any], *names: str) -> Faults:
    """Each of these texts has to be there."""
    for name in names:
        if not holder.get(name):
            yield required(f"{path}.{name}")


def one_of(path: str, value: object, allowed: Collection[str]) -> Faults:
    if value not in allowed:
        yield unsupported(path, value or "", allowed)


def chosen(path: str, value: object, allowed: Collection[str]) -> Faults:
    """A choice that has to be made."""
    if not value:
        yield required(path)
    else:
        yield from one_of(path, value, allowed)


def byte_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


# --- names ---


def _unlike(
    value: str, longest: int, pattern: re.Pattern[str], rule: str, *, unit: str = "characters"
) -> Iterator[str]:
    if byte_length(value) > longest:
        yield at_most(longest, unit)
    if not pattern.fullmatch(value):
        yield rule


def _named(path: str, value: str, longest: int, pattern: re.Pattern[str], rule: str) -> Faults:
    return (invalid(path, value, why) for why in _unlike(value, longest, pattern, rule))


def no_label(value: str) -> Iterator[str]:
    """Why it is no RFC 1123 label."""
    dots = value.count(".") and SUBDOMAIN.fullmatch(value)
    return _unlike(value, LONGEST_LABEL, LABEL, "must not contain dots" if dots else LABEL_RULE)


def label_name(path: str, value: str) -> Faults:
    """An RFC 1123 label."""
    return (invalid(path, value, why) for why in no_label(value))


def no_subdomain(value: str) -> Iterator[str]:
    return _unlike(value, LONGEST_SUBDOMAIN, SUBDOMAIN, SUBDOMAIN_RULE)


def subdomain(path: str, value: str) -> Faults:
    """An RFC 1123 subdomain, which most objects' names are."""
    return (invalid(path, value, why) for why in no_subdomain(value))


def no_label_1035(value: str) -> Iterator[str]:
    return _unlike(value, LONGEST_LABEL, _LABEL_1035, _LABEL_1035_RULE)


def label_1035(path: str, value: str) -> Faults:
    return (invalid(path, value, why) for why in no_label_1035(value))


def wildcard(path: str, value: str) -> Faults:
    return _named(path, value, LONGEST_SUBDOMAIN, _WILDCARD, _WILDCARD_RULE)


def underscored_subdomain(path: str, value: str) -> Faults:
    return _named(path, value, LONGEST_SUBDOMAIN, _UNDERSCORED_NAME, _UNDERSCORED_RULE)


def path_segment(path: str, value: str) -> Faults:
    """A name that may be a part of a URL's path (`IsValidPathSegmentName`)."""
    if value in (".", ".."):
        yield invalid(path, value, f"may not be '{value}'")
        return
    for letter in ("/", "%"):
        if letter in value:
            yield invalid(path, value, f"may not contain '{letter}'")


def unqualified(name: str) -> Iterator[str]:
    """Why it is not the key of a label: perhaps a domain and a slash, then a name."""
    prefix, slash, last = name.rpartition("/")
    if "/" in prefix:
        yield (
            f"a valid label key {_NAME_RULE} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        )
        return
    if slash and not prefix:
        yield "prefix part must be non-empty"
    elif slash:
        yield from (f"prefix part {why}" for why in no_subdomain(prefix))
    if not last:
        yield "name part must be non-empty"
    yield from (f"name part {why}" for why in _unlike(last, LONGEST_LABEL, _NAME_PART, _NAME_RULE, unit="bytes"))


def qualified_name(path: str, name: str) -> Faults:
    """The key of a label or a taint, the name of a resource."""
    return (invalid(path, name, why) for why in unqualified(name))


def is_qualified(name: str) -> bool:
    return next(unqualified(name), None) is None


def domain(path: str, name: str, *, least: int = 2) -> Faults:
    """A domain with at least so many segments (`IsFullyQualifiedName` wants three, `...DomainName` two)."""
    if not name:
        yield required(path)
        return
    if least == 2:
        name = name.removesuffix(".")
    wrong = ",".join(no_subdomain(name))
    if wrong:
        yield invalid(path, name, wrong)
    elif len(name.split(".")) < least:
        number = {2: "two", 3: "three"}[least]
        yield invalid(path, name, f"should be a domain with at least {number} segments separated by dots")
    elif least == 2:
        long = next((each for each in name.split(".") if len(each) > LONGEST_LABEL), None)
        if long is not None:
            yield invalid(path, long, at_most(LONGEST_LABEL))


_URL_PATH: Final = re.compile(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+")


def domain_path(path: str, value: str) -> Faults:
    """Something like `example.com/controller` (`IsDomainPrefixedPath`)."""
    if not value:
        yield required(path)
        return
    host, _, rest = value.partition("/")
    if not host or not rest:
        yield invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')
        return
    yield from subdomain(path, host)
    if not _URL_PATH.fullmatch(rest):
        yield invalid(path, rest, matching("Invalid path", _URL_PATH.pattern))


def identifier(path: str, value: str) -> Faults:
    """A C identifier."""
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", value):
        why = (
            "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric "
            "characters or '_'"
        )
        yield invalid(path, value, matching(why, "[A-Za-z_][A-Za-z0-9_]*", "my_name", "MY_NAME", "MyName"))


def _no_way_up(value: str) -> str:
    if value in (".", ".."):
        return f"must not be '{value}'"
    return "must not start with '..'" if value.startswith("..") else ""


def data_key(path: str, key: str) -> Faults:
    """A key of a ConfigMap or a Secret."""
    yield from _named(path, key, LONGEST_SUBDOMAIN, _DATA_KEY, _DATA_KEY_RULE)
    if why := _no_way_up(key):
        yield invalid(path, key, why)


RELAXED_ENV_NAMES_SINCE: Final = 32


def env_name(path: str, name: str, minor: int) -> Faults:
    if minor >= RELAXED_ENV_NAMES_SINCE:
        if not name:
            yield invalid(path, name, "environment variable name must be non-empty")
        if not all(" " <= letter <= "~" and letter != "=" for letter in name):
            yield invalid(path, name, _RELAXED_ENV_NAME_RULE)
        return
    if not _ENV_NAME.fullmatch(name):
        yield invalid(path, name, _ENV_NAME_RULE)
    if why := _no_way_up(name):
        yield invalid(path, name, why)


# --- labels and selectors ---


def no_label_value(value: str) -> Iterator[str]:
    return _unlike(value, LONGEST_LABEL, _LABEL_VALUE, _LABEL_VALUE_RULE, unit="bytes")


def label_value(path: str, value: str) -> Faults:
    return (invalid(path, value, why) for why in no_label_value(value))


def labels(path: str, given: Mapping[str, str]) -> Faults:
    for key, value in given.items():
        yield from qualified_name(path, key)
        yield from label_value(path, value or "")


def annotation_keys(path: str, given: Mapping[str, str]) -> Faults:
    for key in given:
        yield from (invalid(path, key, why) for why in unqualified(key.lower()))
    if sum(byte_length(key) + byte_length(value or "") for key, value in given.items()) > _MOST_ANNOTATIONS:
        yield too_long(path, _MOST_ANNOTATIONS)


def label_selector(path: str, selector: Mapping[str, Any] | None, *, any_value: bool = False) -> Faults:
    if not selector:
        return
    yield from labels(f"{path}.matchLabels", part(selector, "matchLabels"))
    for place, item in items(f"{path}.matchExpressions", selector, "matchExpressions"):
        operator, values = item.get("operator") or "", item.get("values") or ()
        if operator in ("In", "NotIn"):
            if not values:
                yield required(f"{place}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                yield forbidden(f"{place}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
        else:
            yield invalid(f"{place}.operator", operator, "not a valid selector operator")
        yield from qualified_name(f"{place}.key", item.get("key") or "")
        for position, value in enumerate(() if any_value else values):
            yield from label_value(f"{place}.values[{position}]", value or "")


# --- numbers ---


def negative(spec: Mapping[str, object], names: Sequence[str], path: str) -> Faults:
    for name in names:
        value = spec.get(name)
        if isinstance(value, int) and value < 0:
            yield invalid(f"{path}.{name}" if path else name, value, NO_NEGATIVE)


def positive(path: str, value: int | None) -> Faults:
    if (value or 0) <= 0:
        yield invalid(path, value or 0, NO_POSITIVE)


def in_range(path: str, value: int | None, low: int, high: int) -> Faults:
    if value is not None and not low <= value <= high:
        yield invalid(path, value, between(low, high))


def user_id(path: str, value: int | None) -> Faults:
    return in_range(path, value, 0, MOST)


def amount(path: str, value: object) -> Faults:
    """A number of pods, or a percentage of them."""
    if isinstance(value, str) and not _PERCENT.fullmatch(value):
        yield invalid(path, value, _PERCENT_RULE)
    elif isinstance(value, int) and value < 0:
        yield invalid(path, value, NO_NEGATIVE)


def at_most_all(path: str, value: object) -> Faults:
    if isinstance(value, str) and _PERCENT.fullmatch(value) and number_in(value) > 100:
        yield invalid(path, value, "must not be greater than 100%")


def number_in(value: object) -> int:
    """The number of an amount; that of no amount is nought."""
    text = str(value)
    return int(text.removesuffix("%")) if re.fullmatch(r"[0-9]+%|-?[0-9]+", text) else 0


def quantity(raw: object) -> Quantity:
    """Zero for what is missing; what is no quantity was refused by the schema."""
    try:
        return ZERO if raw is None else Quantity.parse(raw)
    except ValueError:
        return ZERO


# --- ports and addresses ---

_NO_PORT: Final = between(1, 65535)
_LONGEST_PORT_NAME: Final = 15
_NO_ADDRESS: Final = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_NO_RANGE: Final = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
STRICT_ADDRESSES_SINCE: Final = 36
_LEADING_ZEROS: Final = re.compile(r"(^|[.:])0+(?=[0-9])")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def port(path: str, number: int) -> Faults:
    return in_range(path, number, 1, 65535)


def port_name(path: str, name: str) -> Faults:
    if byte_length(name) > _LONGEST_PORT_NAME:
        yield invalid(path, name, at_most(_LONGEST_PORT_NAME))
    if not re.fullmatch("[-a-z0-9]+", name):
        yield invalid(path, name, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", name):
        yield invalid(path, name, "must contain at least one letter (a-z)")
    if "--" in name:
        yield invalid(path, name, "must not contain consecutive hyphens")
    if name.startswith("-") or name.endswith("-"):
        yield invalid(path, name, "must not begin or end with a hyphen")


def port_or_name(path: str, value: object) -> Faults:
    """A port that is absent is number 0."""
    if isinstance(value, str):
        return port_name(path, value)
    return port(path, value if isinstance(value, int) else 0)


def parsed_address(text: str) -> Address | None:
    """Read as Go once did: leading zeros of an IPv4 address are decimal."""
    try:
        return ipaddress.ip_address(text if ":" in text or "%" in text else _LEADING_ZEROS.sub(r"\1", text))
    except ValueError:
        return None


def address(path: str, text: str, minor: int) -> Faults:
    """An IP address in a field that is older than the strict rules (`IsValidIPForLegacyField`)."""
    found = parsed_address(text)
    if found is None or "%" in text:
        yield invalid(path, text, _NO_ADDRESS)
    elif minor >= STRICT_ADDRESSES_SINCE:
        yield from _strict(path, text, found)


def _strict(path: str, text: str, found: Address) -> Faults:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        yield invalid(path, text, "must not have leading 0s")
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        yield invalid(path, text, "must not be an IPv4-mapped IPv6 address")


def canonical_address(path: str, text: str) -> Faults:
    """An IP address as it is written in newer fields (`IsValidIP`)."""
    faults = list(address(path, text, STRICT_ADDRESSES_SINCE))
    yield from faults
    if not faults and str(parsed_address(text)) != text:
        yield invalid(path, text, f"must be in canonical form ({quoted(str(parsed_address(text)))})")


def parsed_network(text: str) -> Network | None:
    host, slash, bits = text.partition("/")
    found = parsed_address(host)
    if found is None or not slash or not re.fullmatch("[0-9]+", bits):
        return None
    try:
        return ipaddress.ip_network(f"{found}/{int(bits)}", strict=False)
    except ValueError:
        return None


def network(path: str, text: str, minor: int) -> Faults:
    """A range of addresses in a field that is older than the strict rules (`IsValidCIDRForLegacyField`)."""
    found = parsed_network(text)
    if found is None:
        yield invalid(path, text, _NO_RANGE)
        return
    if minor < STRICT_ADDRESSES_SINCE:
        return
    host, _, bits = text.partition("/")
    inner = parsed_address(host)
    if str(int(bits)) != bits or (":" not in host and str(inner) != host):
        yield invalid(path, text, "must not have leading 0s in IP or prefix length")
    elif isinstance(inner, ipaddress.IPv6Address) and inner.ipv4_mapped is not None:
        yield invalid(path, text, "must not have an IPv4-mapped IPv6 address")
    elif found.network_address != inner:
        yield invalid(path, text, "must not have bits set beyond the prefix length")


def canonical_network(path: str, text: str) -> Faults:
    faults = list(network(path, text, STRICT_ADDRESSES_SINCE))
    yield from faults
    if not faults and str(parsed_network(text)) != text:
        yield invalid(path, text, f"must be in canonical form ({quoted(str(parsed_network(text)))})")


# --- changes ---


def unchanged(path: str, new: object, old: object) -> Faults:
    if not same(new, old):
        yield invalid(path, new, IMMUTABLE)


def same(one: Any, other: Any) -> bool:
    """Whether both mean the same: what is empty is absent, quantities are equal by value where both are texts."""
    if one is other or one == other:
        return True
    if not one and not other and not isinstance(one, (bool, int)) and not isinstance(other, (bool, int)):
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return all(same(one.get(key), other.get(key)) for key in one.keys() | other.keys())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return False
