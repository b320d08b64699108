"""The table of references: where an object names, selects or looks into another one, and what follows without it.

Rules: a path is written from the source's root, `[*]` is every item; `POD` stands for the spec of every pod and pod
template, and `containers[*]` there for init and ephemeral containers as well. Built-in kinds are named plainly, others
as `Kind.group`. What happens (`then`) is what upstream 1.37 does, looked up in its sources: it is the first clause of
the message. Nothing about a particular kind is decided elsewhere if this table can say it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

POD: Final = "pod"
PODS: Final = "pods"
"""The target of a selector: pods that a workload of the input makes, or that stand in it."""


@dataclass(frozen=True, slots=True)
class Edge:
    """One reference. `at` is where the referring value stands; `name`, `namespace`, ... are fields below it.

    An empty `name`: the value itself is the name. `to` is the kind if no field (`kind`) tells it. `keys` are looked for
    in the target's data, `port` among its ports.
    """

    source: str
    at: str
    to: str
    then: str
    name: str = "name"
    namespace: str = ""
    kind: str = ""
    keys: tuple[str, ...] = ()
    port: str = ""
    optional: str = "optional"


@dataclass(frozen=True, slots=True)
class Selection:
    """A label selector at `at` (`plain`: a map of labels) which must select something; an empty one means all."""

    source: str
    at: str
    to: str
    then: str
    plain: bool = False
    namespaces: str = ""
    """A field that names the namespaces it looks into (`any`, `matchNames`); empty: the source's own."""
    provided: str = ""


@dataclass(frozen=True, slots=True)
class Local:
    """A name that must occur within one object: below each `root`, `at` is one of `among`."""

    source: str
    root: str
    at: str
    among: tuple[str, ...]
    what: str
    then: str


_START: Final = "the container does not start (CreateContainerConfigError)"
_MOUNT: Final = "the pod stays in ContainerCreating (FailedMount)"
_REFUSED: Final = "the API server refuses the object"
_PLATFORM: Final = "the platform"
_INSTALLER: Final = "whoever installs the system"
_SCRAPE: Final = "Prometheus scrapes nothing here"
_MONITORING: Final = "monitoring.coreos.com"
_GATEWAY: Final = "gateway.networking.k8s.io"

PROVIDED: Final[Mapping[str, str]] = {
    "Secret": "a vault, or whoever installs the system",
    "Namespace": _INSTALLER,
    "PersistentVolume": "who administers the storage",
    "VolumeSnapshot.snapshot.storage.k8s.io": "an earlier volume",
    "SecretProviderClass.secrets-store.csi.x-k8s.io": "who looks after the vault",
    **dict.fromkeys(
        (
            "ClusterRole",
            "ClusterTrustBundle",
            "CSIDriver",
            "CustomResourceDefinition",
            "IngressClass",
            "PriorityClass",
            "ResourceClaim",
            "RuntimeClass",
            "StorageClass",
            "VolumeAttributesClass",
            f"Gateway.{_GATEWAY}",
            f"GatewayClass.{_GATEWAY}",
            "ClusterIssuer.cert-manager.io",
            "ClusterSecretStore.external-secrets.io",
            "Issuer.cert-manager.io",
            "SecretStore.external-secrets.io",
        ),
        _PLATFORM,
    ),
}
"""Who usually brings objects of a kind that are not in the input; the absence of all others is a defect."""


def _data(
    source: str, at: str, then: str, *, keys: tuple[str, ...] = (), secret_name: str = "name"
) -> tuple[Edge, ...]:
    """A ConfigMap and a Secret that are referred to in the same way: `at` has `{}` for what differs."""
    maps, secrets = ("configMap", "secret") if "{}" in at else ("", "")
    return (
        Edge(source, at.format(maps), "ConfigMap", then, keys=keys),
        Edge(source, at.format(secrets), "Secret", then, keys=keys, name=secret_name),
    )


