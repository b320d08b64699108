"""What never gets in: webhooks that wait for each other, and what the simulated cluster's API refuses as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seatrial import project
from seatrial.check import judge
from seatrial.check.reading import admissions
from seatrial.check.reading.templates import templates
from seatrial.check.system import System
from seatrial.check.verdicts import Answer, Verdict
from seatrial.control.ownership import is_ready
from seatrial.kube.objects import Pod
from seatrial.testing import Cluster

SCENARIOS = Path(__file__).parents[1] / "scenarios" / "admission"


def loaded(tmp_path: Path, objects: list[dict[str, Any]]) -> System:
    (tmp_path / "system.yaml").write_text(yaml.safe_dump_all(objects))
    return project.load([tmp_path])


def verdicts(system: System) -> list[Verdict]:
    return list(judge.judge(system, ["admission/*"]).verdicts)


def served(name: str) -> list[dict[str, Any]]:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": name, "image": f"{name}:1"}]}}
    spec = {"selector": {"matchLabels": {"app": name}}, "template": template}
    meta = {"name": name, "namespace": name}
    service = {"selector": {"app": name}, "ports": [{"port": 443}]}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service},
    ]


def hook(name: str, covered: list[str], **fields: Any) -> dict[str, Any]:
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
    webhook = {
        "name": f"{name}.example.com",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": {"service": {"namespace": name, "name": name}},
        "namespaceSelector": {
            "matchExpressions": [
                {"key": "kubernetes.io/metadata.name", "operator": "In", "values": covered or ["none"]}
            ]
        },
        "rules": [rule],
        **fields,
    }
    kind = "ValidatingWebhookConfiguration"
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "webhooks": [webhook],
    }


NAMES = ("a", "b", "c", "d")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.fixed_dictionaries({name: st.sets(st.sampled_from(NAMES)) for name in NAMES}))
def test_what_is_stuck_is_what_no_order_of_starts_reaches(tmp_path_factory: Any, covers: dict[str, set[str]]) -> None:
    """A plain reading: whoever starts needs all webhooks over it to be up; starts are tried in every order there is."""
    objects = [each for name in NAMES for each in (*served(name), hook(name, sorted(covers[name])))]
    system = loaded(tmp_path_factory.mktemp("webhooks"), objects)
    found = admissions.stuck(system, admissions.webhooks_of(system), templates(system))
    reached: set[frozenset[str]] = set()
    work = [frozenset[str]()]
    while work:
        up = work.pop()
        if up in reached:
            continue
        reached.add(up)
        for name in NAMES:
            if name not in up and {other for other in NAMES if name in covers[other]} <= up:
                work.append(up | {name})
    most = max(reached, key=len)
    assert {each.template.key.name for each in found} == set(NAMES) - most
    answers = {verdict.verdict for verdict in verdicts(system)}
    assert answers == ({Answer.REFUTED} if len(most) < len(NAMES) else {Answer.PROVED})


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({}, Answer.REFUTED),
        ({"failurePolicy": "Ignore"}, Answer.PROVED),
        ({"objectSelector": {"matchLabels": {"app": "other"}}}, Answer.PROVED),
        ({"clientConfig": {"url": "https://policy.example.com"}}, Answer.PROVED),
        ({"clientConfig": {"service": {"namespace": "elsewhere", "name": "policy"}}}, Answer.PROVED),
        ({"matchConditions": [{"name": "own", "expression": "true"}]}, Answer.PROVED),
    ],
)
def test_who_has_to_answer(tmp_path: Path, fields: dict[str, Any], answer: Answer) -> None:
    (verdict,) = verdicts(loaded(tmp_path, [*served("a"), hook("a", ["a"], **fields)]))
    assert verdict.verdict is answer


def test_a_webhook_without_pods_closes_its_namespaces_for_ever(tmp_path: Path) -> None:
    service = served("a")[2]
    service["spec"]["selector"] = {"app": "nobody"}
    (verdict,) = verdicts(loaded(tmp_path, [*served("b"), service, hook("a", ["b"])]))
    assert verdict.verdict is Answer.REFUTED
    assert "no pod stands behind its Service a/a" in verdict.message


@pytest.mark.parametrize("name", ["restricted-namespace", "quota-without-limits"])
@pytest.mark.parametrize("twin", ["broken", "repaired"])
def test_the_simulated_api_refuses_the_same_pods(name: str, twin: str) -> None:
    files = SCENARIOS / name / twin
    (told,) = (verdict for verdict in verdicts(project.load([files])))
    with Cluster(nodes=1) as cluster:
        cluster.apply(files)
        cluster.advance(600)
        pods = cluster.list(Pod)
        assert (len(pods) == 2 and all(map(is_ready, pods))) == (told.verdict is Answer.PROVED)
        if told.verdict is Answer.REFUTED:
            assert not pods
            why = told.message.partition("comes back: ")[2]
            assert any("FailedCreate" in each and why in each for each in cluster.events())


def test_hostile_configurations_end(tmp_path: Path) -> None:
    odd = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    objects = [
        *served("a"),
        {**odd, "metadata": {"name": "x"}, "webhooks": [7, {"rules": "all"}, {"rules": [{"resources": 5}]}]},
        {**odd, "metadata": {"name": "y"}, "webhooks": {"rules": []}},
        {**odd, "metadata": {"name": "z"}, "webhooks": [{"clientConfig": [], "rules": [[]], "timeoutSeconds": "x"}]},
    ]
    assert [each.verdict for each in verdicts(loaded(tmp_path, objects))] == [Answer.PROVED]
