"""Which CustomResourceDefinitions are accepted: upstream's `ValidateCustomResourceDefinition`, in its words.

As upstream looks at an object in which what all versions have alike stands once above them, its paths differ from
those that people wrote: `spec.validation.openAPIV3Schema` where one schema holds for all versions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from seatrial.kube import faults
from seatrial.kube.customresources import formats, shape, structural
from seatrial.kube.customresources.invariants import dns_1035
from seatrial.kube.faults import Fault
from seatrial.kube.objects.base import JsonObject

APPROVAL: Final = "api-approved.kubernetes.io"
MAX_SELECTABLE: Final = 8
_COLUMN_TYPES: Final = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS: Final = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_SHARED: Final = {
    "schema": "validation",
    "subresources": "subresources",
    "additionalPrinterColumns": "additionalPrinterColumns",
    "selectableFields": "selectableFields",
}
"""What versions may have alike, and where upstream then sees it."""
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_SUBDOMAIN_RULE: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_IMMUTABLE: Final = "field is immutable"
_APPROVAL_TEXT: Final = f'protected groups must have approval annotation "{APPROVAL}"'
_APPROVAL_PAGE: Final = "see https://github.com/kubernetes/enhancements/pull/1111"


def defaulted(raw: JsonObject) -> JsonObject:
    """The definition with upstream's defaults: singular and list names, no conversion, the storage version stored."""
    spec = raw.get("spec") or {}
    names = dict(spec.get("names") or {})
    kind = names.get("kind") or ""
    if not names.get("singular"):
        names["singular"] = kind.lower()
    if not names.get("listKind") and kind:
        names["listKind"] = f"{kind}List"
    return {**raw, "spec": {**spec, "names": names, "conversion": spec.get("conversion") or {"strategy": "None"}}}


def storing(spec: JsonObject, before: JsonObject) -> list[str]:
    """`status.storedVersions` when `spec` is written."""
    stored = list(before.get("storedVersions") or ())
    storage = next((each.get("name") for each in spec.get("versions") or () if each.get("storage")), None)
    return [*stored, storage] if storage is not None and storage not in stored else stored


def definition_faults(raw: JsonObject, before: JsonObject | None) -> list[Fault]:
    """Why the definition is refused, when it is made (`before` None) or changed."""
    spec: JsonObject = raw.get("spec") or {}
    found: list[Fault] = []
    if before is None:
        found += _name(raw["metadata"].get("name") or "", spec)
    found += _spec(spec)
    if before is not None:
        found += _unchanged(raw, before)
    found += _stored_versions(raw)
    found += _approval(raw, before)
    if spec.get("preserveUnknownFields") and not ((before or {}).get("spec") or {}).get("preserveUnknownFields"):
        why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        found.append(faults.invalid("spec.preserveUnknownFields", True, why))
    return found


def warnings(raw: JsonObject, before: JsonObject | None, *, minor: int) -> list[str]:
    """What a client is told about an accepted definition; not again what it was told before."""
    old = set(_warnings(before, minor)) if before is not None else set()
    return [each for each in _warnings(raw, minor) if each not in old]


def _warnings(raw: JsonObject, minor: int) -> Iterator[str]:
    schemas = [_schema_of(each) for each in (raw.get("spec") or {}).get("versions") or ()]
    unlisted: set[str] = set()
    rules = 0
    seen: list[JsonObject] = []
    for schema in schemas:
        if not isinstance(schema, dict) or schema in seen:
            continue  # one schema of all versions is one to upstream
        seen.append(schema)
        rules += structural.rules(schema)
        for each in structural.subschemas(schema):
            form, kind = each.get("format") or "", each.get("type") or ""
            if form and not formats.known(form, kind, minor):
                yield f"unrecognized format {faults.quoted(form)}"
            inner = (shape.items(each) or {}).get("type")
            if each.get("x-kubernetes-list-type") == "set" and inner in ("object", "array"):
                unlisted.add(
                    f'x-kubernetes-list-type: set for items of type "{inner}" is not supported by server-side apply or '
                    "CEL validation rules"
                )
    yield from sorted(unlisted)
    if rules:
        yield f"seatrial stores x-kubernetes-validations and does not evaluate them: {rules} CEL rules have no effect"


