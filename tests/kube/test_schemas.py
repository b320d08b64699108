"""The compiled schemas: every version complete, problems found and explained."""

from __future__ import annotations

from typing import Any

import pytest

from seatrial.kube import schemas


def deployment(**container: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"spec": {"containers": [{"name": "web", "image": "web", **container}]}},
        },
    }


def problems(raw: dict[str, Any], version: str = "1.37") -> list[tuple[str, str]]:
    return [(schemas.validation.dotted(each.path), each.kind) for each in schemas.validate(raw, schemas.load(version))]


@pytest.mark.parametrize("version", schemas.versions())
def test_every_version_has_every_definition_with_merge_keys_and_texts(version: str) -> None:
    known = schemas.load(version)
    pod = known.kind("v1", "Pod")
    assert pod is not None
    spec = pod.field("spec")
    assert spec is not None
    containers = spec.field("containers")
    assert containers is not None
    assert (containers.merge_key, containers.patch_strategies) == ("name", frozenset({"merge"}))
    assert containers.description.startswith("List of containers belonging to the pod.")
    assert pod.description.startswith("Pod is a collection of containers")
    for api_version, kind in known.kinds:
        document = known.kind(api_version, kind)
        assert document is not None
        assert {"apiVersion", "kind"} <= set(document.properties)
    assert {each.plural for each in schemas.resources(version)} >= {
        "pods",
        "deployments",
        "services",
        "servicemonitors",
    }
    assert problems(deployment(), version) == []


def test_all_stable_kinds_have_resource_facts_or_are_subresources() -> None:
    served = {(each.api_version, each.kind) for each in schemas.resources()}
    stable = {
        (api_version, kind)
        for api_version, kind in schemas.load().kinds
        if "alpha" not in api_version and "beta" not in api_version and not kind.endswith("List")
    }
    only_subresources = {
        ("autoscaling/v1", "Scale"),
        ("policy/v1", "Eviction"),
        ("authentication.k8s.io/v1", "TokenRequest"),
    }
    assert stable - served == only_subresources


@pytest.mark.parametrize(
    ("container", "found"),
    [
        ({"imag": "x"}, [("spec.template.spec.containers[0].imag", "unknown")]),
        ({"image": 3}, [("spec.template.spec.containers[0].image", "type")]),
        ({"image": None}, []),
        ({"stdin": "true"}, [("spec.template.spec.containers[0].stdin", "type")]),
        ({"resources": {"limits": {"cpu": "1x"}}}, [("spec.template.spec.containers[0].resources.limits.cpu", "type")]),
        ({"resources": {"limits": {"cpu": 0.5}}}, []),
        ({"ports": [{}]}, [("spec.template.spec.containers[0].ports[0].containerPort", "required")]),
        (
            {"ports": [{"containerPort": 1 << 40}]},
            [("spec.template.spec.containers[0].ports[0].containerPort", "type")],
        ),
        ({"readinessProbe": {"httpGet": {"port": "http"}}}, []),
        ({"env": [{"name": "A"}, {"name": "A"}]}, [("spec.template.spec.containers[0].env[1]", "duplicate")]),
        ({"command": "sh"}, [("spec.template.spec.containers[0].command", "type")]),
    ],
)
def test_problems_have_their_place_and_kind(container: dict[str, Any], found: list[tuple[str, str]]) -> None:
    assert problems(deployment(**container)) == found


def test_a_misspelt_field_and_a_misspelt_kind_get_a_hint() -> None:
    [field] = schemas.validate(deployment(readinesProbe={}), schemas.load())
    assert field.message.endswith('did you mean "readinessProbe"?')
    [kind] = schemas.validate({"apiVersion": "apps/v1", "kind": "Deploymnt"}, schemas.load())
    assert kind.message.endswith('did you mean "Deployment"?')
    [moved] = schemas.validate({"apiVersion": "extensions/v1beta1", "kind": "Ingress"}, schemas.load())
    assert moved.message.endswith("it is in networking.k8s.io/v1")


def test_secrets_say_when_their_data_is_not_base64() -> None:
    raw = {"apiVersion": "v1", "kind": "Secret", "data": {"a": "pass word!"}}
    assert problems(raw) == [("data.a", "type")]


def test_free_form_content_and_schemaless_kinds_are_left_alone() -> None:
    assert problems({"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor", "spec": {"x": 1}}) == []
    revision = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 1, "data": {"anything": {"goes": 1}}}
    assert problems(revision) == []


def test_an_unknown_version_is_refused_with_the_ones_there_are() -> None:
    with pytest.raises(ValueError, match=r"1\.25, 1\.26"):
        schemas.load("1.3")
    assert schemas.load("v1.30.4") is schemas.load("1.30")


def test_openapi_documents_are_closed_and_described() -> None:
    document = schemas.load().openapi_v3("apps/v1")
    components = document["components"]["schemas"]
    kind = components["io.k8s.api.apps.v1.Deployment"]
    assert kind["x-kubernetes-group-version-kind"] == [{"group": "apps", "kind": "Deployment", "version": "v1"}]
    assert kind["description"]

    def references(value: Any) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*map(references, value.values()))
        return set().union(*map(references, value)) if isinstance(value, list) else set()

    assert {each.removeprefix("#/components/schemas/") for each in references(components)} <= components.keys()
