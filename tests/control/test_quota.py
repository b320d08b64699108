"""What objects use of a quota, what a quota counts, and what it refuses in upstream's words."""

from __future__ import annotations

from datetime import timedelta

import pytest

from seatrial.control import quota
from seatrial.control.quota import QuotaError, usage
from seatrial.kube.objects import Object, Pod, ResourceQuota, parse
from tests.control.harness import START, Harness


def obj(raw: dict[str, object]) -> Object:
    found = parse(raw)
    assert found is not None
    return found


def pod(name: str = "p", requests: dict[str, str] | None = None, **spec: object) -> dict[str, object]:
    container = {"name": "c", "image": "i", "resources": {"requests": requests or {}, "limits": {"memory": "2Gi"}}}
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [container], **spec}}


def a_quota(hard: dict[str, str], **spec: object) -> dict[str, object]:
    meta = {"name": "q", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": hard, **spec}}


def texts(sizes: object) -> dict[str, str]:
    assert isinstance(sizes, dict)
    return {name: str(size) for name, size in sizes.items()}


def counted(cluster: Harness) -> dict[str, str]:
    cluster.settle()
    return texts(dict(cluster.get(ResourceQuota, "q").status.used))


def charge(cluster: Harness, raw: dict[str, object]) -> None:
    cluster.settle()
    quota.charge(cluster.all(ResourceQuota), obj(raw), None, cluster.now)


def test_a_pod_uses_its_requests_its_limits_and_its_place() -> None:
    used = texts(usage(obj(pod(requests={"cpu": "250m", "memory": "1Gi", "example.com/gpu": "2"})), START))
    assert used == {
        "count/pods": "1",
        "pods": "1",
        "cpu": "250m",
        "requests.cpu": "250m",
        "memory": "1Gi",
        "requests.memory": "1Gi",
        "limits.memory": "2Gi",
        "requests.example.com/gpu": "2",
    }


def test_finished_pods_and_pods_stuck_beyond_their_grace_use_nothing_but_storage() -> None:
    finished = obj({**pod(), "status": {"phase": "Succeeded"}})
    assert texts(usage(finished, START)) == {"count/pods": "1"}
    stuck = obj(pod())
    assert isinstance(stuck, Pod)
    meta = stuck.metadata.__class__(name="p", deletion_timestamp=START, deletion_grace_period_seconds=30)
    stuck = stuck.__class__(metadata=meta, spec=stuck.spec)
    assert "pods" in usage(stuck, START + timedelta(seconds=30))
    assert "pods" not in usage(stuck, START + timedelta(seconds=31))


def test_services_and_claims_are_counted_by_what_they_take() -> None:
    ports = [{"port": 80}, {"port": 81}]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}
    balanced = texts(usage(obj({**service, "spec": {"type": "LoadBalancer", "ports": ports}}), START))
    assert (balanced["services.loadbalancers"], balanced["services.nodeports"]) == ("1", "2")
    spec = {"storageClassName": "fast", "resources": {"requests": {"storage": "5Gi"}}}
    claim: dict[str, object] = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"}}
    claim["spec"] = spec
    used = texts(usage(obj(claim), START))
    assert used["fast.storageclass.storage.k8s.io/requests.storage"] == used["requests.storage"] == "5Gi"


def test_the_controller_counts_what_is_there() -> None:
    cluster = Harness((quota.CONTROLLER,))
    cluster.apply(a_quota({"pods": "10", "requests.cpu": "2", "count/configmaps": "5", "secrets": "3"}))
    for name in "abc":
        cluster.apply(pod(name, {"cpu": "100m"}))
        cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}})
    assert counted(cluster) == {"pods": "3", "requests.cpu": "300m", "count/configmaps": "3", "secrets": "0"}
    cluster.delete(cluster.get(Pod, "a").key)
    assert counted(cluster)["pods"] == "2"


def test_what_does_not_fit_is_refused_with_the_numbers() -> None:
    cluster = Harness((quota.CONTROLLER,))
    cluster.apply(a_quota({"requests.cpu": "500m", "pods": "5"}))
    cluster.apply(pod("a", {"cpu": "400m"}))
    with pytest.raises(QuotaError) as refused:
        charge(cluster, pod("b", {"cpu": "200m"}))
    assert str(refused.value) == (
        "exceeded quota: q, requested: requests.cpu=200m, used: requests.cpu=400m, limited: requests.cpu=500m"
    )
    charge(cluster, pod("b", {"cpu": "100m"}))