def _schema_of(version: JsonObject) -> Any:
    return (version.get("schema") or {}).get("openAPIV3Schema")


def _name(name: str, spec: JsonObject) -> Iterator[Fault]:
    if name != f"{(spec.get('names') or {}).get('plural') or ''}.{spec.get('group') or ''}":
        yield faults.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')


def _spec(spec: JsonObject) -> Iterator[Fault]:
    group = spec.get("group") or ""
    if not group:
        yield faults.required("spec.group")
    elif not _SUBDOMAIN.fullmatch(group) or len(group) > 253:
        yield faults.invalid("spec.group", group, _SUBDOMAIN_RULE)
    elif "." not in group:
        yield faults.invalid("spec.group", group, "should be a domain with at least one dot")
    scope = spec.get("scope") or ""
    if scope not in ("Cluster", "Namespaced"):
        known = ("Cluster", "Namespaced")
        yield faults.unsupported("spec.scope", scope, known) if scope else faults.required("spec.scope")
    versions = spec.get("versions") or []
    has_defaults = any(structural.has_defaults(_schema_of(each)) for each in versions)
    if spec.get("preserveUnknownFields") and has_defaults:
        why = "must be false in order to use defaults in the schema"
        yield faults.invalid("spec.preserveUnknownFields", True, why)
    shared = {key for key in _SHARED if versions and all(each.get(key) == versions[0].get(key) for each in versions)}
    for at, each in enumerate(versions):
        if not isinstance(_schema_of(each), dict):
            yield faults.required(f"spec.versions[{at}].schema.openAPIV3Schema")
    for at, each in enumerate(versions):
        yield from _version(each, f"spec.versions[{at}]", shared)
    names = [each.get("name") or "" for each in versions]
    if len(set(names)) != len(names):
        yield _about_versions(versions, shared, "must contain unique version names")
    if sum(bool(each.get("storage")) for each in versions) != 1:
        yield _about_versions(versions, shared, "must have exactly one version marked as storage version")
    if names and (why := dns_1035(names[0])):
        yield faults.invalid("spec.version", names[0], why)
    yield from _required_names(spec.get("names") or {})
    yield from _names(spec.get("names") or {}, "spec.names")
    if versions:
        yield from _shared_parts(versions, shared)
    yield from _conversion(spec.get("conversion") or {})


def _about_versions(versions: list[JsonObject], shared: set[str], why: str) -> Fault:
    """All versions are wrong together; upstream shows them as Go's structs, without what stands above them."""

    def own(version: JsonObject, key: str) -> Any:
        return None if key in shared else version.get(key)

    shown = [
        {
            "Name": each.get("name") or "",
            "Served": bool(each.get("served")),
            "Storage": bool(each.get("storage")),
            "Deprecated": bool(each.get("deprecated")),
            "DeprecationWarning": each.get("deprecationWarning"),
            "Schema": own(each, "schema"),
            "Subresources": own(each, "subresources"),
            "AdditionalPrinterColumns": own(each, "additionalPrinterColumns"),
            "SelectableFields": own(each, "selectableFields"),
        }
        for each in versions
    ]
    text = "[" + ",".join("{" + ",".join(f'"{k}":{faults.as_json(v)}' for k, v in e.items()) + "}" for e in shown) + "]"
    return Fault("FieldValueInvalid", "spec.versions", f"Invalid value: {text}: {why}")


