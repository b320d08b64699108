"""Pod Security: levels, versions and upstream's words, in the function and at the door of the cluster."""

from __future__ import annotations

from typing import Any

import pytest

from seatrial.control import podsecurity
from seatrial.kube.objects import Pod, PodSpec, parse_as
from seatrial.testing import Cluster

GOOD: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {"name": "a", "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
    ],
}


def told(level: str, spec: dict[str, Any], version: str = "latest") -> str:
    labels = {podsecurity.ENFORCE: level, podsecurity.ENFORCE_VERSION: version}
    return podsecurity.refusal(podsecurity.enforced(labels), parse_as(PodSpec, spec), {})


def test_a_bare_pod_is_refused_in_upstreams_words_and_order() -> None:
    """As the page https://kubernetes.io/docs/tutorials/security/cluster-level-pss/ shows it."""
    assert told("restricted", {"containers": [{"name": "nginx"}]}) == (
        'violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "nginx" must set '
        'securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "nginx" must set '
        'securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "nginx" must set '
        'securityContext.runAsNonRoot=true), seccompProfile (pod or container "nginx" must set '
        'securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
    )


@pytest.mark.parametrize(
    ("level", "change", "words"),
    [
        ("baseline", {"hostNetwork": True, "hostPID": True}, "host namespaces (hostNetwork=true, hostPID=true)"),
        ("baseline", {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, 'hostPath volumes (volume "v")'),
        (
            "restricted",
            {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
            'restricted volume types (volume "v" uses restricted volume type "hostPath")',
        ),
        (
            "baseline",
            {"containers": [{"name": n, "ports": [{"hostPort": 80}]} for n in "ab"]},
            'hostPort (containers "a", "b" use hostPort 80)',
        ),
        (
            "baseline",
            {"containers": [{"name": "a", "securityContext": {"capabilities": {"add": ["SYS_ADMIN", "NET_ADMIN"]}}}]},
            'must not include "NET_ADMIN", "SYS_ADMIN" in securityContext.capabilities.add)',
        ),
        (
            "restricted",
            {"securityContext": {**GOOD["securityContext"], "runAsUser": 0}},
            "pod must not set runAsUser=0",
        ),
    ],
)
def test_what_each_level_refuses(level: str, change: dict[str, Any], words: str) -> None:
    assert told(level, GOOD) == ""
    assert words in told(level, {**GOOD, **change})
    assert told("privileged", {**GOOD, **change}) == ""


def test_a_check_counts_from_its_version_on() -> None:
    probe = {"tcpSocket": {"host": "10.0.0.1", "port": 80}}
    spec = {"containers": [{"name": "a", "livenessProbe": probe}]}
    assert told("baseline", spec, "v1.33") == ""
    assert 'container "a" uses probe or lifecycle host "10.0.0.1"' in told("baseline", spec, "v1.34")
    assert "capabilities" not in told("restricted", {"containers": [{"name": "a"}]}, "v1.21")


@pytest.mark.parametrize(
    ("minor", "level", "change"),
    [
        (32, "baseline", {"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem", "value": "1"}]}}),
        (31, "baseline", {"securityContext": {"seLinuxOptions": {"type": "container_engine_t"}}}),
        (
            35,
            "baseline",
            {"hostUsers": False, "containers": [{"name": "a", "securityContext": {"procMount": "Unmasked"}}]},
        ),
        (35, "restricted", {"hostUsers": False, "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}),
    ],
)
def test_later_versions_allow_more(minor: int, level: str, change: dict[str, Any]) -> None:
    assert told(level, {**GOOD, **change}, f"v1.{minor - 1}")
    assert told(level, {**GOOD, **change}, f"v1.{minor}") == ""


def test_an_app_armor_profile_is_told_whether_it_is_a_field_or_an_annotation() -> None:
    spec = parse_as(
        PodSpec, {"containers": [{"name": "a", "securityContext": {"appArmorProfile": {"type": "Unconfined"}}}]}
    )
    notes = {"container.apparmor.security.beta.kubernetes.io/b": "unconfined"}
    assert podsecurity.refusal(podsecurity.enforced({podsecurity.ENFORCE: "baseline"}), spec, notes) == (
        'violates PodSecurity "baseline:latest": forbidden AppArmor profiles (container "a" and annotation must not set'
        ' AppArmor profile type to "Unconfined", "container.apparmor.security.beta.kubernetes.io/b="unconfined"")'
    )


def test_what_is_warned_of_is_what_is_enforced_unless_the_labels_say_so() -> None:
    prefix = "pod-security.kubernetes.io/"
    enforced = {f"{prefix}enforce": "baseline", f"{prefix}enforce-version": "v1.30"}
    assert str(podsecurity.warned(enforced)) == "baseline:v1.30"
    assert str(podsecurity.warned({**enforced, f"{prefix}warn": "restricted"})) == "restricted:latest"
    assert str(podsecurity.warned({**enforced, f"{prefix}warn": "strict"})) == "privileged:latest"
    misspelt = {f"{prefix}enforce": "strict", f"{prefix}audit-version": "1.30", f"{prefix}warn": "baseline"}
    assert [str(fault) for fault in podsecurity.label_faults(misspelt)] == [
        f'metadata.labels[{prefix}enforce]: Invalid value: "strict": must be one of privileged, baseline, restricted',
        f'metadata.labels[{prefix}audit-version]: Invalid value: "1.30": must be "latest" or "v1.x"',
    ]


def test_the_api_refuses_new_pods_and_leaves_those_that_are_there() -> None:
    """A Deployment in a namespace that gets restricted keeps its pods and loses each that goes."""
    text = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: a}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "web:1"}]}
"""
    with Cluster(nodes=1) as cluster:
        cluster.apply(text)
        assert cluster.settle()
        labelled = text.partition("---")[0].replace("team: a", "pod-security.kubernetes.io/enforce: restricted")
        cluster.apply(labelled)
        first, second = (pod.metadata.name for pod in cluster.list(Pod))
        cluster.delete("v1", "Pod", first, "shop")
        cluster.advance(600)
        assert [pod.metadata.name for pod in cluster.list(Pod)] == [second]
        assert any("FailedCreate" in each and 'violates PodSecurity "restricted' in each for each in cluster.events())
