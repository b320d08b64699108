"""What is refused of single fields, in upstream's words: the rules that the validation of several kinds shares
(`pkg/apis/core/validation`, apimachinery's `validation` and `field`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from seatrial.kube.faults import Fault
from seatrial.kube.objects import JsonObject

SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
SUBDOMAIN_RULE: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL_RULE: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
NO_NEGATIVE: Final = "must be greater than or equal to 0"
LONGEST_LABEL: Final = 63
_LABEL_VALUE: Final = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_NAME_PART: Final = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_LABEL_VALUE_RULE: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_NAME_RULE: Final = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]'"
)
_PERCENT: Final = re.compile(r"[0-9]+%")
_PERCENT_RULE: Final = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for "
    "validation is '[0-9]+%')"
)


def shown(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def invalid(path: str, value: object, why: str = "") -> Fault:
    return Fault("FieldValueInvalid", path, f"Invalid value: {shown(value)}" + (f": {why}" if why else ""))


def required(path: str, why: str = "") -> Fault:
    return Fault("FieldValueRequired", path, f"Required value: {why}" if why else "Required value")


def forbidden(path: str, why: str) -> Fault:
    return Fault("FieldValueForbidden", path, f"Forbidden: {why}")


def unsupported(path: str, value: object, allowed: Sequence[str]) -> Fault:
    known = ", ".join(json.dumps(one) for one in allowed)
    return Fault("FieldValueNotSupported", path, f"Unsupported value: {shown(value)}: supported values: {known}")


def duplicate(path: str, value: object, why: str = "") -> Fault:
    return Fault("FieldValueDuplicate", path, f"Duplicate value: {shown(value)}" + (f": {why}" if why else ""))


def negative(spec: Mapping[str, object], names: Sequence[str], path: str) -> Iterator[Fault]:
    for name in names:
        value = spec.get(name)
        if isinstance(value, int) and value < 0:
            yield invalid(f"{path}.{name}", value, NO_NEGATIVE)


def qualified_name(path: str, name: str) -> Iterator[Fault]:
    """The key of a label or a taint, the name of a resource: perhaps a domain and a slash, then a name."""
    prefix, slash, last = name.rpartition("/")
    if prefix.count("/"):
        why = (
            f"a qualified name {_NAME_RULE} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName'))"
        )
        yield invalid(path, name, why)
        return
    if slash and not prefix:
        yield invalid(path, name, "prefix part must be non-empty")
    elif slash and not SUBDOMAIN.fullmatch(prefix):
        yield invalid(path, name, f"prefix part {SUBDOMAIN_RULE}")
    if not last:
        yield invalid(path, name, "name part must be non-empty")
    elif len(last) > LONGEST_LABEL:
        yield invalid(path, name, f"name part must be no more than {LONGEST_LABEL} characters")
    if not _NAME_PART.fullmatch(last):
        yield invalid(path, name, f"name part {_NAME_RULE})")


def label_value(path: str, value: str) -> Iterator[Fault]:
    if len(value) > LONGEST_LABEL:
        yield invalid(path, value, f"must be no more than {LONGEST_LABEL} characters")
    if not _LABEL_VALUE.fullmatch(value):
        yield invalid(path, value, _LABEL_VALUE_RULE)


def labels(path: str, given: Mapping[str, str]) -> Iterator[Fault]:
    for key, value in given.items():
        yield from qualified_name(path, key)
        yield from label_value(path, value)


def label_selector(path: str, selector: JsonObject) -> Iterator[Fault]:
    yield from labels(f"{path}.matchLabels", selector.get("matchLabels") or {})
    for number, item in enumerate(selector.get("matchExpressions") or ()):
        place = f"{path}.matchExpressions[{number}]"
        operator, values = item.get("operator"), item.get("values") or ()
        if operator in ("In", "NotIn"):
            if not values:
                yield required(f"{place}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                yield forbidden(f"{place}.values", why)
        else:
            yield invalid(f"{place}.operator", operator, "not a valid selector operator")
        yield from qualified_name(f"{place}.key", item.get("key", ""))
        for position, value in enumerate(values):
            yield from label_value(f"{place}.values[{position}]", value)


def amount(path: str, value: object) -> Iterator[Fault]:
    """A number of pods, or a percentage of them."""
    if isinstance(value, str) and not _PERCENT.fullmatch(value):
        yield invalid(path, value, _PERCENT_RULE)
    elif isinstance(value, int) and value < 0:
        yield invalid(path, value, NO_NEGATIVE)


def at_most_all(path: str, value: object) -> Iterator[Fault]:
    if isinstance(value, str) and _PERCENT.fullmatch(value) and number_in(value) > 100:
        yield invalid(path, value, "must not be greater than 100%")


def number_in(value: object) -> int:
    """The number of an amount; that of no amount is nought."""
    text = str(value)
    return int(text.removesuffix("%")) if re.fullmatch(r"[0-9]+%|-?[0-9]+", text) else 0
