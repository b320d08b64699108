"""What the API server makes of an object before storing it: defaults filled in, quantities in canonical form.

The rules are upstream's `SetDefaults_*` of each API group, the generated field defaults, and those admission plugins
and create strategies whose outcome needs nothing but the object: DefaultTolerationSeconds, Priority without a class,
`stringData`, the deprecated `serviceAccount`. What needs the cluster (addresses, ports, token volumes) is the server's;
LimitRanges are in `limitranges`. Defaulting twice changes nothing. A value of the wrong type is left as it is:
validation speaks of it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final

import msgspec

from seatrial.control import priorities, qos, zeros
from seatrial.control.podsizes import total
from seatrial.kube import schemas
from seatrial.kube.objects import JsonObject, PodSpec, parse_as
from seatrial.kube.quantities import Quantity

_MIRROR: Final = "kubernetes.io/config.mirror"
_GATES_OFF: Final = ("evictionResponders", "schedulingGroup")
"""Of a pod's spec, what the API drops."""
_PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
_VOLUME_DEFAULTS: Final[dict[str, JsonObject]] = {
    "azureDisk": {"cachingMode": "ReadWrite", "fsType": "ext4", "kind": "Shared", "readOnly": False},
    "configMap": {"defaultMode": 0o644},
    "downwardAPI": {"defaultMode": 0o644},
    "hostPath": {"type": ""},
    "iscsi": {"iscsiInterface": "default"},
    "projected": {"defaultMode": 0o644},
    "rbd": {"keyring": "/etc/ceph/keyring", "pool": "rbd", "user": "admin"},
    "scaleIO": {"fsType": "xfs", "storageMode": "ThinProvisioned"},
    "secret": {"defaultMode": 0o644},
}
_CONTAINER_STATUS: Final[JsonObject] = {
    "image": "", "imageID": "", "lastState": {}, "ready": False, "restartCount": 0, "state": {},
}  # fmt: skip  # Go writes these always


def admit(raw: JsonObject, *, version: str = schemas.NEWEST, now: datetime | None = None) -> JsonObject:
    """A copy of `raw` as an API server of this version would store it; `now` becomes a missing creationTimestamp.

    Kinds without defaults, custom ones too, come back unchanged apart from that.
    """
    api_version, kind = str(raw.get("apiVersion", "")), str(raw.get("kind", ""))
    known = schemas.load(version)
    result: JsonObject = zeros.canonical(raw, known.kind(api_version, kind))
    group = api_version.rpartition("/")[0]
    minor = int(known.version.partition(".")[2])
    defaulting = _DEFAULTS.get((group, kind))
    if defaulting is not None:
        defaulting(result, minor)
    if now is not None:
        metadata = _part(result, "metadata")
        metadata.setdefault("creationTimestamp", now.replace(microsecond=0).strftime("%Y-%m-%dT%H:%M:%SZ"))
    return result


def qos_class(spec: JsonObject) -> str:
    """Guaranteed, Burstable or BestEffort, from the containers' cpu and memory (`ComputePodQOS`)."""
    pod_level = spec.get("resources")  # takes the place of the containers' where it is given
    holders = (
        [{"resources": pod_level}] if pod_level else [*_items(spec, "containers"), *_items(spec, "initContainers")]
    )
    resources = (_part(holder, "resources") for holder in holders)
    return qos.classified((_computed(held.get("requests")), _computed(held.get("limits"))) for held in resources)


TOPOLOGY_LABELS: Final = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")
TOPOLOGY_LABELS_SINCE: Final = 35