def _version(version: JsonObject, path: str, shared: set[str]) -> Iterator[Fault]:
    name = version.get("name") or ""
    if why := dns_1035(name):
        yield faults.invalid(f"{path}.name", name, why)
    yield from _deprecation(version, path)
    has_status = (version.get("subresources") or {}).get("status") is not None
    schema = _schema_of(version)
    if "schema" not in shared and isinstance(schema, dict):
        where = f"{path}.schema.openAPIV3Schema"
        yield from structural.schema_faults(schema, where, has_status=has_status)
    if "subresources" not in shared:
        yield from _subresources(version.get("subresources") or {}, f"{path}.subresources")
    if "additionalPrinterColumns" not in shared:
        yield from _columns(version.get("additionalPrinterColumns") or (), f"{path}.additionalPrinterColumns")
    if "selectableFields" not in shared and version.get("selectableFields"):
        if "schema" in shared or not isinstance(schema, dict):
            why = "may only be set when `version.schema.openAPIV3Schema` is not included"
            yield faults.invalid(f"{path}.selectableFields", "", why)
        else:
            yield from _selectable(version["selectableFields"], schema, f"{path}.selectableFields")


def _shared_parts(versions: list[JsonObject], shared: set[str]) -> Iterator[Fault]:
    first = versions[0]
    schema = _schema_of(first)
    has_status = any((each.get("subresources") or {}).get("status") is not None for each in versions)
    if "schema" in shared and isinstance(schema, dict):
        where = "spec.validation.openAPIV3Schema"
        yield from structural.schema_faults(schema, where, has_status=has_status)
    if "subresources" in shared:
        yield from _subresources(first.get("subresources") or {}, "spec.subresources")
    if "additionalPrinterColumns" in shared:
        yield from _columns(first.get("additionalPrinterColumns") or (), "spec.additionalPrinterColumns")
    if "selectableFields" in shared and first.get("selectableFields"):
        if "schema" not in shared or not isinstance(schema, dict):
            why = "may only be set when validations.schema is included"
            yield faults.invalid("spec.selectableFields", "", why)
        else:
            yield from _selectable(first["selectableFields"], schema, "spec.selectableFields")


def _deprecation(version: JsonObject, path: str) -> Iterator[Fault]:
    text = version.get("deprecationWarning")
    if text is None:
        return
    where = f"{path}.deprecationWarning"
    if not version.get("deprecated"):
        yield faults.invalid(where, text, "can only be set for deprecated versions")
        return
    if len(text.encode()) > 256:
        yield faults.invalid(where, text, "must be <= 256 characters long")
    if not text:
        yield faults.invalid(where, text, "must not be an empty string")
    at = next((at for at, letter in enumerate(text) if not letter.isprintable()), None)
    if at is not None:
        why = "must only contain printable UTF-8 characters; non-printable character found at index"
        yield faults.invalid(where, text, f"{why} {len(text[:at].encode())}")


def _required_names(names: JsonObject) -> Iterator[Fault]:
    for key in ("plural", "singular", "kind", "listKind"):
        if not names.get(key):
            yield faults.required(f"spec.names.{key}")


def _names(names: JsonObject, path: str) -> Iterator[Fault]:
    for key in ("plural", "singular"):
        if names.get(key) and (why := dns_1035(names[key])):
            yield faults.invalid(f"{path}.{key}", names[key], why)
    for key in ("kind", "listKind"):
        if names.get(key) and (why := dns_1035(names[key].lower())):
            text = f"may have mixed case, but should otherwise match: {why}"
            yield faults.invalid(f"{path}.{key}", names[key], text)
    for key in ("shortNames", "categories"):
        for at, each in enumerate(names.get(key) or ()):
            if why := dns_1035(each):
                yield faults.invalid(f"{path}.{key}[{at}]", each, why)
        if key == "shortNames" and names.get("kind") and names["kind"] == names.get("listKind"):
            yield faults.invalid(f"{path}.listKind", names["listKind"], "kind and listKind may not be the same")


