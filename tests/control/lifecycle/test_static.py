"""Static pods: what a manifest becomes, and what is decided about them and their mirrors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from seatrial.control.lifecycle import origins, static
from seatrial.control.lifecycle.static import Held, ManifestError
from seatrial.control.writes import Create, Delete, UpdateStatus
from seatrial.kube.objects import Node, ObjectMeta, Pod

T0 = datetime(2026, 1, 1, tzinfo=UTC)
NODE = Node(metadata=ObjectMeta(name="Node-A", uid="node-uid"))


def manifest(name: str = "web", image: str = "web:1", **spec: Any) -> dict[str, Any]:
    containers = [{"name": "web", "image": image}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": containers, **spec}}


def made(raw: object = None, source: str = "web.yaml") -> Pod:
    return static.read(manifest() if raw is None else raw, source=source, node="Node-A")


def stored(mirror: Pod, **metadata: Any) -> Pod:
    """As the API keeps it: with a uid of its own, and the quality of service filled in."""
    meta = replace(mirror.metadata, uid="api-uid", resource_version="1", **metadata)
    return replace(mirror, metadata=meta, status=replace(mirror.status, qos_class="BestEffort"))


def begun(*wanted: Pod) -> dict[str, Held]:
    return {pod.metadata.uid: Held(pod) for pod in static.plan(wanted, {}, (), NODE, T0).begin}


def mirror(held: dict[str, Held]) -> Pod:
    (write,) = static.plan([each.pod for each in held.values()], held, (), NODE, T0).writes
    assert isinstance(write, Create)
    assert isinstance(write.object, Pod)
    return write.object


def test_a_static_pod_is_named_after_its_node_and_tolerates_what_evicts() -> None:
    pod = made()
    assert (pod.metadata.name, pod.metadata.namespace, pod.spec.node_name) == ("web-node-a", "default", "Node-A")
    assert pod.metadata.annotations == {
        "kubernetes.io/config.hash": pod.metadata.uid,
        "kubernetes.io/config.source": "file",
    }
    assert [(each.operator, each.effect, each.key) for each in pod.spec.tolerations] == [("Exists", "NoExecute", "")]
    assert pod.spec.priority is None
    assert origins.is_critical(pod)
    assert (pod.spec.service_account_name, pod.spec.restart_policy) == ("", "Always")


def test_the_uid_is_the_manifests_on_its_node() -> None:
    assert made().metadata.uid == made().metadata.uid
    others = {made(manifest(image="web:2")).metadata.uid, made(source="b.yaml").metadata.uid}
    assert made().metadata.uid not in others
    assert len(others) == 2
    own = manifest()
    own["metadata"]["uid"] = "mine"
    assert made(own).metadata.uid == "mine"


@pytest.mark.parametrize(
    ("spec", "resource"),
    [
        ({"serviceAccountName": "default"}, "serviceaccounts"),
        ({"imagePullSecrets": [{"name": "a"}]}, "secrets"),
        ({"volumes": [{"name": "v", "secret": {"secretName": "a"}}]}, "secrets"),
        ({"volumes": [{"name": "v", "configMap": {"name": "a"}}]}, "configmaps"),
        ({"volumes": [{"name": "v", "projected": {"sources": [{"configMap": {"name": "a"}}]}}]}, "configmaps"),
        ({"resourceClaims": [{"name": "a"}]}, "resourceclaims"),
        ({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "a"}}]}, "persistentvolumeclaims"),
        ({"volumes": [{"name": "v", "csi": {"driver": "a"}}]}, "csidrivers (via CSI volumes)"),
        (
            {"volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "a"}}]}}]},
            "serviceaccounts (via projected volumes)",
        ),
        (
            {"initContainers": [{"name": "i", "image": "a", "envFrom": [{"secretRef": {"name": "a"}}]}]},
            "secrets",
        ),
        (
            {
                "initContainers": [
                    {
                        "name": "i",
                        "image": "a",
                        "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "a", "key": "a"}}}],
                    }
                ]
            },
            "configmaps",
        ),
    ],
)
def test_a_static_pod_may_not_refer_to_the_api(spec: dict[str, Any], resource: str) -> None:
    with pytest.raises(ManifestError) as error:
        made(manifest(**spec))
    assert str(error.value) == f"static pods may not reference {resource}"


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (None, "couldn't parse as pod: it is str"),
        ({"apiVersion": "v1", "kind": "Service"}, "it is v1 Service"),
        ({"apiVersion": "v1", "kind": "Pod", "metadata": {}}, "name is needed for the pod"),
        ({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}, "spec.containers: Required value"),
        (manifest(restartPolicy=7), "spec.restartPolicy"),
    ],
)
def test_what_is_no_static_pod_is_said(raw: object, says: str) -> None:
    with pytest.raises(ManifestError) as error:
        made("text" if raw is None else raw)
    assert says in str(error.value)


def test_what_a_static_pod_may_use() -> None:
    volumes = [{"name": "h", "hostPath": {"path": "/etc"}}, {"name": "e"}, {"name": "d", "downwardAPI": {}}]
    projected = [{"name": "p", "projected": {"sources": [{"downwardAPI": {}}]}}]
    assert len(made(manifest(volumes=volumes + projected)).spec.volumes) == 4


def test_a_mirror_belongs_to_the_node_and_shows_the_hash() -> None:
    held = begun(made())
    shown = mirror(held)
    (owner,) = shown.metadata.owner_references
    assert (owner.kind, owner.name, owner.uid, owner.controller) == ("Node", "Node-A", "node-uid", True)
    (uid,) = held
    annotations = shown.metadata.annotations
    assert annotations["kubernetes.io/config.mirror"] == annotations["kubernetes.io/config.hash"] == uid
    assert annotations["kubernetes.io/config.seen"] == "2026-01-01T00:00:00Z"
    assert origins.uid_on_node(stored(shown)) == uid


def test_a_mirror_that_goes_comes_again_and_one_that_is_not_its_image_is_replaced() -> None:
    held = begun(made())
    wanted = [made()]
    shown = stored(mirror(held))
    assert static.plan(wanted, held, [shown], NODE, T0).writes == ()
    going = stored(shown, deletion_timestamp=T0 + timedelta(seconds=30))
    assert static.plan(wanted, held, [going], NODE, T0).writes == (Delete(going, grace_period_s=0),)
    other = stored(shown, annotations={**shown.metadata.annotations, "kubernetes.io/config.mirror": "other"})
    assert static.plan(wanted, held, [other], NODE, T0).writes == (Delete(other, grace_period_s=0),)
    assert isinstance(static.plan(wanted, held, [], NODE, T0).writes[0], Create)
    assert static.plan(wanted, held, [], None, T0).writes == ()
    leaving = replace(NODE, metadata=replace(NODE.metadata, deletion_timestamp=T0))
    assert static.plan(wanted, held, [], leaving, T0).writes == ()


def test_a_changed_manifest_is_another_pod_that_begins_when_the_first_has_ended() -> None:
    held = begun(made(manifest(terminationGracePeriodSeconds=7)))
    shown = stored(mirror(held))
    changed = made(manifest(image="web:2"))
    plan = static.plan([changed], held, [shown], NODE, T0)
    assert plan.begin == ()
    (ending,) = plan.end
    assert ending.metadata.deletion_timestamp == T0 + timedelta(seconds=7)
    held = {ending.metadata.uid: Held(ending)}
    assert static.plan([changed], held, [shown], NODE, T0) == static.Plan()  # the mirror stays while it ends
    (new,) = static.plan([changed], {}, [shown], NODE, T0).begin
    assert new.metadata.uid == changed.metadata.uid
    held = {new.metadata.uid: Held(new)}
    assert static.plan([changed], held, [shown], NODE, T0).writes == (Delete(shown, grace_period_s=0),)


def test_a_mirror_without_a_static_pod_goes() -> None:
    held = begun(made())
    shown = stored(mirror(held))
    assert static.plan([], {}, [shown], NODE, T0).writes == (Delete(shown, grace_period_s=0),)


def test_what_was_reported_before_a_restart_of_the_node_still_holds() -> None:
    shown = mirror(begun(made()))
    running = stored(replace(shown, status=replace(shown.status, phase="Running")))
    (pod,) = static.plan([made()], {}, [running], NODE, T0 + timedelta(hours=1)).begin
    assert pod.status.phase == "Running"
    assert pod.metadata.annotations["kubernetes.io/config.seen"] == "2026-01-01T00:00:00Z"


def test_a_status_is_reported_once() -> None:
    (held,) = begun(made()).values()
    shown = stored(mirror({held.pod.metadata.uid: held}))
    pod = replace(held.pod, status=replace(held.pod.status, phase="Running"))
    states = {pod.metadata.uid: Held(pod)}
    (write,) = static.plan([made()], states, [shown], NODE, T0).writes
    assert write == UpdateStatus(shown, replace(shown, status=pod.status))
    # The API kept something else: asking again would keep it again.
    kept = stored(replace(shown, status=replace(pod.status, message="other")))
    assert static.plan([made()], {pod.metadata.uid: Held(pod, kept)}, [kept], NODE, T0).writes == ()


def test_of_two_pods_with_one_name_the_first_runs() -> None:
    first, second = made(source="a.yaml"), made(source="b.yaml")
    plan = static.plan([first, second], {}, (), NODE, T0)
    assert [pod.metadata.uid for pod in plan.begin] == [first.metadata.uid]
    ((ignored, why),) = plan.duplicates
    assert ignored is second
    expected = f'web-node-a_default({second.metadata.uid}) from file due to duplicate pod name "web-node-a", ignoring'
    assert why == f"Error validating pod {expected}"
