"""What the API adds to pods and refuses of them by the labels of their namespace and by their RuntimeClass."""

from __future__ import annotations

from typing import Any

import pytest

from seatrial.kube.objects import JsonObject
from seatrial.server.api import Api
from seatrial.server.errors import StatusError
from seatrial.server.requests import Options
from seatrial.server.store import Store

ENFORCE = "pod-security.kubernetes.io/enforce"
WARN = "pod-security.kubernetes.io/warn"


@pytest.fixture
def api() -> Api:
    return Api(Store.open(":memory:"), disabled_plugins=("ServiceAccount",))


def create(api: Api, version: str, kind: str, name: str, **more: Any) -> tuple[JsonObject, list[str]]:
    options = Options()
    resource = api.kind(version, kind)
    raw = {"metadata": {"name": name, **more.pop("metadata", {})}, **more}
    return api.create(resource, "default" if resource.namespaced else "", raw, options), options.warnings


def label(api: Api, **labels: str | None) -> list[str]:
    options = Options()
    named = {f"pod-security.kubernetes.io/{mode.replace('_', '-')}": level for mode, level in labels.items()}
    api.patch(api.kind("v1", "Namespace"), "", "default", {"metadata": {"labels": named}}, options=options)
    return options.warnings


SPEC = {"containers": [{"name": "app", "image": "app:1"}]}
ON_HOST = {**SPEC, "hostNetwork": True}


def test_a_namespace_refuses_pods_below_its_level_and_warns_of_templates(api: Api) -> None:
    label(api, enforce="baseline", warn="restricted")
    with pytest.raises(StatusError) as refused:
        create(api, "v1", "Pod", "host", spec=ON_HOST)
    assert refused.value.code == 403
    assert str(refused.value) == (
        'pods "host" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)'
    )
    _, [warning] = create(api, "v1", "Pod", "plain", spec=SPEC)
    assert warning.startswith('would violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false (cont')
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": ON_HOST}
    _, [warning] = create(
        api, "apps/v1", "Deployment", "web", spec={"selector": {"matchLabels": labels}, "template": template}
    )
    assert 'would violate PodSecurity "restricted:latest": host namespaces (hostNetwork=true), ' in warning


def test_only_a_change_of_images_is_looked_at_again(api: Api) -> None:
    create(api, "v1", "Pod", "host", spec=ON_HOST)
    assert label(api, enforce="baseline") == [
        'existing pods in namespace "default" violate the new PodSecurity enforce level "baseline:latest"',
        "host: host namespaces",
    ]
    pods = api.kind("v1", "Pod")
    api.patch(pods, "default", "host", {"metadata": {"labels": {"a": "b"}}})
    with pytest.raises(StatusError, match="violates PodSecurity"):
        api.patch(pods, "default", "host", {"spec": {"containers": [{**SPEC["containers"][0], "image": "app:2"}]}})


def test_a_level_that_there_is_not_is_refused(api: Api) -> None:
    with pytest.raises(StatusError, match=r'enforce\]: Invalid value: "strict": must be one of privileged, baseline, '):
        label(api, enforce="strict")
    with pytest.raises(StatusError, match=r'enforce-version\]: Invalid value: "1\.30": must be "latest" or "v1\.x"'):
        label(api, enforce_version="1.30")


def test_a_pod_gets_the_overhead_and_the_places_of_its_runtime_class(api: Api) -> None:
    tolerations = [{"key": "sandbox", "operator": "Exists"}]
    create(
        api,
        "node.k8s.io/v1",
        "RuntimeClass",
        "gvisor",
        handler="runsc",
        overhead={"podFixed": {"memory": "64Mi"}},
        scheduling={"nodeSelector": {"sandbox": "yes"}, "tolerations": tolerations},
    )
    made, _ = create(api, "v1", "Pod", "boxed", spec={**SPEC, "runtimeClassName": "gvisor"})
    assert made["spec"]["overhead"] == {"memory": "64Mi"}
    assert made["spec"]["nodeSelector"] == {"sandbox": "yes"}
    assert tolerations[0] in made["spec"]["tolerations"]
    for more, why in (
        ({"runtimeClassName": "kata"}, 'pods "p" is forbidden: pod rejected: RuntimeClass "kata" not found'),
        ({"runtimeClassName": "gvisor", "overhead": {"memory": "1Mi"}}, "Pod's Overhead doesn't match RuntimeClass's"),
        ({"overhead": {"memory": "1Mi"}}, "Pod Overhead set without corresponding RuntimeClass defined Overhead"),
        ({"runtimeClassName": "gvisor", "nodeSelector": {"sandbox": "no"}}, "conflict: runtimeClass.scheduling.node"),
    ):
        with pytest.raises(StatusError) as refused:
            create(api, "v1", "Pod", "p", spec={**SPEC, **more})
        assert why in str(refused.value)


def test_addresses_of_services_are_refused_in_upstreams_order(api: Api) -> None:
    """What the allocator sees first is told alone; node ports and health check ports are each of one Service."""
    ports = [{"port": 80}]
    with pytest.raises(StatusError) as refused:
        create(api, "v1", "Service", "web", spec={"ports": [{"port": 0}], "clusterIPs": ["10.0.0.1"]})
    assert [cause["field"] for cause in refused.value.status["details"]["causes"]] == ["spec.clusterIPs"]
    with pytest.raises(StatusError, match="this cluster is not configured for dual-stack services"):
        create(api, "v1", "Service", "web", spec={"ports": ports, "ipFamilyPolicy": "RequireDualStack"})
    balancer = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": ports}
    made, _ = create(api, "v1", "Service", "web", spec=balancer)
    numbers = {made["spec"]["healthCheckNodePort"], made["spec"]["ports"][0]["nodePort"]}
    assert len(numbers) == 2
    taken = {"type": "NodePort", "ports": [{"port": 80, "nodePort": made["spec"]["healthCheckNodePort"]}]}
    with pytest.raises(StatusError, match=r"spec.ports\[0\].nodePort: .* provided port is already allocated"):
        create(api, "v1", "Service", "other", spec=taken)
    after = api.patch(api.kind("v1", "Service"), "default", "web", {"spec": {"type": "ClusterIP"}})
    assert not {"healthCheckNodePort", "externalTrafficPolicy"} & after["spec"].keys()
    assert "nodePort" not in after["spec"]["ports"][0]