def _subresources(subresources: JsonObject, path: str) -> Iterator[Fault]:
    scale = subresources.get("scale")
    if scale is None:
        return
    for key, starts, where in (
        ("specReplicasPath", (".spec.",), "under .spec"),
        ("statusReplicasPath", (".status.",), "under .status"),
        ("labelSelectorPath", (".spec.", ".status."), "under either .spec or .status"),
    ):
        value = scale.get(key) or ""
        if not value:
            if key != "labelSelectorPath":
                yield faults.required(f"{path}.scale.{key}")
        elif not value.startswith("."):
            yield faults.invalid(f"{path}.scale.{key}", value, "must be a simple json path starting with .")
        elif not value.startswith(starts):
            yield faults.invalid(f"{path}.scale.{key}", value, f"should be a json path {where}")


def _columns(columns: Any, path: str) -> Iterator[Fault]:
    for at, each in enumerate(columns):
        here = f"{path}[{at}]"
        kind, form, value = (each.get(key) or "" for key in ("type", "format", "jsonPath"))
        if not each.get("name"):
            yield faults.required(f"{here}.name")
        why = f"must be one of {','.join(_COLUMN_TYPES)}"
        if not kind:
            yield faults.required(f"{here}.type", why)
        elif kind not in _COLUMN_TYPES:
            yield faults.invalid(f"{here}.type", kind, why)
        if form and form not in _COLUMN_FORMATS:
            yield faults.invalid(f"{here}.format", form, f"must be one of {','.join(_COLUMN_FORMATS)}")
        if not value:
            yield faults.required(f"{here}.JSONPath")
        elif not value.startswith("."):
            yield faults.invalid(f"{here}.JSONPath", value, "must be a simple json path starting with .")


def _selectable(fields: Any, schema: JsonObject, path: str) -> Iterator[Fault]:
    seen: set[str] = set()
    for at, each in enumerate(fields):
        where, text = f"{path}[{at}].jsonPath", each.get("jsonPath") or ""
        if not text:
            yield faults.required(where)
            continue
        found, why = _followed(text, schema)
        if found is None:
            yield faults.invalid(where, text, f"is an invalid path: {why}")
            continue
        if text.startswith(".metadata"):
            yield faults.invalid(where, text, "must not point to fields in metadata")
        if found.get("type") not in ("string", "boolean", "integer"):
            why = (
                "must point to a field of type string, boolean or integer. Enum string fields and strings with formats "
                "are allowed."
            )
            yield faults.invalid(where, text, why)
        if text in seen:
            yield faults.duplicate(where, text)
        seen.add(text)
    if len(seen) > MAX_SELECTABLE:
        yield faults.too_many(path, len(seen), MAX_SELECTABLE)


def _followed(path: str, schema: JsonObject) -> tuple[JsonObject | None, str]:
    """The schema that a simple path leads to, or what is wrong with the path."""
    if path.startswith("["):
        return None, "array notation is not allowed"
    if not path.startswith("."):
        first = re.split(r"[.\[\]]", path)[0]
        return None, f"expected [ or . but got: {first}"
    for name in path[1:].split("."):
        if "[" in name or "]" in name:
            return None, "array notation is not allowed"
        if not name:
            return None, "unexpected end of JSON path"
        known = shape.properties(schema)
        inner = known.get(name) if known else shape.additional(schema)[1]
        if inner is None:
            return None, "does not refer to a valid field"
        schema = inner
    return schema, ""


