"""Which versions warn of which API versions, and which are gone; every answer warns: golden/endpoints-deprecated."""

from __future__ import annotations

import pytest

from seatrial.kube import retired, schemas


@pytest.mark.parametrize(
    ("kind", "minor", "said"),
    [
        ("Endpoints", 32, ""),
        ("Endpoints", 33, "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
        ("ComponentStatus", 29, "v1 ComponentStatus is deprecated in v1.19+"),
        ("Pod", 37, ""),
    ],
)
def test_a_deprecated_api_version_warns_from_its_release_on(kind: str, minor: int, said: str) -> None:
    assert retired.deprecation("v1", kind, minor) == said


@pytest.mark.parametrize(
    ("version", "kind", "said"),
    [
        ("batch/v1beta1", "CronJob", "removed in v1.25; use batch/v1"),
        ("extensions/v1beta1", "Deployment", "removed in v1.16; use apps/v1"),
        ("extensions/v1beta1", "Ingress", "removed in v1.22; use networking.k8s.io/v1"),
        ("policy/v1beta1", "PodSecurityPolicy", "removed in v1.25; nothing takes its place"),
        ("flowcontrol.apiserver.k8s.io/v1beta3", "FlowSchema", "removed in v1.32; use flowcontrol.apiserver.k8s.io/v1"),
        ("batch/v1", "CronJob", ""),
        ("batch/v1beta1", "Jobs", ""),
    ],
)
def test_what_is_gone_says_what_to_use(version: str, kind: str, said: str) -> None:
    assert retired.removal(version, kind) == said


@pytest.mark.parametrize("version", ["1.29", "1.32", "1.37"])
def test_nothing_that_is_served_is_told_to_be_gone(version: str) -> None:
    minor = int(version.removeprefix("1."))
    for each in schemas.resources(version):
        if gone := retired.removal(each.api_version, each.kind):
            assert int(gone.removeprefix("removed in v1.").partition(";")[0]) > minor
