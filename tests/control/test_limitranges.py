"""LimitRanges at the door: what containers are given, what is refused and in which words (upstream's)."""

from __future__ import annotations

from seatrial.control.admission import admit
from seatrial.control.limitranges import ANNOTATION, defaulted, refusal
from seatrial.kube.objects import JsonObject, LimitRange, PersistentVolumeClaim, Pod, parse_as


def ranges(*items: JsonObject) -> list[LimitRange]:
    raw = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "limits"}, "spec": {"limits": [*items]}}
    return [parse_as(LimitRange, admit(raw))]


def pod(resources: JsonObject) -> JsonObject:
    containers = [{"name": "app", "image": "app:1", "resources": resources}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": containers}}


def test_a_container_is_given_what_it_lacks_and_the_pod_says_so() -> None:
    limits = ranges({"type": "Container", "max": {"cpu": "1"}, "defaultRequest": {"memory": "64Mi"}})
    found = defaulted(pod({"requests": {"memory": "1Mi"}}), limits)
    assert found["spec"]["containers"][0]["resources"] == {
        "requests": {"memory": "1Mi", "cpu": "1"},
        "limits": {"cpu": "1"},
    }
    told = "LimitRanger plugin set: cpu request for container app; cpu limit for container app"
    assert found["metadata"]["annotations"][ANNOTATION] == told


def test_too_little_too_much_and_too_far_apart_are_refused() -> None:
    item = {"type": "Container", "min": {"cpu": "50m"}, "max": {"memory": "1Gi"}, "maxLimitRequestRatio": {"cpu": "2"}}
    sizes = {"requests": {"cpu": "10m", "memory": "2Gi"}, "limits": {"cpu": "30m", "memory": "2Gi"}}
    assert refusal(parse_as(Pod, pod(sizes)), ranges(item)) == (
        "[minimum cpu usage per Container is 50m, but request is 10m, "
        "maximum memory usage per Container is 1Gi, but limit is 2Gi, "
        "cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000]"
    )
    assert refusal(parse_as(Pod, pod({})), ranges({"type": "Pod", "max": {"cpu": "1"}})) == (
        "maximum cpu usage per Pod is 1.  No limit is specified"
    )


def test_a_claim_asks_for_no_more_than_it_may() -> None:
    raw = {"spec": {"resources": {"requests": {"storage": "6Gi"}}}}
    item = {"type": "PersistentVolumeClaim", "max": {"storage": "5Gi"}}
    told = "maximum storage usage per PersistentVolumeClaim is 5Gi, but request is 6Gi"
    assert refusal(parse_as(PersistentVolumeClaim, raw), ranges(item)) == told
