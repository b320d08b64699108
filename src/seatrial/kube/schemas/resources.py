"""The resources of each version: facts that OpenAPI definitions lack (plural and short names, scope, subresources).

Only stable API versions are listed, as an API server serves by default; which of them a version has is read from its
schemas. `SCHEMALESS` kinds come from widely used operators: they are stored and served without looking inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from seatrial.kube.schemas.data import NEWEST, load

_ALL_VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_CREATE: Final = ("create",)
_READ: Final = ("get", "list")


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind as the API serves it. `group` is empty for the core group; `subresources` are names such as `status`."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...]
    namespaced: bool
    categories: tuple[str, ...]
    subresources: tuple[str, ...]
    verbs: tuple[str, ...]
    custom: bool = False
    """There by a CustomResourceDefinition."""

    @property
    def native(self) -> str:
        """The kind if it is one of Kubernetes' own; empty otherwise: a custom kind may be called Service, too."""
        return "" if self.custom else self.kind

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


SCHEMALESS: Final = frozenset(
    ("monitoring.coreos.com/v1", kind) for kind in ("PodMonitor", "PrometheusRule", "ServiceMonitor")
)

CUSTOM: Final[Mapping[tuple[str, str], str]] = {
    ("autoscaling.k8s.io/v1", "VerticalPodAutoscaler"): "verticalpodautoscalers",
    ("monitoring.coreos.com/v1", "PodMonitor"): "podmonitors",
    ("monitoring.coreos.com/v1", "PrometheusRule"): "prometheusrules",
    ("monitoring.coreos.com/v1", "ServiceMonitor"): "servicemonitors",
}
"""The plurals of kinds that are not Kubernetes' own but have a typed view."""

# api version | kind | plural | short names | N(amespaced) or C(luster) | categories | subresources
_FACTS: Final = """
v1|Binding|bindings||N||
v1|ComponentStatus|componentstatuses|cs|C||
v1|ConfigMap|configmaps|cm|N||
v1|Endpoints|endpoints|ep|N||
v1|Event|events|ev|N||
v1|LimitRange|limitranges|limits|N||
v1|Namespace|namespaces|ns|C||finalize status
v1|Node|nodes|no|C||proxy status
v1|PersistentVolumeClaim|persistentvolumeclaims|pvc|N||status
v1|PersistentVolume|persistentvolumes|pv|C||status
v1|Pod|pods|po|N|all|attach binding ephemeralcontainers eviction exec log portforward proxy resize status
v1|PodTemplate|podtemplates||N||
v1|ReplicationController|replicationcontrollers|rc|N|all|scale status
v1|ResourceQuota|resourcequotas|quota|N||status
v1|Secret|secrets||N||
v1|ServiceAccount|serviceaccounts|sa|N||token
v1|Service|services|svc|N|all|proxy status
admissionregistration.k8s.io/v1|MutatingAdmissionPolicy|mutatingadmissionpolicies||C|api-extensions|
admissionregistration.k8s.io/v1|MutatingAdmissionPolicyBinding|mutatingadmissionpolicybindings||C|api-extensions|
admissionregistration.k8s.io/v1|MutatingWebhookConfiguration|mutatingwebhookconfigurations||C|api-extensions|
admissionregistration.k8s.io/v1|ValidatingAdmissionPolicy|validatingadmissionpolicies||C|api-extensions|status
admissionregistration.k8s.io/v1|ValidatingAdmissionPolicyBinding|validatingadmissionpolicybindings||C|api-extensions|
admissionregistration.k8s.io/v1|ValidatingWebhookConfiguration|validatingwebhookconfigurations||C|api-extensions|
apiextensions.k8s.io/v1|CustomResourceDefinition|customresourcedefinitions|crd crds|C|api-extensions|status
apiregistration.k8s.io/v1|APIService|apiservices||C|api-extensions|status
apps/v1|ControllerRevision|controllerrevisions||N||
apps/v1|DaemonSet|daemonsets|ds|N|all|status
apps/v1|Deployment|deployments|deploy|N|all|scale status
apps/v1|ReplicaSet|replicasets|rs|N|all|scale status
apps/v1|StatefulSet|statefulsets|sts|N|all|scale status
authentication.k8s.io/v1|SelfSubjectReview|selfsubjectreviews||C||
authentication.k8s.io/v1|TokenReview|tokenreviews||C||
authorization.k8s.io/v1|LocalSubjectAccessReview|localsubjectaccessreviews||N||
authorization.k8s.io/v1|SelfSubjectAccessReview|selfsubjectaccessreviews||C||
authorization.k8s.io/v1|SelfSubjectRulesReview|selfsubjectrulesreviews||C||
authorization.k8s.io/v1|SubjectAccessReview|subjectaccessreviews||C||
autoscaling/v2|HorizontalPodAutoscaler|horizontalpodautoscalers|hpa|N|all|status
autoscaling/v1|HorizontalPodAutoscaler|horizontalpodautoscalers|hpa|N|all|status
batch/v1|CronJob|cronjobs|cj|N|all|status
batch/v1|Job|jobs||N|all|status
certificates.k8s.io/v1|CertificateSigningRequest|certificatesigningrequests|csr|C||approval status
certificates.k8s.io/v1|ClusterTrustBundle|clustertrustbundles||C||
certificates.k8s.io/v1|PodCertificateRequest|podcertificaterequests||N||status
coordination.k8s.io/v1|Lease|leases||N||
discovery.k8s.io/v1|EndpointSlice|endpointslices||N||
events.k8s.io/v1|Event|events|ev|N||
flowcontrol.apiserver.k8s.io/v1|FlowSchema|flowschemas||C||status
flowcontrol.apiserver.k8s.io/v1|PriorityLevelConfiguration|prioritylevelconfigurations||C||status
networking.k8s.io/v1|IPAddress|ipaddresses|ip|C||
networking.k8s.io/v1|IngressClass|ingressclasses||C||
networking.k8s.io/v1|Ingress|ingresses|ing|N||status
networking.k8s.io/v1|NetworkPolicy|networkpolicies|netpol|N||
networking.k8s.io/v1|ServiceCIDR|servicecidrs||C||status
node.k8s.io/v1|RuntimeClass|runtimeclasses||C||
policy/v1|PodDisruptionBudget|poddisruptionbudgets|pdb|N||status
rbac.authorization.k8s.io/v1|ClusterRoleBinding|clusterrolebindings||C||
rbac.authorization.k8s.io/v1|ClusterRole|clusterroles||C||
rbac.authorization.k8s.io/v1|RoleBinding|rolebindings||N||
rbac.authorization.k8s.io/v1|Role|roles||N||
resource.k8s.io/v1|DeviceClass|deviceclasses||C||
resource.k8s.io/v1|DeviceTaintRule|devicetaintrules||C||status
resource.k8s.io/v1|ResourceClaim|resourceclaims||N||binding driver status
resource.k8s.io/v1|ResourceClaimTemplate|resourceclaimtemplates||N||
resource.k8s.io/v1|ResourceSlice|resourceslices||C||
scheduling.k8s.io/v1|PriorityClass|priorityclasses|pc|C||
storage.k8s.io/v1|CSIDriver|csidrivers||C||
storage.k8s.io/v1|CSINode|csinodes||C||
storage.k8s.io/v1|CSIStorageCapacity|csistoragecapacities||N||
storage.k8s.io/v1|StorageClass|storageclasses|sc|C||
storage.k8s.io/v1|VolumeAttachment|volumeattachments||C||status
storage.k8s.io/v1|VolumeAttributesClass|volumeattributesclasses|vac|C||
storagemigration.k8s.io/v1|StorageVersionMigration|storageversionmigrations||C||status
monitoring.coreos.com/v1|PodMonitor|podmonitors|pmon|N|prometheus-operator|status
monitoring.coreos.com/v1|PrometheusRule|prometheusrules|promrule|N|prometheus-operator|status
monitoring.coreos.com/v1|ServiceMonitor|servicemonitors|smon|N|prometheus-operator|status
"""