def _secret(source: str, at: str, then: str, *, name: str = "name", namespace: str = "", key: str = "") -> Edge:
    keys = (key,) if key else ()
    return Edge(source, at, "Secret", then, name=name, namespace=namespace, keys=keys)


_PODS_OWN: Final = (
    *_data(POD, "containers[*].env[*].valueFrom.{}KeyRef", _START, keys=("key",)),
    *_data(POD, "containers[*].envFrom[*].{}Ref", _START),
    *_data(POD, "volumes[*].{}", _MOUNT, keys=("items[*].key",), secret_name="secretName"),
    *_data(POD, "volumes[*].projected.sources[*].{}", _MOUNT, keys=("items[*].key",)),
    Edge(
        POD,
        "volumes[*].projected.sources[*].clusterTrustBundle",
        "ClusterTrustBundle",
        _MOUNT,
    ),
    Edge(
        POD,
        "volumes[*].persistentVolumeClaim",
        "PersistentVolumeClaim",
        "the pod stays Pending (persistentvolumeclaim not found)",
        name="claimName",
    ),
    Edge(
        POD,
        "volumes[*].ephemeral.volumeClaimTemplate.spec",
        "StorageClass",
        "the volume is never provisioned and the pod stays Pending",
        name="storageClassName",
    ),
    _secret(POD, "volumes[*].csi.nodePublishSecretRef", _MOUNT),
    Edge(
        POD,
        "volumes[*].csi.volumeAttributes.secretProviderClass",
        "SecretProviderClass.secrets-store.csi.x-k8s.io",
        _MOUNT,
        name="",
    ),
    Edge(POD, "volumes[*].csi", "CSIDriver", _MOUNT, name="driver"),
    _secret(POD, "volumes[*].azureFile", _MOUNT, name="secretName"),
    *(
        _secret(POD, f"volumes[*].{volume}.secretRef", _MOUNT)
        for volume in ("cephfs", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos")
    ),
    _secret(
        POD,
        "imagePullSecrets[*]",
        "images that need it cannot be pulled (FailedToRetrieveImagePullSecret)",
    ),
    Edge(
        POD,
        "serviceAccountName",
        "ServiceAccount",
        "no pod is created (FailedCreate: error looking up service account)",
        name="",
    ),
    Edge(
        POD,
        "priorityClassName",
        "PriorityClass",
        "no pod is created (FailedCreate: no PriorityClass of that name was found)",
        name="",
    ),
    Edge(
        POD,
        "runtimeClassName",
        "RuntimeClass",
        "no pod is created (FailedCreate: pod rejected: RuntimeClass not found)",
        name="",
    ),
    Edge(
        POD,
        "resourceClaims[*].resourceClaimName",
        "ResourceClaim",
        "the pod stays Pending",
        name="",
    ),
    Edge(
        POD,
        "resourceClaims[*].resourceClaimTemplateName",
        "ResourceClaimTemplate",
        "the pod stays Pending",
        name="",
    ),
)

_STORAGE: Final = (
    Edge(
        "PersistentVolumeClaim",
        "spec",
        "StorageClass",
        "the claim is never bound (ProvisioningFailed)",
        name="storageClassName",
    ),
    Edge(
        "StatefulSet",
        "spec.volumeClaimTemplates[*].spec",
        "StorageClass",
        "the claims are never bound (ProvisioningFailed)",
        name="storageClassName",
    ),
    Edge(
        "PersistentVolumeClaim",
        "spec",
        "VolumeAttributesClass",
        "the claim stays as it is",
        name="volumeAttributesClassName",
    ),
    Edge(
        "PersistentVolumeClaim",
        "spec",
        "PersistentVolume",
        "the claim stays Pending (FailedBinding)",
        name="volumeName",
    ),
    Edge(
        "PersistentVolumeClaim",
        "spec.dataSource",
        "",
        "the claim stays Pending",
        kind="kind",
    ),
    Edge(
        "PersistentVolumeClaim",
        "spec.dataSourceRef",
        "",
        "the claim stays Pending",
        kind="kind",
        namespace="namespace",
    ),
    Edge("PersistentVolume", "spec.csi", "CSIDriver", "the volume is never mounted", name="driver"),
    *(
        _secret("PersistentVolume", f"spec.csi.{field}", "the volume is never mounted", namespace="namespace")
        for field in (
            "controllerPublishSecretRef",
            "nodeStageSecretRef",
            "nodePublishSecretRef",
            "controllerExpandSecretRef",
            "nodeExpandSecretRef",
        )
    ),
)

_SERVICES: Final = (
    Edge(
        "StatefulSet",
        "spec.serviceName",
        "Service",
        "its pods have no names of their own in DNS",
        name="",
    ),
    Edge(
        "Ingress",
        "spec.ingressClassName",
        "IngressClass",
        "no controller serves the Ingress",
        name="",
    ),
    *(
        Edge("Ingress", at, "Service", "requests for it are answered with 503", port="port")
        for at in ("spec.rules[*].http.paths[*].backend.service", "spec.defaultBackend.service")
    ),
    _secret("Ingress", "spec.tls[*].secretName", "TLS is served with the controller's own certificate", name=""),
    Edge(
        f"Gateway.{_GATEWAY}",
        "spec.gatewayClassName",
        f"GatewayClass.{_GATEWAY}",
        "no controller serves the Gateway",
        name="",
    ),
    _secret(
        f"Gateway.{_GATEWAY}",
        "spec.listeners[*].tls.certificateRefs[*]",
        "the listener is not programmed (InvalidCertificateRef)",
        namespace="namespace",
    ),
    *(
        Edge(
            f"{route}.{_GATEWAY}",
            "spec.parentRefs[*]",
            f"Gateway.{_GATEWAY}",
            "the route is attached to nothing",
            namespace="namespace",
            kind="kind",
        )
        for route in ("HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute", "UDPRoute")
    ),
    *(
        Edge(
            f"{route}.{_GATEWAY}",
            at,
            "Service",
            "requests for it are answered with 500 (BackendNotFound)",
            namespace="namespace",
            kind="kind",
            port="port",
        )
        for route in ("HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute", "UDPRoute")
        for at in ("spec.rules[*].backendRefs[*]", "spec.rules[*].filters[*].requestMirror.backendRef")
    ),
)

_SCALING: Final = (
    Edge(
        "HorizontalPodAutoscaler",
        "spec.scaleTargetRef",
        "",
        "the autoscaler does nothing (AbleToScale is False: FailedGetScale)",
        kind="kind",
    ),
    Edge(
        "HorizontalPodAutoscaler",
        "spec.metrics[*].object.describedObject",
        "",
        "the autoscaler does nothing (ScalingActive is False: FailedGetObjectMetric)",
        kind="kind",
    ),
    Edge(
        "VerticalPodAutoscaler.autoscaling.k8s.io",
        "spec.targetRef",
        "",
        "the autoscaler recommends nothing",
        kind="kind",
    ),
    Edge(
        "ScaledObject.keda.sh",
        "spec.scaleTargetRef",
        "Deployment",
        "nothing is scaled",
        kind="kind",
    ),
)

_ACCESS: Final = (
    *(
        Edge(
            binding,
            "roleRef",
            "",
            "the binding allows nothing",
            kind="kind",
        )
        for binding in ("RoleBinding", "ClusterRoleBinding")
    ),
    *(
        Edge(
            binding,
            "subjects[*]",
            "",
            "the binding allows nobody anything",
            kind="kind",
            namespace="namespace",
        )
        for binding in ("RoleBinding", "ClusterRoleBinding")
    ),
    _secret(
        "ServiceAccount",
        "imagePullSecrets[*]",
        "images that need it cannot be pulled (FailedToRetrieveImagePullSecret)",
    ),
    _secret("ServiceAccount", "secrets[*]", "pods may not use the Secret"),
)

_EXTENSIONS: Final = (
    *(
        Edge(
            kind,
            "webhooks[*].clientConfig.service",
            "Service",
            "calls of the webhook fail, and with failurePolicy Fail so does every request that it matches",
            namespace="namespace",
            port="port",
        )
        for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
    ),
    Edge(
        "APIService",
        "spec.service",
        "Service",
        "the API is not served (FailedDiscoveryCheck), and namespaces cannot be deleted",
        namespace="namespace",
        port="port",
    ),
    Edge(
        "CustomResourceDefinition",
        "spec.conversion.webhook.clientConfig.service",
        "Service",
        "objects of other versions cannot be read (conversion webhook failed)",
        namespace="namespace",
        port="port",
    ),
    Edge(
        "ValidatingAdmissionPolicyBinding",
        "spec.policyName",
        "ValidatingAdmissionPolicy",
        "the binding does nothing",
        name="",
    ),
    Edge(
        "MutatingAdmissionPolicyBinding",
        "spec.policyName",
        "MutatingAdmissionPolicy",
        "the binding does nothing",
        name="",
    ),
)

_OTHERS: Final = (
    Edge(
        "*",
        "metadata.ownerReferences[*]",
        "",
        "the garbage collector deletes the object",
        kind="kind",
    ),
    Edge(
        "*",
        "metadata.namespace",
        "Namespace",
        "the API server refuses the object (namespaces not found)",
        name="",
    ),
    Edge(
        "EndpointSlice",
        "metadata.labels.kubernetes\\.io/service-name",
        "Service",
        "nobody uses the endpoints",
        name="",
    ),
    Edge(
        "Certificate.cert-manager.io",
        "spec.issuerRef",
        "Issuer.cert-manager.io",
        "the certificate is never issued",
        kind="kind",
    ),
    _secret("Issuer.cert-manager.io", "spec.ca.secretName", "nothing is issued", name=""),
    Edge(
        "ExternalSecret.external-secrets.io",
        "spec.secretStoreRef",
        "SecretStore.external-secrets.io",
        "the Secret is never made",
        kind="kind",
    ),
)

_MONITORS: Final = (
    *(
        edge
        for monitor, endpoints in (
            ("ServiceMonitor", "spec.endpoints[*]"),
            ("PodMonitor", "spec.podMetricsEndpoints[*]"),
        )
        for field in ("basicAuth.username", "basicAuth.password", "bearerTokenSecret", "authorization.credentials")
        for edge in (_secret(f"{monitor}.{_MONITORING}", f"{endpoints}.{field}", _SCRAPE, key="key"),)
    ),
    *(
        edge
        for monitor, endpoints in (
            ("ServiceMonitor", "spec.endpoints[*]"),
            ("PodMonitor", "spec.podMetricsEndpoints[*]"),
        )
        for field in ("ca", "cert")
        for edge in _data(f"{monitor}.{_MONITORING}", f"{endpoints}.tlsConfig.{field}.{{}}", _SCRAPE, keys=("key",))
    ),
    *(
        _secret(f"{monitor}.{_MONITORING}", f"{endpoints}.tlsConfig.keySecret", _SCRAPE, key="key")
        for monitor, endpoints in (
            ("ServiceMonitor", "spec.endpoints[*]"),
            ("PodMonitor", "spec.podMetricsEndpoints[*]"),
        )
    ),
    *(
        Edge(
            f"{kind}.{_MONITORING}",
            "spec.serviceAccountName",
            "ServiceAccount",
            "no pod is created (FailedCreate: error looking up service account)",
            name="",
        )
        for kind in ("Prometheus", "Alertmanager", "ThanosRuler")
    ),
    Edge(
        f"Prometheus.{_MONITORING}",
        "spec.alerting.alertmanagers[*]",
        "Service",
        "no alert is delivered",
        namespace="namespace",
        port="port",
    ),
)

EDGES: Final[tuple[Edge, ...]] = (
    *_PODS_OWN,
    *_STORAGE,
    *_SERVICES,
    *_SCALING,
    *_ACCESS,
    *_EXTENSIONS,
    *_MONITORS,
    *_OTHERS,
)

SELECTIONS: Final[tuple[Selection, ...]] = (
    Selection("Service", "spec.selector", PODS, "the Service has no endpoints, connections are refused", plain=True),
    Selection("PodDisruptionBudget", "spec.selector", PODS, "the budget protects nothing"),
    Selection("NetworkPolicy", "spec.podSelector", PODS, "the policy holds for nothing"),
    Selection(
        "NetworkPolicy",
        "spec.ingress[*].from[*].podSelector",
        PODS,
        "nobody is let in by this rule",
        provided="whoever deploys the other side",
    ),
    Selection(
        "NetworkPolicy",
        "spec.egress[*].to[*].podSelector",
        PODS,
        "this rule lets nothing out",
        provided="whoever deploys the other side",
    ),
    Selection(
        f"ServiceMonitor.{_MONITORING}",
        "spec.selector",
        "Service",
        _SCRAPE,
        namespaces="spec.namespaceSelector",
    ),
    Selection(
        f"PodMonitor.{_MONITORING}",
        "spec.selector",
        PODS,
        _SCRAPE,
        namespaces="spec.namespaceSelector",
    ),
    Selection(
        f"Probe.{_MONITORING}",
        "spec.targets.ingress.selector",
        "Ingress",
        "nothing is probed",
        namespaces="spec.targets.ingress.namespaceSelector",
    ),
    *(
        Selection(
            f"Prometheus.{_MONITORING}",
            f"spec.{field}",
            f"{kind}.{_MONITORING}",
            f"Prometheus loads no {kind}",
            namespaces=f"spec.{field.removesuffix('Selector')}NamespaceSelector",
            provided="other systems",
        )
        for field, kind in (
            ("serviceMonitorSelector", "ServiceMonitor"),
            ("podMonitorSelector", "PodMonitor"),
            ("probeSelector", "Probe"),
            ("ruleSelector", "PrometheusRule"),
        )
    ),
)

_CONTAINER: Final = "containers[*]"
_PORT: Final = "port of the container"

LOCALS: Final[tuple[Local, ...]] = (
    Local(POD, "", f"{_CONTAINER}.volumeMounts[*].name", ("volumes[*].name",), "volume of the pod", _REFUSED),
    Local(POD, "", f"{_CONTAINER}.volumeDevices[*].name", ("volumes[*].name",), "volume of the pod", _REFUSED),
    Local(POD, "", f"{_CONTAINER}.resources.claims[*].name", ("resourceClaims[*].name",), "resource claim", _REFUSED),
    Local(
        POD,
        "",
        "volumes[*].downwardAPI.items[*].resourceFieldRef.containerName",
        ("containers[*].name",),
        "container of the pod",
        _REFUSED,
    ),
    *(
        Local(POD, _CONTAINER, f"{probe}.{action}.port", ("ports[*].name",), _PORT, then)
        for probe, then in (
            ("readinessProbe", "the container is never ready"),
            ("livenessProbe", "the container is killed again and again"),
            ("startupProbe", "the container never counts as started and is killed again and again"),
        )
        for action in ("httpGet", "tcpSocket")
    ),
    *(
        Local(POD, _CONTAINER, f"lifecycle.{hook}.{action}.port", ("ports[*].name",), _PORT, then)
        for hook, then in (
            ("postStart", "the container is killed (FailedPostStartHook)"),
            ("preStop", "nobody tells the container that it will stop (FailedPreStopHook)"),
        )
        for action in ("httpGet", "tcpSocket")
    ),
)
