"""What there is: objects of the input, what the cluster makes by itself, and what others will make while it runs.

Rules: a built-in kind is called by its name, any other `Kind.group`, so that a custom `Service` is none.
Four things bring objects that no file has: the cluster (`default` accounts, bootstrap roles), other objects
(a Certificate its Secret, a StatefulSet its claims), workloads whose account may create them by a role of the input,
and operators that turn a custom resource into pods and whatever else. The last two are possibilities only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from seatrial.check.system import Entry, Path, System
from seatrial.control import bootstrap_policy
from seatrial.kube import schemas
from seatrial.kube.objects import JsonObject
from seatrial.kube.schemas.resources import plurals, scopes

TEMPLATES: Final[Mapping[str, Path]] = {
    "Pod": (),
    "PodTemplate": ("template",),
    "Deployment": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
"""Where each kind has its pods' template; a custom kind with containers below `spec.template.spec` has one, too."""

GROUPS: Final = ("containers", "initContainers", "ephemeralContainers")

_MADE: Final[Mapping[str, frozenset[tuple[str, str]]]] = {
    "ConfigMap": frozenset((("", "kube-root-ca.crt"), ("kube-system", "extension-apiserver-authentication"))),
    "Namespace": frozenset(("", name) for name in ("default", "kube-node-lease", "kube-public", "kube-system")),
    "PriorityClass": frozenset((("", "system-cluster-critical"), ("", "system-node-critical"))),
    "Service": frozenset((("default", "kubernetes"), ("kube-system", "kube-dns"))),
    "ServiceAccount": frozenset((("", "default"),)),
}
"""What every cluster has, by namespace (empty: all, or none)."""

_SECRETS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "Certificate.cert-manager.io": ("spec.secretName",),
    "ExternalSecret.external-secrets.io": ("spec.target.name", "metadata.name"),
    "SealedSecret.bitnami.com": ("spec.template.metadata.name", "metadata.name"),
    "SecretProviderClass.secrets-store.csi.x-k8s.io": ("spec.secretObjects[*].secretName",),
    "VaultStaticSecret.secrets.hashicorp.com": ("spec.destination.name",),
    "VaultDynamicSecret.secrets.hashicorp.com": ("spec.destination.name",),
}
"""Custom resources whose purpose is a Secret, and where they name it; the first field that is there counts."""

_PASSIVE: Final = frozenset(
    (
        "autoscaling.k8s.io",
        "cert-manager.io",
        "cilium.io",
        "external-secrets.io",
        "gateway.networking.k8s.io",
        "keda.sh",
        "kustomize.config.k8s.io",
        "networking.istio.io",
        "policy.networking.k8s.io",
        "secrets-store.csi.x-k8s.io",
        "security.istio.io",
        "snapshot.storage.k8s.io",
        "telemetry.istio.io",
        "traefik.io",
    )
)
_PASSIVE_KINDS: Final = frozenset(
    f"{kind}.monitoring.coreos.com"
    for kind in ("AlertmanagerConfig", "PodMonitor", "Probe", "PrometheusRule", "ScrapeConfig", "ServiceMonitor")
)
"""Groups and kinds of custom resources from which no operator makes pods."""

_BY_THE_CLUSTER: Final = frozenset(
    (
        "apps.kubernetes.io/pod-index",
        "batch.kubernetes.io/controller-uid",
        "batch.kubernetes.io/job-completion-index",
        "batch.kubernetes.io/job-name",
        "controller-revision-hash",
        "controller-uid",
        "job-name",
        "pod-template-generation",
        "pod-template-hash",
        "statefulset.kubernetes.io/pod-name",
    )
)
"""Labels that controllers put on pods."""


@dataclass(frozen=True, slots=True)
class Template:
    """Pods that the system has: whose they are, where their template stands, what they are called by."""

    entry: Entry
    at: Path
    labels: Mapping[str, str]
    spec: JsonObject

    @property
    def namespace(self) -> str:
        return self.entry.key.namespace

    @property
    def ends(self) -> bool:
        """Whether the pods come and go: a Job's."""
        return self.entry.key.kind in ("Job", "CronJob")

    @property
    def steady(self) -> dict[str, str]:
        """The labels of its pods, with those that controllers add and whose values can be told."""
        kind, _, name = self.entry.key
        return {**self.labels, **({"job-name": name, "batch.kubernetes.io/job-name": name} if kind == "Job" else {})}

    def has(self, key: str, values: Iterable[str]) -> bool | None:
        """Whether a label that a controller adds has one of `values` on some pod; None: it is no such label."""
        kind, _, name = self.entry.key
        if key not in _BY_THE_CLUSTER or key in self.steady:
            return None
        if key == "statefulset.kubernetes.io/pod-name":
            replicas = (self.entry.admitted.get("spec") or {}).get("replicas", 1)
            first = (
                ((self.entry.admitted["spec"].get("ordinals")) or {}).get("start", 0) if kind == "StatefulSet" else 0
            )
            numbers = (value.rpartition("-") for value in values)
            return kind == "StatefulSet" and any(
                base == name and digits.isdigit() and first <= int(digits) < first + int(replicas)
                for base, _, digits in numbers
            )
        return True

    def containers(self, *groups: str) -> Iterator[tuple[Path, JsonObject]]:
        for group in groups or GROUPS:
            for index, container in enumerate(items(self.spec, group)):
                yield (*self.at, "spec", group, index), container


