"""Where a pod comes from: the API, or a manifest of its node, of which the API shows a mirror."""

from __future__ import annotations

from typing import Final

from seatrial.kube.objects import Pod

CONFIG_HASH: Final = "kubernetes.io/config.hash"
CONFIG_MIRROR: Final = "kubernetes.io/config.mirror"
CONFIG_SEEN: Final = "kubernetes.io/config.seen"
CONFIG_SOURCE: Final = "kubernetes.io/config.source"
CRITICAL_PRIORITY: Final = 2_000_000_000


def is_mirror(pod: Pod) -> bool:
    return CONFIG_MIRROR in pod.metadata.annotations


def is_static(pod: Pod) -> bool:
    return pod.metadata.annotations.get(CONFIG_SOURCE, "api") != "api"


def is_critical(pod: Pod) -> bool:
    """A static pod, its mirror, or one of a system priority: a node does not evict it, nor refuse it under pressure."""
    return is_static(pod) or is_mirror(pod) or (pod.spec.priority or 0) >= CRITICAL_PRIORITY


def uid_on_node(pod: Pod) -> str:
    """The uid under which the node runs what the API shows as `pod`."""
    return pod.metadata.annotations.get(CONFIG_MIRROR) or pod.metadata.uid
