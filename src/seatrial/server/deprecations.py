"""Which of the served API versions are on their way out: every answer about them warns, as kube-apiserver's do.

Facts: the `APILifecycleDeprecated` of k8s.io/api, for the stable versions, which are the ones served here.
Warnings of each answer: `k8s.io/apiserver/pkg/endpoints/deprecation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from seatrial.kube.schemas import Resource

_DEPRECATED: Final[Mapping[tuple[str, str], tuple[int, str]]] = {
    ("v1", "ComponentStatus"): (19, ""),
    ("v1", "Endpoints"): (33, "discovery.k8s.io/v1 EndpointSlice"),
}
"""Since which minor version, and what to use."""


def warning(resource: Resource, version: str) -> str:
    """What a client is told who uses the resource on a server of a version (1.37); empty if all is well."""
    since, instead = _DEPRECATED.get((resource.api_version, resource.kind), (None, ""))
    if since is None or int(version.partition(".")[2]) < since:
        return ""
    use = f"; use {instead}" if instead else ""
    return f"{resource.api_version} {resource.kind} is deprecated in v1.{since}+{use}"
