"""Whether a value fits a schema, in the words of kube-apiserver (kube-openapi's `validate`).

What differs is a `Fault`, in upstream's order except that fields go by name where upstream goes through a map. Of an
`anyOf` or `oneOf` that nothing fits the alternative that fits best speaks, as upstream counts fits. On an update what
was wrong before and has not changed is let pass (CRDValidationRatcheting). A search that a hostile pattern or schema
makes long ends with a fault that says so; it never hangs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, Final

from seatrial.kube import faults, regexes
from seatrial.kube.customresources import formats
from seatrial.kube.customresources.shape import additional, items, properties
from seatrial.kube.faults import Fault
from seatrial.kube.objects.base import JsonObject

MAX_VISITS: Final = 500_000
"""How many values may be compared with schemas for one object: seconds."""
_LARGEST_WHOLE: Final = float(1 << 53)


@dataclass(slots=True)
class _Result:
    """`found` by the text of the error, which upstream reports once; `matches` is upstream's count of what fits."""

    found: dict[str, Fault] = field(default_factory=dict)
    matches: int = 0

    def add(self, text: str, fault: Fault) -> None:
        self.found.setdefault(text, fault)

    def merge(self, other: _Result | None) -> None:
        if other is not None:
            for text, fault in other.found.items():
                self.found.setdefault(text, fault)
            self.matches += other.matches


class _TooMuchError(Exception):
    """The object takes too long to validate."""


def validate(value: Any, schema: JsonObject, *, minor: int, path: str = "") -> list[Fault]:
    """Everything in which `value`, found at `path`, does not fit."""
    return _run(value, schema, None, _Validator(minor, path))


def validate_default(value: Any, schema: JsonObject, path: str) -> list[Fault]:
    """As `validate`, by which upstream lets a schema's default pass: formats as written, int-or-string anything."""
    return _run(value, schema, None, _Validator(None, path))


def validate_update(value: Any, before: Any, schema: JsonObject, *, minor: int, path: str = "") -> list[Fault]:
    """As `validate`, without what was wrong before and is unchanged."""
    return _run(value, schema, _Correlated(before, value, schema), _Validator(minor, path))


def _run(value: Any, schema: JsonObject, correlated: _Correlated | None, validator: _Validator) -> list[Fault]:
    try:
        return list(validator.at(value, schema, "", correlated).found.values())
    except _TooMuchError:
        return [faults.invalid(validator.path, "", "takes too long to validate against the schema here")]


class _Correlated:
    """A value and what it was before the update, as far as the two can be told to be the same thing."""

    def __init__(self, before: Any, after: Any, schema: JsonObject) -> None:
        self._before, self._after, self._schema = before, after, schema
        self._by_key: dict[str, Any] | None = None

    def is_equal(self) -> bool:
        """Whether nothing has changed; a map with a value that the schema does not know counts as changed."""
        before, after = self._before, self._after
        if isinstance(before, list) and isinstance(after, list):
            if len(before) != len(after):
                return False
            for at in range(len(after)):
                child = self.index(at)
                if child is None and self._by_key is None:
                    return _equal(before, after)
                if child is None or not child.is_equal():
                    return False
            return True
        if isinstance(before, dict) and isinstance(after, dict):
            children = [self.key(name) for name in after]
            return len(before) == len(after) and all(child is not None and child.is_equal() for child in children)
        return _equal(before, after)

    def key(self, name: str) -> _Correlated | None:
        before, after = self._before, self._after
        if not isinstance(before, dict) or not isinstance(after, dict) or name not in before or name not in after:
            return None
        inner = properties(self._schema).get(name, additional(self._schema)[1])
        return None if inner is None else _Correlated(before[name], after[name], inner)

    def index(self, at: int) -> _Correlated | None:
        inner = items(self._schema)
        if self._schema.get("x-kubernetes-list-type") != "map" or inner is None or not isinstance(self._before, list):
            return None
        if self._by_key is None:
            self._by_key = {key: each for each in reversed(self._before) if (key := self._key_of(each))}
        found = self._by_key.get(self._key_of(self._after[at]))
        return None if found is None else _Correlated(found, self._after[at], inner)

    def _key_of(self, value: Any) -> str:
        """What an item is known by; empty where one of its keys is no plain value."""
        keys = self._schema.get("x-kubernetes-list-map-keys") or ()
        if not isinstance(value, dict) or any(isinstance(value.get(key), (dict, list, NoneType)) for key in keys):
            return ""
        return faults.as_json([[type(value[key]).__name__, value[key]] for key in keys])