@cache
def resources(version: str = NEWEST) -> tuple[Resource, ...]:
    """What an API server of this version serves, the preferred version of a group first."""
    schemas = load(version)
    found = (_resource(line) for line in _FACTS.split("\n") if line)
    return tuple(
        each
        for each in found
        if (each.api_version, each.kind) in SCHEMALESS or schemas.kind(each.api_version, each.kind) is not None
    )


@cache
def plurals() -> Mapping[tuple[str, str], str]:
    """The plural of each kind, as in URLs, by api version and kind."""
    found = (_resource(line) for line in _FACTS.split("\n") if line)
    return {**{(each.api_version, each.kind): each.plural for each in found}, **CUSTOM}


def is_custom(api_version: str, kind: str) -> bool:
    """Whether the kind is none of Kubernetes' own: there by a definition, or one of the `SCHEMALESS`."""
    return (api_version, kind) in CUSTOM


@cache
def scopes() -> Mapping[tuple[str, str], bool]:
    """Whether a kind is namespaced, by api version and kind."""
    found = (_resource(line) for line in _FACTS.split("\n") if line)
    return {(each.api_version, each.kind): each.namespaced for each in found}


def _resource(line: str) -> Resource:
    api_version, kind, plural, short_names, scope, categories, subresources = line.split("|")
    group, _, version = api_version.rpartition("/")
    verbs = (
        _CREATE if kind == "Binding" or kind.endswith("Review") else _READ if kind == "ComponentStatus" else _ALL_VERBS
    )
    return Resource(
        group=group,
        version=version,
        kind=kind,
        plural=plural,
        singular=kind.lower(),
        short_names=tuple(short_names.split()),
        namespaced=scope == "N",
        categories=tuple(categories.split()),
        subresources=tuple(subresources.split()),
        verbs=verbs,
    )
