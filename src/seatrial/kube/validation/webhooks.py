"""Admission by webhooks and by policies (`pkg/apis/admissionregistration`). A CEL expression has
to be there; whether it compiles is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from seatrial.kube.objects import JsonObject
from seatrial.kube.validation.fields import (
    Faults,
    byte_length,
    domain,
    duplicate,
    forbidden,
    invalid,
    is_qualified,
    items,
    label_1035,
    label_selector,
    no_label_1035,
    no_subdomain,
    one_of,
    part,
    path_segment,
    port,
    qualified_name,
    required,
    subdomain,
    too_many,
)
from seatrial.kube.validation.kinds import Rules

_OPERATIONS: Final = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_MUTATING: Final = ("*", "CONNECT", "CREATE", "UPDATE")
_SIDE_EFFECTS: Final = ("None", "NoneOnDryRun")
_REVIEWS: Final = ("v1", "v1beta1")
_MOST_CONDITIONS: Final = 64
_MOST_ANNOTATIONS: Final = 20
_LONGEST_VALUE: Final = 5 * 1024


# --- webhooks ---


def _hooks(raw: JsonObject, minor: int) -> Faults:
    names: set[str] = set()
    for at, hook in items("webhooks", raw, "webhooks"):
        yield from _hook(at, hook)
        yield from _review_versions(f"{at}.admissionReviewVersions", hook.get("admissionReviewVersions") or ())
        name = hook.get("name") or ""
        if name and name in names:
            yield duplicate(f"{at}.name", name)
        names.add(name)


def _hook(path: str, hook: JsonObject) -> Faults:
    yield from domain(f"{path}.name", hook.get("name") or "", least=3)
    for at, rule in items(f"{path}.rules", hook, "rules"):
        yield from _rule(at, rule)
    for name, allowed in (
        ("failurePolicy", ("Fail", "Ignore")),
        ("matchPolicy", ("Equivalent", "Exact")),
        ("reinvocationPolicy", ("IfNeeded", "Never")),
    ):
        if hook.get(name) is not None:
            yield from one_of(f"{path}.{name}", hook[name], allowed)
    if hook.get("sideEffects") is None:
        yield required(f"{path}.sideEffects", f"must specify one of {', '.join(_SIDE_EFFECTS)}")
    else:
        yield from one_of(f"{path}.sideEffects", hook["sideEffects"], _SIDE_EFFECTS)
    seconds = hook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= 30:
        yield invalid(f"{path}.timeoutSeconds", seconds, "the timeout value must be between 1 and 30 seconds")
    for name in ("namespaceSelector", "objectSelector"):
        yield from label_selector(f"{path}.{name}", hook.get(name))
    yield from _client(f"{path}.clientConfig", part(hook, "clientConfig"))
    yield from _conditions(f"{path}.matchConditions", hook)


def _client(path: str, config: JsonObject) -> Faults:
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        yield required(path, "exactly one of url or service is required")
    elif url is not None:
        yield from _url(f"{path}.url", url)
    else:
        yield from _service(f"{path}.service", service or {})


def _url(path: str, url: str) -> Faults:
    form = "; desired format: https://host[/path]"
    try:
        found = urlsplit(url)
        _ = found.port
        if re.search(r"[\x00-\x1f\x7f ]", url.partition("?")[0]) or url.startswith(":") or "%" in found.netloc:
            raise ValueError("invalid character")
        if not found.scheme and ":" in url.split("/")[0]:
            raise ValueError("first path segment in URL cannot contain colon")
    except ValueError as error:
        yield required(path, f"url must be a valid URL: {error}{form}")
        return
    if found.scheme != "https":
        yield invalid(path, found.scheme, f"'https' is the only allowed URL scheme{form}")
    host = found.netloc.rpartition("@")[2]
    if not host:
        yield invalid(path, host, f"host must be specified{form}")
    if "@" in found.netloc:
        yield invalid(path, found.netloc.rpartition("@")[0], "user information is not permitted in the URL")
    if found.fragment:
        yield invalid(path, found.fragment, "fragments are not permitted in the URL")
    if found.query:
        yield invalid(path, found.query, "query parameters are not permitted in the URL")


def _service(path: str, service: JsonObject) -> Faults:
    for name in ("name", "namespace"):
        if not service.get(name):
            yield required(f"{path}.{name}")
    number = service.get("port", 443)
    for each in port(f"{path}.port", number):
        yield invalid(each.field, number, "port is not valid: must be between 1 and 65535, inclusive")
    text = service.get("path") or ""
    if text in ("", "/"):
        return
    if text == "//":
        yield invalid(f"{path}.path", text, "segment[0] may not be empty")
        return
    if not text.startswith("/"):
        yield invalid(f"{path}.path", text, "must start with a '/'")
    for number, step in enumerate(text[1:].removesuffix("/").split("/")):
        if not step:
            yield invalid(f"{path}.path", text, f"segment[{number}] may not be empty")
        else:
            yield from (invalid(f"{path}.path", text, f"segment[{number}]: {why}") for why in no_subdomain(step))


def _review_versions(path: str, versions: Sequence[str]) -> Faults:
    if not versions:
        yield required(path, f"must specify one of {', '.join(_REVIEWS)}")
        return
    for number, version in enumerate(versions):
        if version in versions[:number]:
            yield invalid(f"{path}[{number}]", version, "duplicate version")
        else:
            yield from label_1035(f"{path}[{number}]", version or "")
    if not {*versions} & {*_REVIEWS}:
        yield invalid(path, versions, f"must include at least one of {', '.join(_REVIEWS)}")


def _rule(path: str, rule: JsonObject) -> Faults:
    operations = rule.get("operations") or ()
    if not operations:
        yield required(f"{path}.operations")
    if len(operations) > 1 and "*" in operations:
        yield invalid(f"{path}.operations", operations, "if '*' is present, must not specify other operations")
    for number, operation in enumerate(operations):
        yield from one_of(f"{path}.operations[{number}]", operation, _OPERATIONS)
    for name, what in (("apiGroups", "API groups"), ("apiVersions", "API versions")):
        given = rule.get(name) or ()
        if not given:
            yield required(f"{path}.{name}")
        if len(given) > 1 and "*" in given:
            yield invalid(f"{path}.{name}", given, f"if '*' is present, must not specify other {what}")
    for number, version in enumerate(rule.get("apiVersions") or ()):
        if not version:
            yield required(f"{path}.apiVersions[{number}]")
    yield from _resources(f"{path}.resources", rule.get("resources") or ())
    if rule.get("scope") is not None:
        yield from one_of(f"{path}.scope", rule["scope"], ("*", "Cluster", "Namespaced"))


def _resources(path: str, resources: Sequence[str]) -> Faults:
    if not resources:
        yield required(path)
    whole: set[str] = set()
    subresources: set[str] = set()
    plain = False
    for number, text in enumerate(resources):
        at = f"{path}[{number}]"
        if not text:
            yield required(at)
            continue
        name, slash, sub = text.partition("/")
        if not slash:
            plain = text != "*"
            continue
        if name in whole:
            yield invalid(at, text, f"if '{name}/*' is present, must not specify {text}")
        if sub in subresources:
            yield invalid(at, text, f"if '*/{sub}' is present, must not specify {text}")
        if sub == "*":
            whole.add(name)
        if name == "*":
            subresources.add(sub)
    if len(resources) > 1 and "*/*" in resources:
        yield invalid(path, resources, "if '*/*' is present, must not specify other resources")
    if "*" in resources and plain:
        why = "if '*' is present, must not specify other resources without subresources"
        yield invalid(path, resources, why)


def _conditions(path: str, holder: JsonObject) -> Faults:
    given = holder.get("matchConditions") or ()
    if len(given) > _MOST_CONDITIONS:
        yield too_many(path, len(given), _MOST_CONDITIONS)
    names: set[str] = set()
    for at, each in items(path, holder, "matchConditions"):
        name = each.get("name") or ""
        if not (each.get("expression") or "").strip():
            yield required(f"{at}.expression")
        if not name:
            yield required(f"{at}.name")
        else:
            yield from qualified_name(f"{at}.name", name)
            if name in names:
                yield duplicate(f"{at}.name", name)
        names.add(name)


# --- policies ---


def _policy(raw: JsonObject, minor: int) -> Faults:
    spec = part(raw, "spec")
    yield from _policy_frame(spec)
    for at, variable in items("spec.variables", spec, "variables"):
        yield from _variable(at, variable)
    if not spec.get("validations") and not spec.get("auditAnnotations"):
        why = "validations or auditAnnotations must contain at least one item"
        yield required("spec.validations", why)
        yield required("spec.auditAnnotations", why)
        return
    for at, each in items("spec.validations", spec, "validations"):
        yield from _validation(at, each)
    yield from _audit_annotations(spec, part(raw, "metadata").get("name") or "")


def _policy_frame(spec: JsonObject) -> Faults:
    yield from one_of("spec.failurePolicy", spec.get("failurePolicy", "Fail"), ("Fail", "Ignore"))
    if spec.get("paramKind") is not None:
        yield from _param_kind("spec.paramKind", spec["paramKind"])
    constraints = spec.get("matchConstraints")
    if constraints is None:
        yield required("spec.matchConstraints")
    else:
        yield from _match("spec.matchConstraints", constraints)
        if not constraints.get("resourceRules"):
            yield required("spec.matchConstraints.resourceRules")
    yield from _conditions("spec.matchConditions", spec)


def _param_kind(path: str, held: JsonObject) -> Faults:
    version, kind, at = held.get("apiVersion") or "", held.get("kind") or "", f"{path}.apiVersion"
    group, _, name = version.rpartition("/")
    if not version:
        yield required(at)
    elif version.count("/") > 1:
        yield invalid(at, version, f"unexpected GroupVersion string: {version}")
    else:
        if group and (wrong := ",".join(no_subdomain(group))):
            yield invalid(at, group, wrong)
        if not name:
            yield invalid(at, version, "version must be specified")
        elif wrong := ",".join(no_label_1035(name)):
            yield invalid(at, name, wrong)
    if not kind:
        yield required(f"{path}.kind")
    elif wrong := ",".join(no_label_1035(kind.lower())):
        yield invalid(f"{path}.kind", kind, f"may have mixed case, but should otherwise match: {wrong}")


def _match(path: str, held: JsonObject) -> Faults:
    yield from one_of(f"{path}.matchPolicy", held.get("matchPolicy", "Equivalent"), ("Equivalent", "Exact"))
    for name in ("namespaceSelector", "objectSelector"):
        yield from label_selector(f"{path}.{name}", held.get(name))
    for name in ("resourceRules", "excludeResourceRules"):
        for at, rule in items(f"{path}.{name}", held, name):
            names = rule.get("resourceNames") or ()
            for number, each in enumerate(names):
                yield from path_segment(f"{at}.resourceNames[{number}]", each or "")
                if each in names[:number]:
                    yield duplicate(f"{at}.resourceNames[{number}]", each)
            yield from _rule(at, rule)


_IDENTIFIER: Final = re.compile("[_a-zA-Z][_a-zA-Z0-9]*")
_RESERVED: Final = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)


def _variable(path: str, variable: JsonObject) -> Faults:
    name = variable.get("name") or ""
    if not name:
        yield required(f"{path}.name", "name is not specified")
    elif not _IDENTIFIER.fullmatch(name) or name in _RESERVED:
        yield invalid(f"{path}.name", name, "name is not a valid CEL identifier")
    if not (variable.get("expression") or "").strip():
        yield required(f"{path}.expression", "expression is not specified")


def _validation(path: str, each: JsonObject) -> Faults:
    message, expression = each.get("message") or "", (each.get("expression") or "").strip()
    telling = (each.get("messageExpression") or "").strip()
    if not expression:
        yield required(f"{path}.expression", "expression is not specified")
    if message and not message.strip():
        yield invalid(f"{path}.message", message, "message must be non-empty if specified")
    elif re.search(r"[\n\r]", message.strip()):
        yield invalid(f"{path}.message", message, "message must not contain line breaks")
    elif re.search(r"[\n\r]", message.strip()) or (re.search(r"[\n\r]", expression) and not message.strip()):
        why = "message must be specified if expression contains line breaks"
        yield required(f"{path}.message", why)
    if each.get("messageExpression") and not telling:
        yield invalid(f"{path}.messageExpression", each["messageExpression"], "must be non-empty if specified")
    if each.get("reason") is not None:
        yield from one_of(f"{path}.reason", each["reason"], ("Forbidden", "Invalid", "RequestEntityTooLarge"))


def _audit_annotations(spec: JsonObject, name: str) -> Faults:
    given, path = spec.get("auditAnnotations") or (), "spec.auditAnnotations"
    if len(given) > _MOST_ANNOTATIONS:
        yield invalid(path, given, f"must not have more than {_MOST_ANNOTATIONS} auditAnnotations")
    keys: set[str] = set()
    for at, each in items(path, spec, "auditAnnotations"):
        key, value = each.get("key") or "", (each.get("valueExpression") or "").strip()
        if not name:
            yield invalid(f"{at}.key", key, "requires metadata.name be non-empty")
        elif not is_qualified(f"{name}/{key}"):
            yield from qualified_name(f"{at}.key", f"{name}/{key}")
        if not value:
            yield required(f"{at}.valueExpression", "valueExpression is not specified")
        elif byte_length(value) > _LONGEST_VALUE:
            yield required(f"{at}.valueExpression", f"must not exceed {_LONGEST_VALUE} bytes in length")
        if key in keys:
            yield duplicate(f"{at}.key", key)
        keys.add(key)


def _mutating_policy(raw: JsonObject, minor: int) -> Faults:
    spec = part(raw, "spec")
    yield from _policy_frame(spec)
    yield from _mutating_operations("spec.matchConstraints", part(spec, "matchConstraints"))
    for at, variable in items("spec.variables", spec, "variables"):
        yield from _variable(at, variable)
    if not spec.get("mutations"):
        yield required("spec.mutations", "mutations must contain at least one item")
    for at, each in items("spec.mutations", spec, "mutations"):
        yield from _mutation(at, each)
    policy = spec.get("reinvocationPolicy") or ""
    if not policy:
        yield required("spec.reinvocationPolicy")
    else:
        yield from one_of("spec.reinvocationPolicy", policy, ("IfNeeded", "Never"))


def _mutating_operations(path: str, held: JsonObject) -> Faults:
    for _, rule in items("", held, "resourceRules"):
        for operation in rule.get("operations") or ():
            yield from one_of(f"{path}.resourceRules.operations", operation, _MUTATING)


def _mutation(path: str, each: JsonObject) -> Faults:
    kind = each.get("patchType") or ""
    fields = {"JSONPatch": "jsonPatch", "ApplyConfiguration": "applyConfiguration"}
    if not kind:
        yield required(f"{path}.patchType")
        return
    if kind not in fields:
        yield from one_of(f"{path}.patchType", kind, ("ApplyConfiguration", "JSONPatch"))
        return
    mine = fields[kind]
    (other,) = {*fields.values()} - {mine}
    if each.get(mine) is None:
        yield required(f"{path}.{mine}", f"must be specified when patchType is {kind}")
    elif not (each[mine].get("expression") or "").strip():
        yield required(f"{path}.{mine}.expression")
    if each.get(other) is not None:
        yield invalid(f"{path}.{other}", f"{{{other}}}", f"must not be specified when patchType is {kind}")


def _binding(raw: JsonObject, minor: int) -> Faults:
    yield from _binding_frame(part(raw, "spec"))
    spec = part(raw, "spec")
    actions, at = spec.get("validationActions") or (), "spec.validationActions"
    for number, action in enumerate(actions):
        yield from one_of(f"{at}[{number}]", action, ("Audit", "Deny", "Warn"))
        if action in actions[:number]:
            yield duplicate(f"{at}[{number}]", action)
    if {"Deny", "Warn"} <= {*actions}:
        why = (
            "must not contain both Deny and Warn (repeating the same validation failure information in the API response"
            " and headers serves no purpose)"
        )
        yield invalid(at, actions, why)
    if not actions:
        yield required(at)


def _mutating_binding(raw: JsonObject, minor: int) -> Faults:
    spec = part(raw, "spec")
    yield from _binding_frame(spec)
    yield from _mutating_operations("spec.matchResources", part(spec, "matchResources"))


def _binding_frame(spec: JsonObject) -> Faults:
    if not spec.get("policyName"):
        yield required("spec.policyName")
    else:
        yield from subdomain("spec.policyName", spec["policyName"])
    if spec.get("paramRef") is not None:
        yield from _param_reference("spec.paramRef", spec["paramRef"])
    if spec.get("matchResources") is not None:
        yield from _match("spec.matchResources", spec["matchResources"])


def _param_reference(path: str, held: JsonObject) -> Faults:
    name, selector = held.get("name") or "", held.get("selector")
    exclusive = "name and selector are mutually exclusive"
    if name:
        yield from path_segment(f"{path}.name", name)
        if selector is not None:
            yield forbidden(f"{path}.name", exclusive)
    if selector is not None:
        yield from label_selector(f"{path}.selector", selector)
        if name:
            yield forbidden(f"{path}.selector", exclusive)
    if not name and selector is None:
        yield required(path, "one of name or selector must be specified")
    action = held.get("parameterNotFoundAction") or ""
    if not action:
        yield required(f"{path}.parameterNotFoundAction")
    else:
        yield from one_of(f"{path}.parameterNotFoundAction", action, ("Deny", "Allow"))


RULES: Final = {
    "ValidatingWebhookConfiguration": Rules(valid=_hooks, core=False, remeta=True),
    "MutatingWebhookConfiguration": Rules(valid=_hooks, core=False, remeta=True),
    "ValidatingAdmissionPolicy": Rules(valid=_policy, core=False, remeta=True),
    "ValidatingAdmissionPolicyBinding": Rules(valid=_binding, core=False, remeta=True),
    "MutatingAdmissionPolicy": Rules(valid=_mutating_policy, core=False, remeta=True),
    "MutatingAdmissionPolicyBinding": Rules(valid=_mutating_binding, core=False, remeta=True),
}
