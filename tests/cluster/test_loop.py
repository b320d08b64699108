"""What the control loop does with refusals, views and reads that do not wake: seen through small controllers."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from seatrial.cluster.clock import START
from seatrial.cluster.virtual import VirtualCluster
from seatrial.control.batches import slow_start
from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.writes import Create, RecordEvent, Update, Write, target
from seatrial.kube.objects import ConfigMap, Object, ObjectMeta, Secret

SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}


def config(name: str, **data: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def _named(name: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default"))


def is_first(obj: Object) -> bool:
    return obj.metadata.name == "first"


def test_a_refused_write_is_heard_of_once_and_tried_again_with_doubling_pauses() -> None:
    """client-go's rate limiter: 5 ms, doubled at each failure; the refusal is told in upstream's words."""
    asked: list[tuple[datetime, str]] = []

    def reconcile(seen: Seen) -> Decision:
        asked.append((seen.now, seen.refused[0].message if seen.refused else ""))
        if seen.refused:
            return Decision((RecordEvent(seen.subject, "Warning", "FailedCreate", seen.refused[0].message),))
        bad = ConfigMap(metadata=ObjectMeta(name="Not A Name", namespace="default"))
        return Decision((Create(bad),))

    controller = Controller("c", "C", ConfigMap, (), reconcile, hears_refusals=True, concerned=is_first)
    cluster = VirtualCluster(controllers=(controller,), nodes=0)
    cluster.apply([config("first")])
    cluster.advance(timedelta(milliseconds=36))
    assert [round((at - START) / timedelta(milliseconds=1)) for at, _ in asked] == [0, 0, 5, 5, 15, 15, 35, 35]
    assert [bool(message) for _, message in asked] == [False, True] * 4
    assert "RFC 1123 subdomain" in asked[1][1]
    (event,) = cluster.list("v1", "Event")
    assert (event["reason"], event["count"]) == ("FailedCreate", 4)


def test_what_is_refused_in_a_batch_ends_its_step_and_the_decision_with_the_batch() -> None:
    told: list[list[str]] = []

    def reconcile(seen: Seen) -> Decision:
        if seen.refused:
            told.append([target(refusal.write).metadata.name for refusal in seen.refused])
            return Decision()
        writes: list[Write] = []
        names = ("a", "b", "c", "D", "e", "F", "g", "h")
        steps = ((Create(_named(name)), Create(_named(name + "-more"))) for name in names)
        batches = slow_start(writes, steps)
        return Decision((*writes, Create(_named("last"))), batches=tuple(batches))

    controller = Controller("c", "C", ConfigMap, (), reconcile, hears_refusals=True, concerned=is_first)
    cluster = VirtualCluster(controllers=(controller,), nodes=0)
    cluster.apply([config("first")])
    made = {raw["metadata"]["name"] for raw in cluster.list("v1", "ConfigMap", "default")}
    assert told == [["D", "F"]]
    assert {"a", "b", "c", "e", "g"} == {name for name in made if f"{name}-more" in made}
    assert made.isdisjoint({"D-more", "F-more", "h", "last"})


def test_what_a_namespace_that_goes_away_does_not_take_is_left_out_and_not_tried_again() -> None:
    """As upstream's controllers drop what is refused with the cause NamespaceTerminating."""
    decided: list[str] = []

    def reconcile(seen: Seen) -> Decision:
        subject = seen.subject
        assert isinstance(subject, ConfigMap)
        decided.append(seen.refused[0].message if seen.refused else subject.data.get("seen", ""))
        if decided == [""] or "seen" in subject.data:
            return Decision()
        made = ConfigMap(metadata=ObjectMeta(name="more", namespace="going"))
        return Decision((Create(made), Update(subject, replace(subject, data={"seen": "yes"}))))

    controller = Controller("c", "C", ConfigMap, (), reconcile, hears_refusals=True, concerned=is_first)
    cluster = VirtualCluster(controllers=(controller,), nodes=0)
    held = {"name": "first", "namespace": "going", "finalizers": ["example.com/hold"]}
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "going"}}])
    cluster.apply([{**config("first"), "metadata": held}])
    cluster.api.delete(cluster.api.kind("v1", "Namespace"), "", "going")
    configs = cluster.api.kind("v1", "ConfigMap")
    cluster.api.patch(configs, "going", "first", {"metadata": {"labels": {"look": "again"}}})
    cluster.advance(timedelta(minutes=1))
    assert decided == ["", "", "yes"]
    assert [raw["metadata"]["name"] for raw in cluster.list("v1", "ConfigMap", "going")] == ["first"]


def test_a_name_that_is_taken_is_a_refusal_and_not_a_conflict() -> None:
    told: list[str] = []

    def reconcile(seen: Seen) -> Decision:
        if seen.refused:
            told.append(seen.refused[0].message)
            return Decision()
        return Decision((Create(ConfigMap(metadata=ObjectMeta(name="first", namespace="default"))),))

    controller = Controller("c", "C", ConfigMap, (), reconcile, hears_refusals=True, concerned=is_first)
    VirtualCluster(controllers=(controller,), nodes=0).apply([config("first")])
    assert told[0] == 'configmaps "first" already exists'