@dataclass(frozen=True, slots=True)
class Target:
    """Something a name leads to. Without an entry the cluster, or another object, makes it."""

    entry: Entry | None = None


@dataclass(slots=True)
class Inventory:
    """All of it, indexed once."""

    objects: dict[tuple[str, str], dict[str, Target]] = field(default_factory=dict)
    kinds: dict[int, str] = field(default_factory=dict)
    templates: dict[str, list[Template]] = field(default_factory=dict)
    namespaces: set[str] = field(default_factory=set)
    """Those in which the input has an object."""
    operators: dict[str, list[Entry]] = field(default_factory=dict)
    """Custom resources from which an operator may make anything, by namespace."""
    allowed: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    """What workloads of the input may do at run time: (verb, resource) by namespace, empty for all namespaces."""
    injected: bool = False
    """A webhook of the input changes pods as they are created."""

    def find(self, kind: str, namespace: str, name: str) -> Target | None:
        found = self.objects.get((kind, namespace), {}).get(name)
        if found is None:
            made = _MADE.get(kind, ())
            if (
                ("", name) in made
                or (namespace, name) in made
                or (kind in _ROLES and (namespace, name) in _roles(kind))
            ):
                return Target()
        return found

    def names(self, kind: str, namespace: str) -> Mapping[str, Target]:
        return self.objects.get((kind, namespace), {})

    def elsewhere(self, kind: str, namespace: str, name: str) -> list[tuple[str, Target]]:
        """The namespaces other than this one that have an object of this name."""
        found = ((where, names.get(name)) for (each, where), names in self.objects.items() if each == kind)
        return [(where, target) for where, target in found if target is not None and where != namespace]

    def kind(self, entry: Entry) -> str:
        return self.kinds.get(id(entry)) or kind_of(entry.api_version, entry.key.kind)

    def may(self, kind: str, namespace: str, *verbs: str) -> bool:
        """Whether a workload of the input may do one of `verbs` with objects of this kind."""
        resource = _plural(kind)
        return any(
            {(verb, resource), (verb, "*"), ("*", resource), ("*", "*")} & self.allowed.get(where, set())
            for verb in verbs
            for where in ("", namespace)
        )

    def maker(self, namespace: str, name: str) -> Entry | None:
        """The custom resource after which something is called that an operator may make of it."""
        for entry in self.operators.get(namespace, ()):
            if entry.key.name and (name == entry.key.name or name.startswith(f"{entry.key.name}-")):
                return entry
        return None


def take(system: System, context: Iterable[JsonObject] = ()) -> Inventory:
    """The inventory of the input and of what is known to be there besides (`context`)."""
    inventory = Inventory()
    known = [Entry(raw, raw, None, "") for raw in context if isinstance(raw.get("kind"), str) and "apiVersion" in raw]
    for entry in (*system.entries, *known):
        key = entry.key
        kind = kind_of(entry.api_version, key.kind)
        inventory.kinds[id(entry)] = kind
        inventory.objects.setdefault((kind, key.namespace), {}).setdefault(key.name, Target(entry))
        if key.namespace:
            inventory.namespaces.add(key.namespace)
        _made_by(inventory, kind, entry)
        template = template_of(kind, entry)
        if template is not None:
            inventory.templates.setdefault(key.namespace, []).append(template)
        if "." in kind and kind.partition(".")[2] not in _PASSIVE and kind not in _PASSIVE_KINDS:
            inventory.operators.setdefault(key.namespace, []).append(entry)
        elif kind == "MutatingWebhookConfiguration":
            inventory.injected = inventory.injected or _changes_pods(entry.admitted)
    inventory.allowed = _permissions(inventory)
    return inventory


def template_of(kind: str, entry: Entry) -> Template | None:
    at = TEMPLATES.get(kind, ("spec", "template") if "." in kind else None)
    if at is None:
        return None
    template = value_at(entry.admitted, at)
    spec = template.get("spec") if isinstance(template, dict) else None
    if not isinstance(spec, dict) or ("." in kind and not isinstance(spec.get("containers"), list)):
        return None
    labels = value_at(template, ("metadata", "labels"))
    return Template(entry, at, labels if isinstance(labels, dict) else {}, spec)


@cache
def kind_of(api_version: str, kind: str) -> str:
    group = api_version.rpartition("/")[0]
    if group in _native().get(kind, ()):
        return kind
    return f"{kind}.{group}" if group else kind


def is_own(kind: str) -> bool:
    """Whether Kubernetes has a kind of this name itself."""
    return kind in _native()


