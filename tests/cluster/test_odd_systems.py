"""Systems that nobody should write: each comes to rest, is refused, or goes round as upstream does, and never silently.

A system is a function that sets it up. Then half an hour passes, and another: in the second, hardly anything may be
written but by those that go on for ever upstream, too (`RESTLESS`, with the reason).
"""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Final

import pytest

from seatrial.cluster import loop
from seatrial.cluster.behaviours import Rule, by_rules
from seatrial.cluster.simulated import Behaviour
from seatrial.cluster.virtual import VirtualCluster
from seatrial.control.replicaset import BURST
from seatrial.kube.objects import JsonObject
from seatrial.server.requests import DeleteOptions

CALM: Final = 30
"""Writes (of anything but events) in half an hour that are still rest."""
A: Final = {"app": "a"}
API: Final = {
    "Deployment": "apps/v1",
    "ReplicaSet": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "ControllerRevision": "apps/v1",
    "Job": "batch/v1",
    "CronJob": "batch/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "PodDisruptionBudget": "policy/v1",
    "EndpointSlice": "discovery.k8s.io/v1",
    "Lease": "coordination.k8s.io/v1",
}
NEVER: Final = ("9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z")


class Trial:
    """A cluster of three nodes that counts what is written."""

    def __init__(self, **how: Any) -> None:
        self.cluster = VirtualCluster(nodes=3, seed=1, **how)
        self.writes: Counter[tuple[str, str]] = Counter()
        self.cluster.api.subscribe(self._count)

    def _count(self, before: JsonObject | None, after: JsonObject | None, _: int) -> None:
        raw = after or before
        if raw is not None and raw["kind"] != "Event":
            self.writes[raw["kind"], raw["metadata"]["name"]] += 1

    def apply(self, *manifests: JsonObject) -> None:
        self.cluster.apply(manifests)

    def minutes(self, count: int) -> None:
        self.cluster.advance(timedelta(minutes=count))

    def list(self, kind: str) -> list[JsonObject]:
        return self.cluster.list(API.get(kind, "v1"), kind)

    def get(self, kind: str, name: str) -> JsonObject:
        return next(raw for raw in self.list(kind) if raw["metadata"]["name"] == name)

    def patch(self, kind: str, name: str, patch: JsonObject, part: str = "", namespace: str = "default") -> None:
        resource = self.cluster.api.kind(API.get(kind, "v1"), kind)
        self.cluster.api.patch(resource, namespace if resource.namespaced else "", name, patch, subresource=part)

    def delete(self, kind: str, name: str, **how: Any) -> None:
        resource = self.cluster.api.kind(API.get(kind, "v1"), kind)
        self.cluster.api.delete(resource, "default" if resource.namespaced else "", name, DeleteOptions(**how))

    def on_change(self, kind: str, then: Callable[[JsonObject], None]) -> None:
        """Somebody outside who answers every change of a kind."""

        def answer(_: JsonObject | None, after: JsonObject | None, __: int) -> None:
            if after is not None and after["kind"] == kind:
                self.cluster.clock.call_at(self.cluster.clock.now(), lambda: then(after))

        self.cluster.api.subscribe(answer)


def template(labels: dict[str, str], **spec: Any) -> JsonObject:
    container = {"name": "c", "image": "i:1", "resources": {"requests": {"cpu": "10m"}}}
    return {"metadata": {"labels": labels}, "spec": {"containers": [container], **spec}}


def made(kind: str, name: str, spec: JsonObject, **metadata: Any) -> JsonObject:
    meta = {"name": name, "namespace": "default", **metadata}
    return {"apiVersion": API.get(kind, "v1"), "kind": kind, "metadata": meta, "spec": spec}


def workload(kind: str, name: str, labels: dict[str, str], replicas: int | None = 3, **spec: Any) -> JsonObject:
    selector = labels if kind == "ReplicationController" else {"matchLabels": labels}
    size = {} if kind == "DaemonSet" else {"replicas": replicas}
    if kind == "StatefulSet":
        size["serviceName"] = name  # type: ignore[assignment]
    return made(kind, name, {"selector": selector, "template": template(labels), **size, **spec})