def test_what_a_view_hides_and_what_does_not_wake_leaves_a_controller_alone() -> None:
    decided: list[str] = []

    def reconcile(seen: Seen) -> Decision:
        decided.append(seen.subject.metadata.name)
        return Decision()

    def without_data(obj: Object) -> Object:
        return ConfigMap(metadata=replace(obj.metadata, resource_version=""))

    controller = Controller(
        "c",
        "C",
        ConfigMap,
        (Read(Secret, Relation.NEIGHBOUR, wakes=False),),
        reconcile,
        concerned=is_first,
        view=without_data,
    )
    cluster = VirtualCluster(controllers=(controller,), nodes=0)
    cluster.apply([config("first"), config("second")])
    assert decided == ["first"]
    cluster.apply([SECRET, config("first", a="b")])
    assert decided == ["first"]
    cluster.apply([{**config("first"), "metadata": {"name": "first", "labels": {"x": "y"}}}])
    assert decided == ["first", "first"]


def test_the_version_asked_for_reaches_decisions_and_the_api() -> None:
    minors: list[int] = []

    def reconcile(seen: Seen) -> Decision:
        minors.append(seen.minor)
        return Decision()

    cluster = VirtualCluster(controllers=(Controller("c", "C", ConfigMap, (), reconcile),), nodes=0, version="1.33")
    cluster.apply([config("first")])
    assert (minors, cluster.api.version) == ([33], "1.33")


def test_a_decision_that_got_through_ends_the_back_off() -> None:
    at: list[datetime] = []

    def reconcile(seen: Seen) -> Decision:
        at.append(seen.now)
        subject = seen.subject
        assert isinstance(subject, ConfigMap)
        if subject.data.get("ok"):
            return Decision()
        labelled = replace(subject, metadata=replace(subject.metadata, labels={"not a label": "!"}))
        return Decision((Update(subject, labelled), Create(ConfigMap(metadata=ObjectMeta(name="!")))))

    controller = Controller("c", "C", ConfigMap, (), reconcile, concerned=is_first)
    cluster = VirtualCluster(controllers=(controller,), nodes=0)
    cluster.apply([config("first")])
    cluster.advance(timedelta(seconds=2))
    cluster.apply([config("first", ok="yes")])
    cluster.advance(timedelta(minutes=1))
    before = len(at)
    cluster.apply([{**config("first"), "data": {"ok": ""}}])
    cluster.advance(timedelta(milliseconds=6))
    assert len(at) >= before + 2, "the first pause is five milliseconds again"


def test_events_go_an_hour_after_they_were_last_written() -> None:
    def reconcile(seen: Seen) -> Decision:
        return Decision((RecordEvent(seen.subject, "Normal", "Seen", "here it is"),))

    cluster = VirtualCluster(controllers=(Controller("c", "C", ConfigMap, (), reconcile),), nodes=0)
    cluster.apply([config("first")])
    cluster.advance(timedelta(minutes=50))
    cluster.apply([config("first", again="1")])
    cluster.advance(timedelta(minutes=50))
    assert [event["count"] for event in cluster.list("v1", "Event")] == [2]
    cluster.advance(timedelta(minutes=12))
    assert cluster.list("v1", "Event") == []


def test_a_statefulset_waits_out_its_back_off_when_a_stranger_frees_a_name() -> None:
    """Upstream is refused the name, and hears nothing of pods that somebody else controls (`getStatefulSetsForPod`)."""
    cluster = VirtualCluster(nodes=0)
    owner = {"apiVersion": "v1", "kind": "Secret", "name": "s", "uid": "gone", "controller": True}
    spec = {"containers": [{"name": "app", "image": "app:1"}]}
    cluster.apply([SECRET])
    uid = cluster.list("v1", "Secret", "default")[0]["metadata"]["uid"]
    labels = {"app": "db"}
    taken = {"name": "db-0", "labels": labels, "ownerReferences": [{**owner, "uid": uid}]}
    cluster.apply([{"apiVersion": "v1", "kind": "Pod", "metadata": taken, "spec": spec}])
    template = {"metadata": {"labels": labels}, "spec": spec}
    made = {"serviceName": "db", "selector": {"matchLabels": labels}, "template": template}
    cluster.apply([{"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": made}])
    cluster.advance(timedelta(milliseconds=1300))
    cluster.api.delete(cluster.api.kind("v1", "Pod"), "default", "db-0")
    cluster.advance(timedelta(milliseconds=100))
    assert not cluster.list("v1", "Pod", "default")
    cluster.advance(timedelta(seconds=2))
    assert [raw["metadata"]["name"] for raw in cluster.list("v1", "Pod", "default")] == ["db-0"]
