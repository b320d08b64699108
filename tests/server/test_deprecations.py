"""Which versions warn of which API versions; that every answer does is in tests/golden/endpoints-deprecated.md."""

from __future__ import annotations

import pytest

from seatrial.kube import schemas
from seatrial.server import deprecations


@pytest.mark.parametrize(
    ("kind", "version", "said"),
    [
        ("Endpoints", "1.32", ""),
        ("Endpoints", "1.33", "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
        ("ComponentStatus", "1.29", "v1 ComponentStatus is deprecated in v1.19+"),
        ("Pod", "1.37", ""),
    ],
)
def test_a_deprecated_api_version_warns_from_its_release_on(kind: str, version: str, said: str) -> None:
    (resource,) = (each for each in schemas.resources(version) if (each.group, each.kind) == ("", kind))
    assert deprecations.warning(resource, version) == said