def _made_by(inventory: Inventory, kind: str, entry: Entry) -> None:
    namespace, name = entry.key.namespace, entry.key.name
    made: list[tuple[str, str]] = []
    if kind == "StatefulSet":
        spec = entry.admitted.get("spec") or {}
        replicas = spec.get("replicas", 1)
        count = min(replicas, 1000) if isinstance(replicas, int) else 0
        for claim in items(spec, "volumeClaimTemplates"):
            title = (claim.get("metadata") or {}).get("name")
            made += (("PersistentVolumeClaim", f"{title}-{name}-{index}") for index in range(count))
    elif kind == "Ingress" and any(
        str(key).startswith("cert-manager.io/") for key in value_at(entry.admitted, ("metadata", "annotations")) or ()
    ):
        made += (("Secret", str(tls.get("secretName"))) for tls in items(entry.admitted.get("spec") or {}, "tls"))
    elif kind in _SECRETS_OF:
        for path in _SECRETS_OF[kind]:
            if found := [("Secret", value) for _, value in walk(entry.admitted, steps(path)) if isinstance(value, str)]:
                made += found
                break
    elif kind == "Prometheus.monitoring.coreos.com":
        made.append(("Service", "prometheus-operated"))
    elif kind == "Alertmanager.monitoring.coreos.com":
        made.append(("Service", "alertmanager-operated"))
    for what, title in made:
        inventory.objects.setdefault((what, namespace), {}).setdefault(title, Target())


def _permissions(inventory: Inventory) -> dict[str, set[tuple[str, str]]]:
    """What the accounts that workloads of the input run as are allowed to do."""
    running = {
        (template.namespace, str(template.spec.get("serviceAccountName") or "default"))
        for templates in inventory.templates.values()
        for template in templates
    }
    allowed: dict[str, set[tuple[str, str]]] = {}
    for (kind, namespace), names in inventory.objects.items():
        if kind not in ("RoleBinding", "ClusterRoleBinding"):
            continue
        for target in names.values():
            raw = target.entry.admitted if target.entry else {}
            subjects = {(each.get("namespace"), each.get("name")) for each in items(raw, "subjects")}
            if subjects & running:
                reference = raw.get("roleRef") or {}
                allowed.setdefault(namespace, set()).update(_rules(inventory, reference, namespace))
    return allowed


def _rules(inventory: Inventory, reference: JsonObject, namespace: str) -> Iterator[tuple[str, str]]:
    kind, name = str(reference.get("kind")), str(reference.get("name"))
    where = namespace if kind == "Role" else ""
    found = inventory.find(kind, where, name)
    if found is None:
        return
    raw = found.entry.admitted if found.entry else _roles(kind)[where, name]
    for rule in items(raw, "rules"):
        for verb in rule.get("verbs") or ():
            for resource in rule.get("resources") or ():
                yield str(verb), str(resource)


def _changes_pods(raw: JsonObject) -> bool:
    return any(
        {"pods", "*", "*/*"} & set(rule.get("resources") or ())
        for webhook in items(raw, "webhooks")
        for rule in items(webhook, "rules")
    )


_ROLES: Final = frozenset(("Role", "ClusterRole"))


@cache
def _roles(kind: str) -> Mapping[tuple[str, str], JsonObject]:
    """The roles of a new cluster, by namespace and name."""
    return {
        (raw["metadata"].get("namespace", ""), raw["metadata"]["name"]): raw
        for raw in bootstrap_policy.objects()
        if raw["kind"] == kind
    }


@cache
def _native() -> Mapping[str, frozenset[str]]:
    """The groups of each built-in kind."""
    found: dict[str, set[str]] = {}
    for api_version, kind in (*scopes(), *schemas.load().kinds):
        found.setdefault(kind, set()).add(api_version.rpartition("/")[0])
    return {kind: frozenset(groups - {"monitoring.coreos.com"}) for kind, groups in found.items()}


@cache
def own_groups() -> frozenset[str]:
    """The API groups that Kubernetes serves itself."""
    groups = frozenset(api_version.rpartition("/")[0] for api_version, _ in schemas.load().kinds)
    return groups - {"monitoring.coreos.com"}


@cache
def _plural(kind: str) -> str:
    plain = kind.partition(".")[0]
    return next((plural for (_, each), plural in plurals().items() if each == plain), f"{plain.lower()}s")


Steps = tuple[str, ...]


@cache
def steps(path: str) -> Steps:
    r"""`spec.tls[*].name` as steps; `*` is every item of a list, `\.` a dot in a name."""
    text = path.replace("\\.", "\0").replace("[*]", ".*")
    return tuple(step.replace("\0", ".") for step in text.split(".") if step)


def walk(value: Any, path: Steps, at: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value that a path leads to, with its place; `containers` at the top of a pod is all groups of them."""
    for position, step in enumerate(path):
        if step == "*":
            if isinstance(value, list):
                for index, item in enumerate(value):
                    yield from walk(item, path[position + 1 :], (*at, index))
            return
        if not isinstance(value, dict):
            return
        value = value.get(step)
        if value is None:
            return
        at = (*at, step)
    yield at, value


def value_at(value: Any, path: Path) -> Any:
    """The value at a path, None where there is none."""
    for step in path:
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and step < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def items(parent: Any, name: str) -> list[JsonObject]:
    found = parent.get(name) if isinstance(parent, dict) else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