def job(name: str, **spec: Any) -> JsonObject:
    return made("Job", name, {"template": template({"j": name}, restartPolicy="Never"), **spec})


def pod(name: str, labels: dict[str, str], owners: list[JsonObject] | None = None, **spec: Any) -> JsonObject:
    return made("Pod", name, template({}, **spec)["spec"], labels=labels, ownerReferences=owners or [])


def owned_by(kind: str, name: str, uid: str, *, api: str = "v1", controls: bool = False) -> JsonObject:
    return {
        "apiVersion": api,
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": controls,
        "blockOwnerDeletion": True,
    }


def scaler(name: str, kind: str, target: str, least: int = 1, most: int = 5) -> JsonObject:
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": target},
        "minReplicas": least,
        "maxReplicas": most,
        "metrics": [{"type": "Resource", "resource": cpu}],
    }
    return made("HorizontalPodAutoscaler", name, spec)


def config_map(name: str) -> JsonObject:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}


SYSTEMS: dict[str, Callable[[Trial], None]] = {}
RESTLESS: Final = {
    "two_autoscalers": "every 15 s each undoes what the other did; upstream says AmbiguousSelector or nothing",
    "autoscaler_of_an_owned_set": "the Deployment takes back what the autoscaler asks of its ReplicaSet",
    "pods_that_crash": "crash loops end with their owners",
    "a_cron_job_each_minute": "it is asked to",
}
"""What goes on for ever, and why."""


def system(sets_up: Callable[[Trial], None]) -> Callable[[Trial], None]:
    SYSTEMS[sets_up.__name__] = sets_up
    return sets_up


@system
def two_deployments_of_one_selector(trial: Trial) -> None:
    trial.apply(workload("Deployment", "a", A), workload("Deployment", "b", A, 2))
    trial.minutes(3)
    trial.patch("Deployment", "a", {"spec": {"template": {"metadata": {"annotations": {"x": "1"}}}}})


@system
def one_selector_for_all(trial: Trial) -> None:
    kinds = ("ReplicationController", "ReplicaSet", "StatefulSet", "DaemonSet", "Deployment")
    trial.apply(*(workload(kind, kind.lower(), A) for kind in kinds))


@system
def a_set_before_its_deployment(trial: Trial) -> None:
    trial.apply(workload("ReplicaSet", "b", A, 2))
    trial.minutes(1)
    trial.apply(workload("Deployment", "a", A))


@system
def two_stateful_sets(trial: Trial) -> None:
    trial.apply(workload("StatefulSet", "a", A), workload("StatefulSet", "b", A), workload("DaemonSet", "c", A))


@system
def bare_pods_that_are_selected(trial: Trial) -> None:
    trial.apply(pod("x", A), pod("y", A))
    trial.minutes(1)
    trial.apply(workload("DaemonSet", "b", A), workload("ReplicaSet", "c", A, 1), workload("StatefulSet", "d", A))


@system
def services_and_budgets_over_each_other(trial: Trial) -> None:
    ports = {"ports": [{"port": 80}]}
    selects = {"selector": {"matchLabels": A}}
    trial.apply(workload("Deployment", "a", A), workload("ReplicaSet", "b", A))
    trial.apply(*(made("Service", name, {"selector": labels, **ports}) for name, labels in (("s", A), ("t", {}))))
    trial.apply(made("PodDisruptionBudget", "p", {**selects, "minAvailable": 1}))
    trial.apply(made("PodDisruptionBudget", "q", {**selects, "maxUnavailable": 0}))


@system
def selectors_of_what_is_not_there(trial: Trial) -> None:
    absent = {"matchExpressions": [{"key": "zzz", "operator": "DoesNotExist"}]}
    trial.apply(workload("Deployment", "a", A, selector=absent), workload("StatefulSet", "s", {"app": "s"}))
    there = {"matchExpressions": [{"key": "app", "operator": "Exists"}]}
    trial.apply(workload("DaemonSet", "d", {"app": "d"}, selector=there))


