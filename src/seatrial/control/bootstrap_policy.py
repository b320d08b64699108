"""The roles and bindings that every new cluster has, as kube-apiserver 1.37 makes them: `cluster-admin`, `view`, ...

They are data (`bootstrap_policy.txt`): one object a line, a role's rules indented below it.

    ClusterRole view to=edit from=view         labelled for aggregation to `edit`, aggregates what is labelled `to=view`
      get,list core,apps pods,deployments      verbs, API groups (`core` is the one without a name), resources, names
      get /healthz,/version                    verbs and URLs
    RoleBinding kube-system/x = Role x : User y Group z ServiceAccount kube-system/w
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

from seatrial.control import access
from seatrial.kube.objects import JsonObject, parse_as, to_wire
from seatrial.kube.objects.access import PolicyRule

API_VERSION: Final = "rbac.authorization.k8s.io/v1"
_GROUP: Final = "rbac.authorization.k8s.io"
_PREFIX: Final = f"{_GROUP}/aggregate-to-"


@cache
def objects() -> tuple[JsonObject, ...]:
    """All of them as they are created."""
    return tuple(_read((Path(__file__).parent / "bootstrap_policy.txt").read_text()))


def reconciled(raw: JsonObject, wanted: JsonObject) -> JsonObject | None:
    """What becomes of a stored role or binding when a cluster starts; None if it stays.

    As upstream, unless the annotation `autoupdate` says otherwise: rules, subjects, labels and aggregation that are
    missing are added, and nothing is taken away.
    """
    metadata = raw["metadata"]
    if (metadata.get("annotations") or {}).get(f"{_GROUP.replace('k8s', 'kubernetes')}/autoupdate") != "true":
        return None
    after = dict(raw)
    had = raw.get("subjects") or []
    if missing := [item for item in wanted.get("subjects") or () if item not in had]:
        after["subjects"] = [*had, *missing]
    rules = raw.get("rules") or []
    own, right = (parse_as(tuple[PolicyRule, ...], each) for each in (rules, wanted.get("rules") or ()))
    if lacking := access.uncovered(own, right):
        after["rules"] = [*rules, *map(to_wire, lacking)]
    labels = {**wanted["metadata"]["labels"], **(metadata.get("labels") or {})}
    if labels != metadata.get("labels"):
        after["metadata"] = {**metadata, "labels": labels}
    if "aggregationRule" in wanted and "aggregationRule" not in raw:
        after["aggregationRule"] = wanted["aggregationRule"]
    return None if after == raw else after


def _read(text: str) -> Iterator[JsonObject]:
    current: JsonObject | None = None
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if line.startswith(" "):
            assert current is not None, "rules stand below their role"
            current["rules"].append(_rule(line.split()))
            continue
        if current is not None:
            yield current
        current = _object(line.split())
    if current is not None:
        yield current


def _object(words: list[str]) -> JsonObject:
    kind, name, *rest = words
    namespace, _, name = name.rpartition("/")
    labels = {"kubernetes.io/bootstrapping": "rbac-defaults"}
    metadata: JsonObject = {
        "name": name,
        "labels": labels,
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    }
    if namespace:
        metadata["namespace"] = namespace
    made: JsonObject = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata}
    if kind.endswith("Binding"):
        _, ref_kind, ref_name, _, *subjects = rest
        made["roleRef"] = {"apiGroup": _GROUP, "kind": ref_kind, "name": ref_name}
        if subjects:
            made["subjects"] = list(_subjects(subjects))
        return made
    labels |= {_PREFIX + word.removeprefix("to="): "true" for word in rest if word.startswith("to=")}
    sources = [word.removeprefix("from=") for word in rest if word.startswith("from=")]
    if sources:
        selectors = [{"matchLabels": {_PREFIX + source: "true"}} for source in sources]
        made["aggregationRule"] = {"clusterRoleSelectors": selectors}
    made["rules"] = []
    return made


def _rule(words: list[str]) -> JsonObject:
    parts = [word.split(",") for word in words]
    if len(parts) == 2:
        return {"nonResourceURLs": parts[1], "verbs": parts[0]}
    groups = ["" if group == "core" else group for group in parts[1]]
    rule: JsonObject = {"apiGroups": groups, "resources": parts[2], "verbs": parts[0]}
    if len(parts) == 4:
        rule["resourceNames"] = parts[3]
    return rule


def _subjects(words: Iterable[str]) -> Iterator[JsonObject]:
    pairs = iter(words)
    for kind, name in zip(pairs, pairs, strict=True):
        if kind == "ServiceAccount":
            namespace, _, name = name.partition("/")
            yield {"kind": kind, "name": name, "namespace": namespace}
        else:
            yield {"apiGroup": _GROUP, "kind": kind, "name": name}