def _equal(one: Any, other: Any) -> bool:
    """Equality of JSON, where 1 and true, 1 and 1.0 differ."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(each, other[name]) for name, each in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


class _Validator:
    """One validation: the version asked for (None for a default's), where the value is, what its budget has spent."""

    def __init__(self, minor: int | None, path: str) -> None:
        self._minor = minor
        self.path = path
        self._visits = 0

    def at(self, value: Any, schema: JsonObject, name: str, correlated: _Correlated | None = None) -> _Result:
        self._visits += 1
        if self._visits > MAX_VISITS:
            raise _TooMuchError
        result = self._checked(value, schema, name, correlated)
        if result.found and correlated is not None and correlated.is_equal():
            return _Result(matches=result.matches)
        return result

    def _checked(self, value: Any, schema: JsonObject, name: str, correlated: _Correlated | None) -> _Result:
        result = _Result()
        types = _types(schema, of_default=self._minor is None)
        form = self._format(schema, types)
        value = _as_go(value)
        checks: list[Callable[[], _Result | None]] = []
        if types or form:
            checks.append(lambda: self._type(value, schema, name, types, form))
        if value is None:
            if checks:
                result.merge(checks[0]())
            result.merge(self._enum(value, schema, name))
            return result
        checks.append(lambda: self._alternatives(value, schema, name))
        if isinstance(value, str):
            checks.append(lambda: self._text(value, schema, name))
            if formats.known(form, "", self._minor or formats.NEWEST):
                checks.append(lambda: self._formatted(value, name, form))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            checks.append(lambda: self._number(value, schema, name, types, form))
        elif isinstance(value, list):
            checks.append(lambda: self._list(value, schema, name, correlated))
        checks.append(lambda: self._enum(value, schema, name))
        if isinstance(value, dict):
            checks.append(lambda: self._object(value, schema, name, correlated))
        for check in checks:
            result.merge(check())
            result.matches += 1
        result.matches += 1
        return result

    def _plain(self, result: _Result, text: str) -> None:
        """An error without a field of its own."""
        result.add(text, faults.invalid(self.path or faults.NOWHERE, "", text))

    def _where(self, name: str) -> str:
        plain = name.removeprefix(".")
        return faults.child(self.path, plain) if plain else self.path or faults.NOWHERE

    def _format(self, schema: JsonObject, types: tuple[str, ...]) -> str:
        form = schema.get("format") or ""
        kind = types[0] if len(types) == 1 else ""
        return form if self._minor is None or formats.known(form, kind, self._minor) else ""

    def _type(self, value: Any, schema: JsonObject, name: str, types: tuple[str, ...], form: str) -> _Result:
        result = _Result(matches=1)
        if value is None:
            if types and "null" not in types and not schema.get("nullable"):
                return self._of_type(name, ",".join(types), "null")
            return result
        kind, kind_format = _kind(value)
        whole = isinstance(value, float) and _is_whole(value) and "integer" in types
        widened = kind == "integer" and "number" in types
        numeric = "number" in types or "integer" in types
        if (
            form
            and not isinstance(value, (str, list))
            and not (kind in types or kind_format == form or whole or widened)
        ):
            return self._of_type(name, form, kind_format)
        if form and not numeric and isinstance(value, (str, list)):
            return result
        if not (kind in types or whole or widened):
            return self._of_type(name, ",".join(types), kind)
        return result

    def _of_type(self, name: str, wanted: str, value: Any) -> _Result:
        result = _Result()
        given = f": {faults.quoted(value)}" if isinstance(value, str) else ""
        text = f"{name} in body must be of type {wanted}{given}"
        result.add(text, faults.wrong_type(self._where(name), value, text))
        return result

    def _alternatives(self, value: Any, schema: JsonObject, name: str) -> _Result:
        main = _Result()
        every = schema.get("anyOf") or ()
        if every:
            best: _Result | None = None
            for each in every:
                result = self.at(value, each, name)
                if not result.found:
                    best = result
                    break
                if best is None or result.matches > best.matches:
                    best = result
            if best is not None and best.found:
                self._plain(main, f"{faults.quoted(name)} must validate at least one schema (anyOf)")
            main.merge(best)
        self._exactly_one(value, schema.get("oneOf") or (), name, main)
        every = schema.get("allOf") or ()
        results = [self.at(value, each, name) for each in every]
        for result in results:
            main.merge(result)
        if any(result.found for result in results):
            none = all(result.found for result in results)
            self._plain(
                main, f"{faults.quoted(name)} must validate all the schemas (allOf){'. None validated' if none else ''}"
            )
        if schema.get("not") is not None and not self.at(value, schema["not"], name).found:
            self._plain(main, f"{faults.quoted(name)} must not validate the schema (not)")
        main.matches += 1
        return main

    def _exactly_one(self, value: Any, every: Any, name: str, main: _Result) -> None:
        if not every:
            return
        best: _Result | None = None
        first: _Result | None = None
        fitting = 0
        for each in every:
            result = self.at(value, each, name)
            if not result.found:
                fitting += 1
                best = None
                first = first or result
            elif not fitting and (best is None or result.matches > best.matches):
                best = result
        if fitting == 1:
            main.merge(first)
            return
        how_many = f"Found {fitting} valid alternatives" if fitting else "Found none valid"
        self._plain(main, f"{faults.quoted(name)} must validate one and only one schema (oneOf). {how_many}")
        main.merge(best)

    def _text(self, value: str, schema: JsonObject, name: str) -> _Result | None:
        result = _Result()
        most, least, pattern = (schema.get(key) for key in ("maxLength", "minLength", "pattern"))
        if most is not None and len(value) > most:
            result.add(f"{name} in body should be at most {most} chars long", faults.too_long(self._where(name), most))
        elif least is not None and len(value) < least:
            self._invalid(result, name, value, f"should be at least {least} chars long")
        elif pattern and (why := _mismatch(value, pattern)):
            self._invalid(result, name, value, why)
        else:
            return None
        return result

    def _invalid(self, result: _Result, name: str, value: Any, why: str) -> None:
        text = f"{name} in body {why}"
        result.add(text, faults.invalid(self._where(name), value, text))

    def _formatted(self, value: str, name: str, form: str) -> _Result | None:
        if formats.fits(form, value):
            return None
        return self._of_type(name, form, value)

    def _number(self, value: float, schema: JsonObject, name: str, types: tuple[str, ...], form: str) -> _Result:
        result = _Result()
        only = types[0] if len(types) == 1 and types[0] in ("integer", "number") else ""
        form = form if form in ({"integer": ("int32", "int64")}.get(only) or ()) else ""

        def in_range(number: float, what: str) -> bool:
            why = _out_of_range(number, only, form)
            if why:
                self._plain(result, f"{what} value must be of type {why} in {name}")
            return not why

        in_range(value, "Checked")
        factor, largest, smallest = (schema.get(key) for key in ("multipleOf", "maximum", "minimum"))
        if factor is not None:
            native = in_range(factor, "MultipleOf")
            self._multiple(value, factor, result, name, whole=native and isinstance(value, int))
        for limit, key, what in ((largest, "exclusiveMaximum", "Maximum"), (smallest, "exclusiveMinimum", "Minimum")):
            if limit is None:
                continue
            native = in_range(limit, f"{what} boundary")
            whole = native and isinstance(value, int)
            bound: float = int(limit) if whole else float(limit)
            exclusive = bool(schema.get(key))
            beyond = value - bound if what == "Maximum" else bound - value
            if beyond > 0 or (exclusive and beyond == 0):
                word = "less" if what == "Maximum" else "greater"
                orequal = "" if exclusive else " or equal to"
                why = f"should be {word} than{orequal} {faults.number(bound)}"
                self._invalid(result, name, value if whole else float(value), why)
        result.matches += 1
        return result

    def _multiple(self, value: float, factor: float, result: _Result, name: str, *, whole: bool) -> None:
        factor = int(factor) if whole else float(factor)
        if factor <= 0:
            text = f"factor MultipleOf declared for {name} must be positive: {faults.number(factor)}"
            result.add(text, faults.invalid(self._where(name), factor, text))
        elif not (value % factor == 0 if whole else _is_whole(1 / factor * value if factor < 1 else value / factor)):
            shown = value if whole else float(value)
            self._invalid(result, name, shown, f"should be a multiple of {faults.number(factor)}")

    def _list(self, value: list[Any], schema: JsonObject, name: str, correlated: _Correlated | None) -> _Result:
        result = _Result()
        inner = items(schema)
        if inner is not None:
            for at, each in enumerate(value):
                result.merge(self.at(each, inner, f"{name}[{at}]", correlated.index(at) if correlated else None))
        least, most = schema.get("minItems"), schema.get("maxItems")
        if least is not None and len(value) < least:
            self._invalid(result, name, len(value), f"should have at least {least} items")
        if most is not None and len(value) > most:
            fault = faults.too_many(self._where(name), len(value), most)
            result.add(f"{name} in body should have at most {most} items", fault)
        result.matches += 1
        return result

    def _enum(self, value: Any, schema: JsonObject, name: str) -> _Result | None:
        known = schema.get("enum") or ()
        if not known or any(_is_enumerated(value, each) for each in known):
            return None
        result = _Result()
        allowed = [each if isinstance(each, str) else faults.as_json(each) for each in known]
        result.add(f"{name} in body should be one of {allowed}", faults.unsupported(self._where(name), value, allowed))
        return result

    def _object(self, value: JsonObject, schema: JsonObject, name: str, correlated: _Correlated | None) -> _Result:
        result = _Result()
        least, most = schema.get("minProperties"), schema.get("maxProperties")
        if least is not None and len(value) < least:
            self._invalid(result, name, len(value), f"should have at least {least} properties")
        if most is not None and len(value) > most:
            fault = faults.too_many(self._where(name), len(value), most)
            result.add(f"{name} in body should have at most {most} properties", fault)
        known, (_, of_values) = properties(schema), additional(schema)

        def inner(key: str) -> _Correlated | None:
            plain = not name and key in ("apiVersion", "kind")
            return None if correlated is None or plain else correlated.key(key)

        for key in sorted(value):
            if key in known:
                continue
            if schema.get("additionalProperties") is False:
                text = f"{name}.{key} in body is a forbidden property"
                result.add(text, faults.invalid(self._where(name), key, text))
            elif of_values is not None:
                result.merge(self.at(value[key], of_values, f"{name}.{key}", inner(key)))
        for key in sorted(known.keys() & value.keys()):
            result.merge(self.at(value[key], known[key], f"{name}.{key}" if name else key, inner(key)))
        for key in schema.get("required") or ():
            if key not in value:
                result.add(f"{name}.{key} in body is required", faults.required(self._where(f"{name}.{key}")))
        return result


def _types(schema: JsonObject, *, of_default: bool) -> tuple[str, ...]:
    if schema.get("x-kubernetes-int-or-string") and not of_default:
        return ("integer", "string")
    return (schema["type"],) if schema.get("type") else ()


def _as_go(value: Any) -> Any:
    """Whole numbers beyond 64 bits are floats to Go's decoder."""
    if isinstance(value, int) and not isinstance(value, bool) and not -(1 << 63) <= value < 1 << 63:
        return float(value)
    return value


def _kind(value: Any) -> tuple[str, str]:
    if isinstance(value, bool):
        return "boolean", ""
    if isinstance(value, int):
        return "integer", "int64"
    if isinstance(value, float):
        return "number", "float64"
    return ("string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"), ""


def _is_whole(value: float) -> bool:
    """Whether a float counts as a whole number, with the tolerance of swag.IsFloat64AJSONInteger."""
    if value != value or abs(value) >= _LARGEST_WHOLE:
        return False
    nearest = float(int(value))
    if value == nearest:
        return True
    return value > 0 and nearest > 0 and (value - nearest) / (value + nearest) < 1e-9


def _out_of_range(value: float, kind: str, form: str) -> str:
    if kind != "integer":
        return ""
    bits = 31 if form == "int32" else 63
    if (isinstance(value, int) or value.is_integer()) and -(1 << bits) <= value < 1 << bits:
        return ""
    return f"integer with format {form}" if form else "integer (default format)"


def _mismatch(value: str, pattern: str) -> str:
    try:
        return "" if regexes.compile(pattern).searches(value) else f"should match '{pattern}'"
    except regexes.RegexError as error:
        return f"should match '{pattern}, but pattern is invalid: {error}'"
    except regexes.TooCostlyError:
        return f"could not be matched with '{pattern}' in reasonable time"


def _is_enumerated(value: Any, known: Any) -> bool:
    """Numbers are compared after conversion to the type of the listed one."""
    if value is None or known is None:
        return False
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if isinstance(known, bool) or not isinstance(known, (int, float)):
            return False
        return int(value) == known if isinstance(known, int) else float(value) == known
    return _equal(value, known)