@system
def jobs_that_select_each_others_pods(trial: Trial) -> None:
    manual = {"manualSelector": True, "selector": {"matchLabels": A}, "completions": 4, "parallelism": 4}
    trial.apply(job("x", **manual, template=template(A, restartPolicy="Never")), workload("ReplicaSet", "r", A, 2))


@system
def two_autoscalers(trial: Trial) -> None:
    trial.apply(workload("Deployment", "a", A), scaler("h", "Deployment", "a", 1, 2))
    trial.apply(scaler("i", "Deployment", "a", 4, 6))


@system
def autoscaler_of_an_owned_set(trial: Trial) -> None:
    trial.apply(workload("Deployment", "a", A))
    trial.minutes(1)
    trial.apply(scaler("h", "ReplicaSet", trial.list("ReplicaSet")[0]["metadata"]["name"], 5, 6))


@system
def autoscalers_of_nothing(trial: Trial) -> None:
    trial.apply(scaler("h", "Deployment", "nobody"), scaler("g", "Frobnicator", "nobody", 1, 2**31 - 1))


@system
def owners_in_a_circle(trial: Trial) -> None:
    trial.apply(config_map("x"), config_map("y"))
    uids = {name: trial.get("ConfigMap", name)["metadata"]["uid"] for name in "xy"}
    for name, other in ("xy", "yx"):
        trial.patch("ConfigMap", name, {"metadata": {"ownerReferences": [owned_by("ConfigMap", other, uids[other])]}})
    trial.delete("ConfigMap", "x", propagation="Foreground")
    trial.minutes(1)
    assert not {raw["metadata"]["name"] for raw in trial.list("ConfigMap")} & {"x", "y"}


@system
def sets_that_own_each_other(trial: Trial) -> None:
    trial.apply(workload("ReplicaSet", "a", A, 1), workload("ReplicaSet", "b", {"app": "b"}, 1))
    uids = {name: trial.get("ReplicaSet", name)["metadata"]["uid"] for name in "ab"}
    for name, other in ("ab", "ba"):
        owner = owned_by("ReplicaSet", other, uids[other], api="apps/v1", controls=True)
        trial.patch("ReplicaSet", name, {"metadata": {"ownerReferences": [owner]}})
    trial.minutes(3)
    trial.delete("ReplicaSet", "a", propagation="Foreground")


@system
def owners_that_never_were(trial: Trial) -> None:
    gone = "00000000-0000-0000-0000-000000000000"
    trial.apply(pod("x", A, [owned_by("ReplicaSet", "gone", gone, api="apps/v1", controls=True)]))
    trial.apply(pod("y", A, [owned_by("Frob", "gone", "1", api="example.com/v1", controls=True)]))
    trial.apply(workload("ReplicaSet", "b", A, 1))


@system
def its_own_owner(trial: Trial) -> None:
    trial.apply(config_map("x"))
    uid = trial.get("ConfigMap", "x")["metadata"]["uid"]
    trial.patch("ConfigMap", "x", {"metadata": {"ownerReferences": [owned_by("ConfigMap", "x", uid)]}})
    trial.delete("ConfigMap", "x", propagation="Foreground")


@system
def labels_removed_by_hand(trial: Trial) -> None:
    trial.apply(workload("Deployment", "a", A))
    trial.minutes(2)
    name = trial.list("ReplicaSet")[0]["metadata"]["name"]
    trial.patch("ReplicaSet", name, {"metadata": {"labels": {"pod-template-hash": None}}})
    trial.minutes(2)
    for each in trial.list("Pod"):
        trial.patch("Pod", each["metadata"]["name"], {"metadata": {"labels": None}})
    trial.patch("ReplicaSet", name, {"metadata": {"labels": None}})


