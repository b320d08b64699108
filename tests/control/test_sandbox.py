"""What a container may see and do, from its pod and its image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from seatrial.control.sandbox import ConfigError, ImageConfig, NodeView, Sandbox, container_sandbox, expand
from seatrial.kube.objects import ConfigMap, Pod, Secret, Service, parse_as


class Nothing:
    """A namespace without objects."""

    def config_map(self, name: str) -> ConfigMap | None:
        return None

    def secret(self, name: str) -> Secret | None:
        return None

    def services(self) -> Iterable[Service]:
        return ()


def sandbox(image: ImageConfig = ImageConfig(entrypoint=("/run",), cmd=("a",)), **container: Any) -> Sandbox:  # noqa: B008 - frozen
    pod = parse_as(
        Pod, {"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [{"name": "c", **container}]}}
    )
    passwd = "web:x:1001:1002::/:/bin/sh\n"
    return container_sandbox(
        pod, pod.spec.containers[0], image, lookup=Nothing(), node=NodeView(), volumes={}, files={}, passwd=passwd
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [("$(A)", "1"), ("$$(A)", "$(A)"), ("$(B)", "$(B)"), ("$A", "$A"), ("x$(A", "x$(A"), ("$$", "$")],
)
def test_references_are_expanded_as_upstream_does(text: str, expected: str) -> None:
    assert expand(text, {"A": "1"}) == expected


def test_command_replaces_entrypoint_and_cmd_and_args_alone_replace_cmd() -> None:
    assert sandbox().args == ("/run", "a")
    assert sandbox(args=["b"]).args == ("/run", "b")
    assert sandbox(command=["/c"]).args == ("/c",)


def test_image_user_names_are_looked_up_in_its_passwd() -> None:
    user = sandbox(ImageConfig(cmd=("x",), user="web")).user
    assert (user.uid, user.gid) == (1001, 1002)


def test_a_root_image_is_refused_when_the_container_must_not_be_root() -> None:
    with pytest.raises(ConfigError, match="image will run as root"):
        sandbox(securityContext={"runAsNonRoot": True})


def test_dropping_all_capabilities_and_adding_one_leaves_that_one() -> None:
    made = sandbox(securityContext={"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}})
    assert made.capabilities == ("CAP_NET_BIND_SERVICE",)


def test_limits_follow_upstreams_arithmetic() -> None:
    limits = sandbox(resources={"requests": {"cpu": "250m"}, "limits": {"cpu": "500m", "memory": "64Mi"}}).limits
    assert (limits.cpu_shares, limits.cpu_quota_us, limits.memory_bytes) == (256, 50_000, 64 * 1024 * 1024)


def test_a_missing_config_map_is_named_in_upstreams_words() -> None:
    with pytest.raises(ConfigError, match='configmap "gone" not found'):
        sandbox(envFrom=[{"configMapRef": {"name": "gone"}}])