def test_a_quota_of_cpu_wants_every_container_to_say_its_cpu() -> None:
    """If quota is enabled for cpu or memory, each new pod must set requests or limits for it."""
    cluster = Harness((quota.CONTROLLER,))
    cluster.apply(a_quota({"requests.cpu": "1", "limits.cpu": "1"}))
    with pytest.raises(QuotaError) as refused:
        charge(cluster, pod("b"))
    assert str(refused.value) == "failed quota: q: must specify limits.cpu for: c; requests.cpu for: c"


def test_before_its_first_count_a_quota_refuses() -> None:
    cluster = Harness(())
    raw = a_quota({"pods": "1"})
    cluster.apply({**raw, "status": {"hard": {"pods": "1"}}})
    with pytest.raises(QuotaError, match="status unknown for quota: q, resources: pods"):
        charge(cluster, pod("b"))


@pytest.mark.parametrize(
    ("scope", "raw", "inside"),
    [
        ({"scopes": ["BestEffort"]}, pod(), False),
        ({"scopes": ["NotBestEffort"]}, pod(), True),
        ({"scopes": ["Terminating"]}, pod(activeDeadlineSeconds=5), True),
        ({"scopes": ["NotTerminating"]}, pod(activeDeadlineSeconds=5), False),
        (
            {
                "scopeSelector": {
                    "matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]
                }
            },
            pod(priorityClassName="high"),
            True,
        ),
        (
            {
                "scopeSelector": {
                    "matchExpressions": [{"scopeName": "PriorityClass", "operator": "NotIn", "values": ["high"]}]
                }
            },
            pod(priorityClassName="high"),
            False,
        ),
    ],
)
def test_a_scope_limits_which_pods_count(scope: dict[str, object], raw: dict[str, object], inside: bool) -> None:
    cluster = Harness((quota.CONTROLLER,))
    cluster.apply(a_quota({"pods": "10"}, **scope))
    cluster.apply(raw)
    assert counted(cluster) == {"pods": "1" if inside else "0"}


def test_a_change_is_charged_by_its_difference() -> None:
    cluster = Harness((quota.CONTROLLER,))
    cluster.apply(a_quota({"requests.storage": "10Gi"}))

    def claim(size: str) -> dict[str, object]:
        spec = {"resources": {"requests": {"storage": size}}}
        meta = {"name": "c", "namespace": "default"}
        return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec}

    cluster.apply(claim("8Gi"))
    cluster.settle()
    (charged,) = quota.charge(cluster.all(ResourceQuota), obj(claim("9Gi")), obj(claim("8Gi")), cluster.now)
    assert texts(dict(charged.after.status.used)) == {"requests.storage": "9Gi"}
    with pytest.raises(QuotaError):
        quota.charge(cluster.all(ResourceQuota), obj(claim("11Gi")), obj(claim("8Gi")), cluster.now)


def test_claims_are_counted_by_the_attributes_they_ask_for_have_or_are_on_their_way_to() -> None:
    def claim(name: str, asked: str | None = None, **status: object) -> dict[str, object]:
        spec = {
            "resources": {"requests": {"storage": "1Gi"}},
            **({"volumeAttributesClassName": asked} if asked else {}),
        }
        meta = {"name": name, "namespace": "default"}
        return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec, "status": status}

    def counts(operator: str, *values: str) -> str:
        cluster = Harness((quota.CONTROLLER,))
        scope = {"scopeName": "VolumeAttributesClass", "operator": operator, "values": list(values)}
        cluster.apply(a_quota({"persistentvolumeclaims": "9"}, scopeSelector={"matchExpressions": [scope]}))
        for raw in (
            claim("plain"),
            claim("asks", "gold"),
            claim("has", "silver", currentVolumeAttributesClassName="gold"),
            claim(
                "goes", "silver", modifyVolumeStatus={"targetVolumeAttributesClassName": "silver", "status": "Pending"}
            ),
        ):
            cluster.apply(raw)
        return counted(cluster)["persistentvolumeclaims"]

    assert counts("Exists") == "3"
    assert counts("In", "gold") == "2"
    assert counts("NotIn", "gold") == "3", "one of its two classes is another"
    assert counts("DoesNotExist") == "1"