@system
def a_set_scaled_by_hand(trial: Trial) -> None:
    trial.apply(workload("Deployment", "a", A))
    trial.minutes(2)
    name = trial.list("ReplicaSet")[0]["metadata"]["name"]
    trial.patch("ReplicaSet", name, {"spec": {"replicas": 9}})
    trial.minutes(2)
    trial.patch("Deployment", "a", {"spec": {"template": {"metadata": {"annotations": {"x": "1"}}}}})
    for size in (0, 50):
        trial.patch("ReplicaSet", name, {"spec": {"replicas": size}})
        trial.minutes(1)


@system
def statuses_written_by_hand(trial: Trial) -> None:
    trial.apply(workload("Deployment", "a", A), workload("StatefulSet", "s", {"app": "s"}))
    trial.apply(workload("DaemonSet", "d", {"app": "d"}), job("j", completions=3))
    trial.minutes(2)
    counts = {"replicas": 99, "readyReplicas": 77, "availableReplicas": 55, "observedGeneration": 999}
    late = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
    trial.patch("ReplicaSet", trial.list("ReplicaSet")[0]["metadata"]["name"], {"status": counts}, "status")
    trial.patch("Deployment", "a", {"status": {**counts, "conditions": late}}, "status")
    revisions = {"currentRevision": "bogus", "updateRevision": "bogus", "collisionCount": 2**31 - 1}
    trial.patch("StatefulSet", "s", {"status": {**counts, **revisions}}, "status")
    trial.patch("DaemonSet", "d", {"status": {"collisionCount": 2**31 - 1, "numberAvailable": -4}}, "status")
    trial.patch("Job", "j", {"status": {"active": -5, "succeeded": 100}}, "status")


@system
def revisions_edited(trial: Trial) -> None:
    trial.apply(workload("Deployment", "a", A))
    trial.minutes(2)
    name = trial.list("ReplicaSet")[0]["metadata"]["name"]
    for number, text in enumerate(("nonsense", "-5", "99999999999999999999", "")):
        annotations = {f"deployment.kubernetes.io/{key}": text for key in ("revision", "desired-replicas")}
        trial.patch("ReplicaSet", name, {"metadata": {"annotations": annotations}})
        trial.patch("Deployment", "a", {"metadata": {"annotations": annotations}, "spec": {"replicas": number}})
        trial.minutes(1)
        trial.patch("Deployment", "a", {"spec": {"template": {"metadata": {"annotations": {"x": text}}}}})
        trial.minutes(1)


@system
def controller_revisions_deleted_and_wrong(trial: Trial) -> None:
    trial.apply(workload("StatefulSet", "s", A), workload("DaemonSet", "d", {"app": "d"}))
    trial.minutes(2)
    for each in trial.list("ControllerRevision"):
        name = each["metadata"]["name"]
        trial.delete("ControllerRevision", name)
        meta = {"name": f"{name}x", "namespace": "default", "labels": each["metadata"]["labels"]}
        wrong = {"spec": {"template": {"spec": {"containers": "oops"}}}}
        trial.apply({**each, "metadata": meta, "data": wrong, "revision": 5})
    trial.minutes(2)
    for each in trial.list("ControllerRevision"):
        trial.patch("ControllerRevision", each["metadata"]["name"], {"revision": 0, "metadata": {"labels": None}})


@system
def nodes_deleted(trial: Trial) -> None:
    trial.apply(workload("Deployment", "a", A), workload("DaemonSet", "d", {"app": "d"}))
    trial.apply(workload("StatefulSet", "s", {"app": "s"}))
    trial.minutes(2)
    trial.delete("Node", "node-2")
    trial.minutes(10)
    for name in ("node-1", "node-3"):
        trial.delete("Node", name)


@system
def leases_taken_by_somebody(trial: Trial) -> None:
    for number in (1, 2, 3):
        taken = {"spec": {"renewTime": "9999-12-31T23:59:59.000000Z", "holderIdentity": "me"}}
        trial.patch("Lease", f"node-{number}", taken, namespace="kube-node-lease")
    trial.minutes(1)
    ready = [c for raw in trial.list("Node") for c in raw["status"]["conditions"] if c["type"] == "Ready"]
    assert [each["status"] for each in ready] == ["True"] * 3, "each node takes its lease back, as a kubelet would"