def labelled_as(node: JsonObject | None, pod: JsonObject, minor: int) -> JsonObject:
    """The pod with its node's zone and region, which it is given with the node (PodTopologyLabels, KEP-4742)."""
    labels = {} if node is None else node["metadata"].get("labels") or {}
    copied = {name: labels[name] for name in TOPOLOGY_LABELS if name in labels}
    if not copied or minor < TOPOLOGY_LABELS_SINCE:
        return pod
    metadata = pod["metadata"]
    return {**pod, "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), **copied}}}


POD_LEVEL_LIMITS_SINCE: Final = 37


def fill_pod_level(spec: JsonObject, minor: int) -> None:
    """What a pod that has resources of its own lacks of them is what its containers have in all, or its own other side.

    Since 1.37 that is done after LimitRanges have given containers theirs, and limits are filled in, too.
    """
    resources = spec.get("resources")
    if not isinstance(resources, dict):
        return
    newer = minor >= POD_LEVEL_LIMITS_SINCE
    sides = [resources.get("limits") or {}, resources.get("requests") or {}]
    if not all(isinstance(side, dict) for side in sides) or not (sides[0] or (newer and sides[1])):
        return
    try:
        own = parse_as(PodSpec, {**spec, "resources": {}})
        requested, limited = total(own, "requests", overhead=False), total(own, "limits", overhead=False)
        limits, requests = ({name: Quantity.parse(size) for name, size in side.items()} for side in sides)
    except (msgspec.ValidationError, ValueError):
        return
    for name, size in limited.items():
        if name.startswith("hugepages-") and name not in requests:
            limits.setdefault(name, size)
    for name in ("cpu", "memory"):
        if name in requested:
            requests.setdefault(name, requested[name])
    for name, size in limits.items():
        if name in ("cpu", "memory") or name.startswith("hugepages-"):
            requests.setdefault(name, size)
    everybody = (*own.containers, *own.init_containers)
    for name in tuple(requests) if newer else ():
        if name not in limits and all(name in each.resources.limits for each in everybody) and name in limited:
            limits[name] = max(requests[name], limited[name])
    spec["resources"] = {**resources, "requests": {name: str(size) for name, size in requests.items()}}
    if limits:
        spec["resources"]["limits"] = {name: str(size) for name, size in limits.items()}


def select_own_pods(job: JsonObject) -> None:
    """What the API server does to a Job that is created, with its uid: unless `manualSelector`, it selects its pods.

    As in upstream a Job without labels then has those of its template.
    """
    metadata, spec = _part(job, "metadata"), _part(job, "spec")
    template = _part(_part(spec, "template"), "metadata")
    if spec.get("manualSelector") is not True:
        uid, name = metadata.get("uid", ""), metadata.get("name", "")
        labels = _part(template, "labels")
        for prefix in ("", "batch.kubernetes.io/"):
            labels.setdefault(f"{prefix}job-name", name)
            labels.setdefault(f"{prefix}controller-uid", uid)
        _part(_part(spec, "selector"), "matchLabels").setdefault("batch.kubernetes.io/controller-uid", uid)
    if template.get("labels") and not metadata.get("labels"):
        metadata["labels"] = dict(template["labels"])


_OLD_SOURCES: Final = (("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot"))


def agree_on_source(claim: JsonObject) -> None:
    """What the API server does to a claim: the older field tells claims and snapshots only; both are made to agree."""
    spec = _part(claim, "spec")
    new = spec.get("dataSourceRef")
    if isinstance(new, dict) and new.get("namespace"):  # the gate of those from other namespaces is off
        del spec["dataSourceRef"]
        new = None
    old = spec.get("dataSource")
    if isinstance(old, dict) and new is None:
        if (old.get("apiGroup") or "", old.get("kind")) in _OLD_SOURCES:
            spec["dataSourceRef"] = dict(old)
        else:
            del spec["dataSource"]
    elif isinstance(new, dict) and old is None:
        spec["dataSource"] = {name: value for name, value in new.items() if name != "namespace"}


# --- pods ---


def _pod(pod: JsonObject, minor: int) -> None:
    spec = _part(pod, "spec")
    _pod_spec(spec, minor)
    grace_s = spec.get("terminationGracePeriodSeconds")
    if isinstance(grace_s, int) and grace_s < 0:
        spec["terminationGracePeriodSeconds"] = 1
    for container in (*_items(spec, "containers"), *_items(spec, "initContainers")):
        resources = _part(container, "resources")
        limits = resources.get("limits")
        if isinstance(limits, dict):
            requests = _part(resources, "requests")
            for name, size in limits.items():
                requests.setdefault(name, size)
        if spec.get("hostNetwork") is True:
            for port in _items(container, "ports"):
                _fill(port, "hostPort", port.get("containerPort"))
    if minor < POD_LEVEL_LIMITS_SINCE:
        fill_pod_level(spec, minor)
    spec.setdefault("enableServiceLinks", True)
    if not _is_mirror(pod):  # a static pod has no account
        _fill(spec, "serviceAccountName", "default")
        spec["serviceAccount"] = spec["serviceAccountName"]
    _priority(spec)
    _tolerations(spec)
    status = _part(pod, "status")
    _fill(status, "phase", "Pending")
    _fill(status, "qosClass", qos_class(spec))
    for name in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for container_status in _items(status, name):
            for field, value in _CONTAINER_STATUS.items():
                container_status.setdefault(field, {} if value == {} else value)


def _is_mirror(pod: JsonObject) -> bool:
    metadata = pod.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return isinstance(annotations, dict) and _MIRROR in annotations


def _priority(spec: JsonObject) -> None:
    name = spec.get("priorityClassName") or ""
    if isinstance(name, str) and name in priorities.SYSTEM:
        spec.setdefault("priority", priorities.SYSTEM[name])
    elif not name:
        spec.setdefault("priority", 0)
    if "priority" in spec:
        spec.setdefault("preemptionPolicy", "PreemptLowerPriority")


def _tolerations(spec: JsonObject) -> None:
    if not isinstance(spec.setdefault("tolerations", []), list):
        return
    present = list(_items(spec, "tolerations"))
    for taint in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(
            (each.get("key") or "") in (taint, "") and (each.get("effect") or "") in ("NoExecute", "")
            for each in present
        ):
            spec["tolerations"].append(
                {"effect": "NoExecute", "key": taint, "operator": "Exists", "tolerationSeconds": 300}
            )


def _pod_spec(spec: JsonObject, minor: int) -> None:
    """What pods and pod templates have in common (`SetDefaults_PodSpec` and everything below a PodSpec)."""
    for name in _GATES_OFF:
        spec.pop(name, None)
    _fill(spec, "dnsPolicy", "ClusterFirst")
    _fill(spec, "restartPolicy", "Always")
    spec.setdefault("securityContext", {})
    spec.setdefault("terminationGracePeriodSeconds", 30)
    _fill(spec, "schedulerName", "default-scheduler")
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    _milli(spec.get("overhead"))
    for volume in _items(spec, "volumes"):
        _volume(volume)
    for name in ("initContainers", "containers", "ephemeralContainers"):
        for container in _items(spec, name):
            _container(container)


def _container(container: JsonObject) -> None:
    lifecycle = container.get("lifecycle")
    if isinstance(lifecycle, dict) and lifecycle.pop("stopSignal", None) is not None and not lifecycle:
        del container["lifecycle"]  # its gate is off, too
    _fill(container, "imagePullPolicy", _pull_policy(container.get("image")))
    _fill(container, "terminationMessagePath", "/dev/termination-log")
    _fill(container, "terminationMessagePolicy", "File")
    resources = _part(container, "resources")
    _milli(resources.get("limits"))
    _milli(resources.get("requests"))
    for port in _items(container, "ports"):
        _fill(port, "protocol", "TCP")
    for variable in _items(container, "env"):
        source = variable.get("valueFrom")
        if isinstance(source, dict):
            _field_reference(source)
            _canonical_divisor(source)
            if isinstance(source.get("fileKeyRef"), dict):
                source["fileKeyRef"].setdefault("optional", False)
    for name in _PROBES:
        probe = container.get(name)
        if isinstance(probe, dict):
            for field, value in (
                ("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3),
            ):  # fmt: skip
                _fill(probe, field, value)
            _http_get(probe)
            if isinstance(probe.get("grpc"), dict):
                probe["grpc"].setdefault("service", "")
    for hook in ("postStart", "preStop"):
        lifecycle = container.get("lifecycle")
        if isinstance(lifecycle, dict) and isinstance(lifecycle.get(hook), dict):
            _http_get(lifecycle[hook])


def _volume(volume: JsonObject) -> None:
    sources = [name for name in volume if name != "name"]
    if not sources:
        volume["emptyDir"] = {}
    for name in sources:
        source = volume[name]
        if not isinstance(source, dict):
            continue
        for field, value in _VOLUME_DEFAULTS.get(name, {}).items():
            _fill(source, field, value)
        if name == "image":
            _fill(source, "pullPolicy", _pull_policy(source.get("reference")))
        if name == "downwardAPI":
            _downward_items(source)
        if name == "ephemeral" and isinstance(template := source.get("volumeClaimTemplate"), dict):
            _claim_spec(_part(template, "spec"))
        for projection in _items(source, "sources") if name == "projected" else ():
            if isinstance(token := projection.get("serviceAccountToken"), dict):
                token.setdefault("expirationSeconds", 3600)
            if isinstance(downward := projection.get("downwardAPI"), dict):
                _downward_items(downward)


def _downward_items(source: JsonObject) -> None:
    for item in _items(source, "items"):
        _field_reference(item)
        _canonical_divisor(item)


def _field_reference(holder: JsonObject) -> None:
    if isinstance(holder.get("fieldRef"), dict):
        _fill(holder["fieldRef"], "apiVersion", "v1")


def _canonical_divisor(holder: JsonObject) -> None:
    if isinstance(holder.get("resourceFieldRef"), dict):
        holder["resourceFieldRef"].setdefault("divisor", "0")


def _http_get(handler: JsonObject) -> None:
    if isinstance(handler.get("httpGet"), dict):
        _fill(handler["httpGet"], "path", "/")
        _fill(handler["httpGet"], "scheme", "HTTP")


def _pull_policy(image: object) -> str:
    """Always for the tag `latest`, which is meant where neither tag nor digest is given."""
    name, _, digest = (image if isinstance(image, str) else "").partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return "Always" if tag == "latest" or not (tag or digest) else "IfNotPresent"


# --- workloads ---


def _template(owner: JsonObject, minor: int) -> JsonObject:
    spec = _part(owner, "spec")
    template = _part(spec, "template")
    _part(template, "metadata")
    _pod_spec(_part(template, "spec"), minor)
    return spec


def _pod_template(template: JsonObject, minor: int) -> None:
    _part(_part(template, "template"), "metadata")
    _pod_spec(_part(_part(template, "template"), "spec"), minor)


def _deployment(deployment: JsonObject, minor: int) -> None:
    spec = _template(deployment, minor)
    spec.setdefault("replicas", 1)
    strategy = _part(spec, "strategy")
    _fill(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = _part(strategy, "rollingUpdate")
        rolling.setdefault("maxSurge", "25%")
        rolling.setdefault("maxUnavailable", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    _part(deployment, "status")


def _replica_set(replica_set: JsonObject, minor: int) -> None:
    _template(replica_set, minor).setdefault("replicas", 1)
    _part(replica_set, "status").setdefault("replicas", 0)


def _daemon_set(daemon_set: JsonObject, minor: int) -> None:
    spec = _template(daemon_set, minor)
    strategy = _part(spec, "updateStrategy")
    _fill(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = _part(strategy, "rollingUpdate")
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    spec.setdefault("revisionHistoryLimit", 10)
    status = _part(daemon_set, "status")
    for count in ("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady"):
        status.setdefault(count, 0)


def _stateful_set(stateful_set: JsonObject, minor: int) -> None:
    spec = _template(stateful_set, minor)
    _fill(spec, "podManagementPolicy", "OrderedReady")
    strategy = _part(spec, "updateStrategy")
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
        _part(strategy, "rollingUpdate")
    if strategy["type"] == "RollingUpdate" and isinstance(strategy.get("rollingUpdate"), dict):
        strategy["rollingUpdate"].setdefault("partition", 0)
        if minor >= 37:  # MaxUnavailableStatefulSet is on
            strategy["rollingUpdate"].setdefault("maxUnavailable", 1)
    if minor >= 27:  # StatefulSetAutoDeletePVC became beta
        retention = _part(spec, "persistentVolumeClaimRetentionPolicy")
        _fill(retention, "whenDeleted", "Retain")
        _fill(retention, "whenScaled", "Retain")
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    for claim in _items(spec, "volumeClaimTemplates"):
        claim |= {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        _claim(claim, minor)
    status = _part(stateful_set, "status")
    status.setdefault("replicas", 0)
    status.setdefault("availableReplicas", 0)


def _replication_controller(controller: JsonObject, minor: int) -> None:
    """Selector and labels are the template's where there are none."""
    spec = _part(controller, "spec")
    if spec.get("template") is not None:
        _template(controller, minor)
    template = spec.get("template")
    labels = _part(template, "metadata").get("labels") if isinstance(template, dict) else None
    if labels:
        spec["selector"] = spec.get("selector") or dict(labels)
        if not controller.setdefault("metadata", {}).get("labels"):
            controller["metadata"]["labels"] = dict(labels)
    spec.setdefault("replicas", 1)
    _part(controller, "status").setdefault("replicas", 0)


def _job(job: JsonObject, minor: int) -> None:
    _job_spec(_template(job, minor), minor)


def _job_spec(spec: JsonObject, minor: int) -> None:
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 2**31 - 1 if "backoffLimitPerIndex" in spec else 6)
    spec.setdefault("completionMode", "NonIndexed")
    for rule in (spec.get("podFailurePolicy") or {}).get("rules") or ():
        for pattern in rule.get("onPodConditions") or ():
            _fill(pattern, "status", "True")
    spec.setdefault("suspend", False)
    spec.setdefault("manualSelector", False)
    if minor >= 29:  # JobPodReplacementPolicy became beta
        spec.setdefault("podReplacementPolicy", "Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed")


def _cron_job(cron_job: JsonObject, minor: int) -> None:
    spec = _part(cron_job, "spec")
    _fill(spec, "concurrencyPolicy", "Allow")
    spec.setdefault("suspend", False)
    spec.setdefault("successfulJobsHistoryLimit", 3)
    spec.setdefault("failedJobsHistoryLimit", 1)
    # The defaults of a Job are the Job's own; here only those of its pod template apply.
    job = _part(spec, "jobTemplate")
    _part(job, "metadata")
    _template(job, minor)


def _autoscaler(autoscaler: JsonObject, minor: int) -> None:
    spec = _part(autoscaler, "spec")
    spec.setdefault("minReplicas", 1)
    if not str(autoscaler.get("apiVersion", "")).endswith("/v2"):
        return
    if not spec.get("metrics"):
        target = {"averageUtilization": 80, "type": "Utilization"}
        spec["metrics"] = [{"resource": {"name": "cpu", "target": target}, "type": "Resource"}]
    behavior = spec.get("behavior")
    if isinstance(behavior, dict):
        up, down = _part(behavior, "scaleUp"), _part(behavior, "scaleDown")
        up.setdefault("stabilizationWindowSeconds", 0)
        up.setdefault(
            "policies",
            [{"periodSeconds": 15, "type": "Pods", "value": 4}, {"periodSeconds": 15, "type": "Percent", "value": 100}],
        )
        down.setdefault("policies", [{"periodSeconds": 15, "type": "Percent", "value": 100}])
        for rules in (up, down):
            rules.setdefault("selectPolicy", "Max")


def _disruption_budget(budget: JsonObject, minor: int) -> None:
    status = _part(budget, "status")
    for name in ("currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods"):
        status.setdefault(name, 0)


# --- the rest ---


def _service(service: JsonObject, minor: int) -> None:
    spec = _part(service, "spec")
    _fill(spec, "sessionAffinity", "None")
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    if spec["sessionAffinity"] == "ClientIP":
        _part(_part(spec, "sessionAffinityConfig"), "clientIP").setdefault("timeoutSeconds", 10_800)
    _fill(spec, "type", "ClusterIP")
    for port in _items(spec, "ports"):
        _fill(port, "protocol", "TCP")
        _fill(port, "targetPort", port.get("port"))
    kind = spec["type"]
    if kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and spec.get("externalIPs")):
        _fill(spec, "externalTrafficPolicy", "Cluster")
    if kind != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    _part(_part(service, "status"), "loadBalancer")


def _secret(secret: JsonObject, minor: int) -> None:
    _fill(secret, "type", "Opaque")
    texts = secret.pop("stringData", None)
    if isinstance(texts, dict):
        data = _part(secret, "data")
        for name, text in texts.items():
            data[name] = base64.b64encode(str(text).encode()).decode()


def _namespace(namespace: JsonObject, minor: int) -> None:
    metadata = _part(namespace, "metadata")
    if metadata.get("name"):
        _part(metadata, "labels")["kubernetes.io/metadata.name"] = metadata["name"]
    finalizers = _part(namespace, "spec").setdefault("finalizers", [])
    if "deletionTimestamp" not in metadata and isinstance(finalizers, list) and "kubernetes" not in finalizers:
        finalizers.append("kubernetes")
    _fill(_part(namespace, "status"), "phase", "Active")


def _node(node: JsonObject, minor: int) -> None:
    status = _part(node, "status")
    _milli(status.get("capacity"))
    _milli(status.get("allocatable"))
    if isinstance(status.get("capacity"), dict):
        status.setdefault("allocatable", dict(status["capacity"]))


def _endpoint_slice(endpoint_slice: JsonObject, minor: int) -> None:
    for port in _items(endpoint_slice, "ports"):
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")
    for endpoint in _items(endpoint_slice, "endpoints"):
        endpoint.pop("deprecatedTopology", None)


def _endpoints(endpoints: JsonObject, minor: int) -> None:
    for subset in _items(endpoints, "subsets"):
        for port in _items(subset, "ports"):
            _fill(port, "protocol", "TCP")


def _limit_range(limit_range: JsonObject, minor: int) -> None:
    """Of a container's limits: the default is the max, and the default request is the default or the min."""
    for item in _items(_part(limit_range, "spec"), "limits"):
        for sizes in ("default", "defaultRequest", "max", "min", "maxLimitRequestRatio"):
            _milli(item.get(sizes))
        if item.get("type") != "Container":
            continue
        for field, other in (("default", "max"), ("defaultRequest", "default"), ("defaultRequest", "min")):
            if isinstance(item.get(other), dict) and item[other]:
                item[field] = {**item[other], **(item.get(field) or {})}


def _network_policy(policy: JsonObject, minor: int) -> None:
    spec = _part(policy, "spec")
    _part(spec, "podSelector")
    for direction in ("ingress", "egress"):
        for rule in _items(spec, direction):
            for port in _items(rule, "ports"):
                _fill(port, "protocol", "TCP")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _claim(claim: JsonObject, minor: int) -> None:
    _claim_spec(_part(claim, "spec"))
    _fill(_part(claim, "status"), "phase", "Pending")


def _persistent_volume(volume: JsonObject, minor: int) -> None:
    spec = _part(volume, "spec")
    _milli(spec.get("capacity"))
    _fill(spec, "persistentVolumeReclaimPolicy", "Retain")
    spec.setdefault("volumeMode", "Filesystem")
    if isinstance(spec.get("hostPath"), dict):
        spec["hostPath"].setdefault("type", "")
    _fill(_part(volume, "status"), "phase", "Pending")


def _storage_class(storage_class: JsonObject, minor: int) -> None:
    storage_class.setdefault("reclaimPolicy", "Delete")
    storage_class.setdefault("volumeBindingMode", "Immediate")


def _priority_class(priority_class: JsonObject, minor: int) -> None:
    priority_class.setdefault("preemptionPolicy", "PreemptLowerPriority")


def _claim_spec(spec: JsonObject) -> None:
    spec.setdefault("volumeMode", "Filesystem")
    resources = _part(spec, "resources")
    _milli(resources.get("requests"))
    _milli(resources.get("limits"))


def _binding(binding: JsonObject, minor: int) -> None:
    group = "rbac.authorization.k8s.io"
    _fill(_part(binding, "roleRef"), "apiGroup", group)
    for subject in _items(binding, "subjects"):
        if subject.get("kind") in ("User", "Group"):
            _fill(subject, "apiGroup", group)


_DEFAULTS: Final[dict[tuple[str, str], Callable[[JsonObject, int], None]]] = {
    ("", "Namespace"): _namespace,
    ("", "Node"): _node,
    ("", "PersistentVolume"): _persistent_volume,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Pod"): _pod,
    ("", "Secret"): _secret,
    ("", "Service"): _service,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("", "ReplicationController"): _replication_controller,
    ("autoscaling", "HorizontalPodAutoscaler"): _autoscaler,
    ("batch", "CronJob"): _cron_job,
    ("batch", "Job"): _job,
    ("", "Endpoints"): _endpoints,
    ("", "LimitRange"): _limit_range,
    ("", "PodTemplate"): _pod_template,
    ("discovery.k8s.io", "EndpointSlice"): _endpoint_slice,
    ("networking.k8s.io", "NetworkPolicy"): _network_policy,
    ("policy", "PodDisruptionBudget"): _disruption_budget,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): _binding,
    ("rbac.authorization.k8s.io", "RoleBinding"): _binding,
    ("scheduling.k8s.io", "PriorityClass"): _priority_class,
    ("storage.k8s.io", "StorageClass"): _storage_class,
}


# --- small tools: a value of the wrong type is stepped over ---


def _part(holder: JsonObject, name: str) -> JsonObject:
    """The object under `name`, made if there is none; a throw-away one if something else stands there."""
    found = holder.setdefault(name, {})
    return found if isinstance(found, dict) else {}


def _items(holder: JsonObject, name: str) -> Iterator[JsonObject]:
    found = holder.get(name)
    if isinstance(found, list):
        yield from (each for each in found if isinstance(each, dict))


def _fill(holder: JsonObject, name: str, value: Any) -> None:
    """Sets a field whose zero value means "not set"."""
    found = holder.get(name)
    if value is not None and (found is None or (not found and not isinstance(found, bool))):
        holder[name] = value


def _milli(sizes: object) -> None:
    """Resource lists are kept at milli precision, rounded up (`SetDefaults_ResourceList`)."""
    if isinstance(sizes, dict):
        for name, size in sizes.items():
            try:
                sizes[name] = str(Quantity.parse(size).rounded_to_milli())
            except ValueError:
                continue


def _computed(sizes: object) -> dict[str, Quantity]:
    found = {}
    for name in ("cpu", "memory"):
        try:
            size = Quantity.parse(sizes.get(name)) if isinstance(sizes, dict) else Quantity(0)
        except ValueError:
            continue
        if size > Quantity(0):
            found[name] = size
    return found