def _conversion(conversion: JsonObject) -> Iterator[Fault]:
    strategy = conversion.get("strategy") or ""
    if strategy not in ("None", "Webhook"):
        where, known = "spec.conversion.strategy", ("None", "Webhook")
        yield faults.unsupported(where, strategy, known) if strategy else faults.required(where)
    webhook = conversion.get("webhook")
    if strategy == "Webhook":
        client = (webhook or {}).get("clientConfig")
        if client is None:
            why = "required when strategy is set to Webhook"
            yield faults.required("spec.conversion.webhookClientConfig", why)
        elif (client.get("url") is None) == (client.get("service") is None):
            why = "exactly one of url or service is required"
            yield faults.required("spec.conversion.webhookClientConfig", why)
        versions = (webhook or {}).get("conversionReviewVersions") or []
        if not versions:
            yield faults.required("spec.conversion.conversionReviewVersions")
        elif not {"v1", "v1beta1"} & set(versions):
            why = "must include at least one of v1, v1beta1"
            yield faults.invalid("spec.conversion.conversionReviewVersions", versions, why)
    elif webhook:
        why = "should not be set when strategy is not set to Webhook"
        if webhook.get("clientConfig") is not None:
            yield faults.forbidden("spec.conversion.webhookClientConfig", why)
        if webhook.get("conversionReviewVersions"):
            yield faults.forbidden("spec.conversion.conversionReviewVersions", why)


def _unchanged(raw: JsonObject, before: JsonObject) -> Iterator[Fault]:
    spec, old = raw.get("spec") or {}, before["spec"]
    names, old_names = spec.get("names") or {}, old["names"]
    established = any(
        each["type"] == "Established" and each["status"] == "True"
        for each in (before.get("status") or {}).get("conditions") or ()
    )
    if established and spec.get("scope") != old.get("scope"):
        yield faults.invalid("spec.scope", spec.get("scope") or "", _IMMUTABLE)
    if established and names.get("kind") != old_names.get("kind"):
        yield faults.invalid("spec.names.kind", names.get("kind") or "", _IMMUTABLE)
    if spec.get("group") != old.get("group"):
        yield faults.invalid("spec.group", spec.get("group") or "", _IMMUTABLE)
    if names.get("plural") != old_names.get("plural"):
        yield faults.invalid("spec.names.plural", names.get("plural") or "", _IMMUTABLE)


def _stored_versions(raw: JsonObject) -> Iterator[Fault]:
    stored = (raw.get("status") or {}).get("storedVersions") or []
    path = "status.storedVersions"
    if not stored:
        yield faults.invalid(path, stored or None, "must have at least one stored version")
        return
    left = dict.fromkeys(stored)
    for version in (raw.get("spec") or {}).get("versions") or ():
        name = version.get("name") or ""
        if version.get("storage") and name not in left:
            yield faults.invalid(path, stored, f"must have the storage version {name}")
        left.pop(name, None)
    for at, each in enumerate(stored):
        if each in left:
            why = (
                f"missing from spec.versions; {each} was previously a storage version, and must remain in "
                f"spec.versions until a storage migration ensures no data remains persisted in {each} and removes "
                f"{each} from status.storedVersions"
            )
            yield faults.invalid(f"{path}[{at}]", each, why)


def _approval(raw: JsonObject, before: JsonObject | None) -> Iterator[Fault]:
    """Groups of Kubernetes' own domains need an approval (or the word "unapproved" and a reason)."""
    group = (raw.get("spec") or {}).get("group") or ""
    if not f".{group}".endswith((".k8s.io", ".kubernetes.io")):
        return
    text = (raw["metadata"].get("annotations") or {}).get(APPROVAL, "")
    if before is not None and _approved(text) == _approved(
        (before["metadata"].get("annotations") or {}).get(APPROVAL, "")
    ):
        return
    where = f"metadata.annotations[{APPROVAL}]"
    if _approved(text) == "missing":
        yield faults.required(where, f"{_APPROVAL_TEXT}, {_APPROVAL_PAGE}")
    elif _approved(text) == "invalid":
        why = f'{_APPROVAL_TEXT} with either a URL or a reason starting with "unapproved", {_APPROVAL_PAGE}'
        yield faults.invalid(where, text, why)


def _approved(text: str) -> str:
    if not text:
        return "missing"
    if text.startswith("unapproved"):
        return "bypassed"
    try:
        parts = urlsplit(text)
    except ValueError:
        return "invalid"
    return "approved" if parts.scheme and parts.netloc else "invalid"