@system
def pods_that_crash(trial: Trial) -> None:
    trial.apply(workload("Deployment", "a", A), job("j", backoffLimit=6), workload("DaemonSet", "d", {"app": "d"}))


@system
def what_never_fits(trial: Trial) -> None:
    large = workload("Deployment", "a", A)
    large["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "1000"
    trial.apply(large, workload("Deployment", "b", {"app": "b"}, 40))
    trial.apply(made("PodDisruptionBudget", "p", {"selector": {"matchLabels": A}, "minAvailable": "100%"}))


@system
def finalizers_that_nobody_takes_off(trial: Trial) -> None:
    trial.apply(workload("ReplicaSet", "a", A))
    trial.minutes(1)
    for each in trial.list("Pod"):
        trial.patch("Pod", each["metadata"]["name"], {"metadata": {"finalizers": ["example.com/x"]}})
        trial.delete("Pod", each["metadata"]["name"])
    trial.delete("ReplicaSet", "a", propagation="Foreground")


@system
def numbers_as_large_as_they_may_be(trial: Trial) -> None:
    most = 2**31 - 1
    rolling = {"rollingUpdate": {"maxSurge": most, "maxUnavailable": "100%"}}
    trial.apply(
        workload("Deployment", "a", A, strategy=rolling, minReadySeconds=most - 1, progressDeadlineSeconds=most)
    )
    trial.apply(workload("StatefulSet", "s", {"app": "s"}, 2, ordinals={"start": most}))
    trial.apply(job("j", activeDeadlineSeconds=2**62, ttlSecondsAfterFinished=most), job("k", backoffLimit=most))
    trial.apply(
        workload("ReplicaSet", "r", {"app": "r"}, template=template({"app": "r"}, terminationGracePeriodSeconds=2**62))
    )
    trial.minutes(1)
    trial.patch("ReplicaSet", "r", {"spec": {"replicas": 0}})
    trial.patch("Deployment", "a", {"spec": {"template": {"metadata": {"annotations": {"x": "1"}}}}})


@system
def a_cron_job_each_minute(trial: Trial) -> None:
    jobs = {"spec": {"template": template({}, restartPolicy="Never")}}
    history = {"successfulJobsHistoryLimit": 0, "failedJobsHistoryLimit": 0}
    trial.apply(made("CronJob", "c", {"schedule": "* * * * *", "jobTemplate": jobs, **history}))


@system
def times_that_cannot_be(trial: Trial) -> None:
    """Statuses that say the year 1 or 9999, and deadlines as long as numbers go."""
    jobs = {"spec": {"template": template({}, restartPolicy="Never")}}
    cron = {"schedule": "0 0 1 1 *", "startingDeadlineSeconds": 2**62, "jobTemplate": jobs}
    trial.apply(made("CronJob", "c", cron), job("j"), job("k", ttlSecondsAfterFinished=2**31 - 1))
    trial.apply(workload("Deployment", "d", {"app": "d"}), workload("DaemonSet", "e", {"app": "e"}, minReadySeconds=5))
    trial.minutes(2)
    for time in NEVER:
        for each in trial.list("Pod"):
            status = copy.deepcopy(each["status"])
            for condition in status["conditions"]:
                condition["lastTransitionTime"] = time
            trial.patch("Pod", each["metadata"]["name"], {"status": {**status, "startTime": time}}, "status")
        progress = {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated", "lastUpdateTime": time}
        trial.patch("Deployment", "d", {"status": {"conditions": [progress]}}, "status")
        trial.patch("CronJob", "c", {"status": {"lastScheduleTime": time}}, "status")
        for name in "jk":
            ended = [{**each, "lastTransitionTime": time} for each in trial.get("Job", name)["status"]["conditions"]]
            trial.patch("Job", name, {"status": {"startTime": time, "conditions": ended}}, "status")
        for each in trial.list("Pod")[:4]:
            trial.delete("Pod", each["metadata"]["name"], grace_period_s=2**60)
        trial.minutes(3)


@system
def no_room_in_the_quota(trial: Trial) -> None:
    trial.apply(made("ResourceQuota", "q", {"hard": {"pods": "1"}}), workload("Deployment", "a", A))
    trial.apply(workload("StatefulSet", "s", {"app": "s"}), job("j", completions=2, parallelism=2))


@system
def a_namespace_that_cannot_go(trial: Trial) -> None:
    held = {**pod("p", A), "metadata": {"name": "p", "namespace": "n", "finalizers": ["example.com/x"]}}
    trial.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}, held)
    trial.delete("Namespace", "n")


