"""Admission: upstream's defaults, canonical quantities, and calm about nonsense."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.control.admission import admit, qos_class

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web"},
    "spec": {
        "containers": [
            {
                "name": "web",
                "image": "web:1",
                "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}},
                "livenessProbe": {"httpGet": {"port": 80}},
                "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            }
        ],
        "volumes": [{"name": "a"}, {"name": "b", "configMap": {"name": "b"}}],
        "priorityClassName": None,
    },
}


def deployment(**spec: Any) -> dict[str, Any]:
    template = {"spec": copy.deepcopy(POD["spec"])}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": template, **spec}}


def test_a_pod_gets_the_defaults_of_its_spec_containers_and_volumes() -> None:
    before = copy.deepcopy(POD)
    spec = admit(POD)["spec"]
    assert before == POD
    assert "priorityClassName" not in spec
    assert {name: spec[name] for name in spec if name not in {"containers", "volumes", "tolerations"}} == {
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
        "priority": 0,
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "serviceAccount": "default",
        "serviceAccountName": "default",
        "terminationGracePeriodSeconds": 30,
    }
    assert spec["volumes"] == [
        {"name": "a", "emptyDir": {}},
        {"name": "b", "configMap": {"name": "b", "defaultMode": 420}},
    ]
    assert spec["containers"] == [
        {
            "name": "web",
            "image": "web:1",
            "imagePullPolicy": "IfNotPresent",
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "ports": [{"containerPort": 80, "protocol": "TCP"}],
            "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}},
            "livenessProbe": {
                "httpGet": {"path": "/", "port": 80, "scheme": "HTTP"},
                "failureThreshold": 3,
                "periodSeconds": 10,
                "successThreshold": 1,
                "timeoutSeconds": 1,
            },
            "env": [{"name": "IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}}],
        }
    ]


def test_a_pod_tolerates_a_lost_node_for_five_minutes_unless_it_says_otherwise() -> None:
    assert [(each["key"], each["tolerationSeconds"]) for each in admit(POD)["spec"]["tolerations"]] == [
        ("node.kubernetes.io/not-ready", 300),
        ("node.kubernetes.io/unreachable", 300),
    ]
    own = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "tolerationSeconds": 5}
    tolerations = admit(POD | {"spec": POD["spec"] | {"tolerations": [own]}})["spec"]["tolerations"]
    assert tolerations[0] == own
    assert [each["key"] for each in tolerations[1:]] == ["node.kubernetes.io/unreachable"]
    everything = [{"operator": "Exists"}]
    assert admit(POD | {"spec": POD["spec"] | {"tolerations": everything}})["spec"]["tolerations"] == everything


def test_templates_are_not_pods() -> None:
    """Requests from limits, tolerations, priority and the account are given to pods only."""
    spec = admit(deployment())["spec"]["template"]["spec"]
    assert spec["containers"][0]["resources"] == {"limits": {"cpu": "500m", "memory": "1Gi"}}
    assert not {"tolerations", "priority", "serviceAccountName", "enableServiceLinks"} & spec.keys()


def test_a_deployment_rolls_a_quarter_at_a_time() -> None:
    spec = admit(deployment())["spec"]
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    assert (spec["replicas"], spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (1, 10, 600)
    given = admit(deployment(replicas=0, strategy={"type": "Recreate"}))["spec"]
    assert (given["replicas"], given["strategy"]) == (0, {"type": "Recreate"})


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("web", "Always"),
        ("web:latest", "Always"),
        ("web:1", "IfNotPresent"),
        ("host:5000/web", "Always"),
        ("web@sha256:0", "IfNotPresent"),
        ("web:latest@sha256:0", "Always"),
    ],
)
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    pod = admit({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"image": image}]}})
    assert pod["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_a_service_gets_target_ports_and_traffic_policies() -> None:
    service = {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80}]}}
    assert admit(service)["spec"] == {
        "internalTrafficPolicy": "Cluster",
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "sessionAffinity": "None",
        "type": "ClusterIP",
    }
    node_port = admit({"apiVersion": "v1", "kind": "Service", "spec": {"type": "NodePort"}})["spec"]
    assert node_port["externalTrafficPolicy"] == "Cluster"


def test_a_secret_takes_its_texts_as_data() -> None:
    secret = admit({"apiVersion": "v1", "kind": "Secret", "stringData": {"a": "b"}, "data": {"a": "Yw==", "d": "ZQ=="}})
    assert secret == {"apiVersion": "v1", "kind": "Secret", "data": {"a": "Yg==", "d": "ZQ=="}, "type": "Opaque"}


def test_a_namespace_is_labelled_with_its_name_and_active() -> None:
    namespace = admit({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    assert namespace["metadata"]["labels"] == {"kubernetes.io/metadata.name": "shop"}
    assert (namespace["spec"], namespace["status"]) == ({"finalizers": ["kubernetes"]}, {"phase": "Active"})


def test_resource_lists_round_up_to_a_thousandth() -> None:
    pod = copy.deepcopy(POD)
    pod["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "0.0001"}}
    assert admit(pod)["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "1m"}


def test_custom_kinds_keep_everything_and_get_a_time() -> None:
    raw = {"apiVersion": "example.com/v1", "kind": "Ship", "spec": {"sails": None}}
    now = datetime(2025, 1, 2, 3, 4, 5, 6, UTC)
    assert admit(raw) == raw
    assert admit(raw, now=now)["metadata"] == {"creationTimestamp": "2025-01-02T03:04:05Z"}


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ([{}], "BestEffort"),
        ([{"requests": {"cpu": "1"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1"}, "requests": {"cpu": "1", "memory": "1"}}], "Guaranteed"),
        ([{"limits": {"cpu": "1", "memory": "1"}, "requests": {"cpu": "1", "memory": "1"}}, {}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1"}, "requests": {"cpu": "500m"}}], "Burstable"),
    ],
)
def test_quality_of_service(resources: list[dict[str, Any]], expected: str) -> None:
    assert qos_class({"containers": [{"resources": each} for each in resources]}) == expected


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(["", "RollingUpdate", "1Gi"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "spec",
                    "template",
                    "containers",
                    "resources",
                    "limits",
                    "requests",
                    "cpu",
                    "volumes",
                    "name",
                    "strategy",
                    "rollingUpdate",
                    "type",
                    "status",
                    "tolerations",
                    "metadata",
                    "labels",
                    "ports",
                    "livenessProbe",
                    "httpGet",
                    "env",
                    "valueFrom",
                    "data",
                    "stringData",
                    "key",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)
KINDS = [
    ("v1", "Pod"), ("v1", "Service"), ("v1", "Secret"), ("v1", "Namespace"), ("v1", "Node"), ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"), ("batch/v1", "CronJob"), ("batch/v1", "Job"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("networking.k8s.io/v1", "NetworkPolicy"), ("v1", "PersistentVolumeClaim"), ("apps/v1", "DaemonSet"),
]  # fmt: skip


@given(st.sampled_from(KINDS), JUNK, JUNK, JUNK)
def test_whatever_comes_in_admission_is_idempotent_and_never_fails(
    kind: tuple[str, str], a: Any, b: Any, c: Any
) -> None:
    raw = {"apiVersion": kind[0], "kind": kind[1], "spec": a, "metadata": b, "status": c}
    once = admit(raw)
    assert admit(once) == once