@system
def claims_of_no_class(trial: Trial) -> None:
    claim = {
        "storageClassName": "nope",
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
    }
    trial.apply(made("PersistentVolumeClaim", "p", claim))
    for name in ("p", "none"):
        trial.apply(pod(f"of-{name}", A, volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": name}}]))


@system
def addresses_edited_by_hand(trial: Trial) -> None:
    trial.apply(made("Service", "s", {"selector": A, "ports": [{"port": 80}]}), workload("ReplicaSet", "a", A, 2))
    trial.minutes(1)
    trial.patch("Endpoints", "s", {"subsets": None})
    for each in trial.list("EndpointSlice"):
        if each["metadata"]["name"].startswith("s-"):
            trial.patch("EndpointSlice", each["metadata"]["name"], {"endpoints": [], "ports": []})


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_it_comes_to_rest_or_goes_round_as_upstream_does(name: str) -> None:
    crashing = by_rules([Rule(Behaviour(exits_after_s=3, exit_code=1))]) if name == "pods_that_crash" else None
    trial = Trial(**({} if crashing is None else {"behaves": crashing}))
    SYSTEMS[name](trial)
    half = 5 if name in RESTLESS else 30
    trial.minutes(half)
    before = trial.writes.copy()
    trial.minutes(half)
    written = trial.writes - before
    assert (written.total() <= CALM) == (name not in RESTLESS), written.most_common(5)
    assert not trial.cluster.cluster.loop.restless()


def _endless(kind: str) -> JsonObject:
    huge = 10**9
    if kind == "Job":
        return job("a", parallelism=huge, completions=huge)
    policy = {"podManagementPolicy": "Parallel"} if kind == "StatefulSet" else {}
    return workload(kind, "a", A, 2**31 - 1, **policy)


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "Job"])
def test_as_many_replicas_as_a_number_holds_take_their_time_and_not_ours(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Upstream's client would be slower still: 20 requests a second. The cluster says who is held back."""
    monkeypatch.setattr(loop, "ALLOWANCE", 100)
    trial = Trial()
    trial.apply(_endless(kind))
    assert len(trial.list("Pod")) == BURST, "one decision"
    trial.cluster.advance(timedelta(seconds=10))
    assert len(trial.list("Pod")) == BURST
    assert not trial.cluster.is_settled()
    assert "wants more than 100 writes at once" in trial.cluster.unsettled()[-1]
    trial.cluster.advance(timedelta(seconds=1000 / loop.REFILL_PER_S))
    assert len(trial.list("Pod")) == 2 * BURST


def test_two_who_undo_each_other_at_one_moment_are_named_and_time_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody takes the label off every pod that a ReplicaSet makes, at once."""
    monkeypatch.setattr(loop, "ALLOWANCE", 100)
    trial = Trial()
    trial.apply(workload("ReplicaSet", "a", A, 1, template=template(A, nodeSelector={"no": "node"})))

    def relabel(raw: JsonObject) -> None:
        if raw["metadata"].get("labels") == A:
            trial.patch("Pod", raw["metadata"]["name"], {"metadata": {"labels": {"app": "z"}}})

    trial.on_change("Pod", relabel)
    trial.patch("ReplicaSet", "a", {"spec": {"replicas": 2}})
    began = trial.cluster.clock.now()
    trial.cluster.advance(timedelta(seconds=10))
    assert trial.cluster.clock.now() == began + timedelta(seconds=10)
    told = trial.cluster.unsettled()
    assert any(each.startswith("replicaset-controller: ReplicaSet default/a wants more") for each in told), told
