"""Waiting for a system to be up, and saying all the while what is being waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from seatrial.deploy.client import Client
from seatrial.kube.objects import JsonObject

POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one Deployment is; `missing` is empty once it is complete."""

    namespace: str
    name: str
    missing: str
    failed: bool = False


class NotUpError(Exception):
    """The system did not come up; the message says what was still missing, and why as far as the pods tell."""


def wait(
    client: Client,
    objects: Sequence[JsonObject],
    *,
    timeout_s: float,
    report: Callable[[Sequence[Progress]], None],
) -> None:
    """Until every Deployment among `objects` is rolled out. Raises `NotUpError` after `timeout_s` or a missed deadline.

    `report` is called at every look with the progress of each Deployment.
    """
    wanted = [raw for raw in objects if raw["kind"] == "Deployment"]
    deadline = time.monotonic() + timeout_s
    while True:
        progress = [_look(client, raw) for raw in wanted]
        report(progress)
        waiting = [item for item in progress if item.missing]
        if not waiting:
            return
        if any(item.failed for item in waiting) or time.monotonic() > deadline:
            raise NotUpError("\n".join(_reasons(client, item) for item in waiting))
        time.sleep(POLL_S)


def rollout(live: JsonObject) -> tuple[str, bool]:
    """What a Deployment's rollout still lacks ("" if nothing), and whether its progress deadline has passed.

    The conditions are those of `kubectl rollout status`.
    """
    status = live.get("status", {})
    replicas = live["spec"].get("replicas", 1)
    if status.get("observedGeneration", 0) < live["metadata"].get("generation", 0):
        return "not yet seen by its controller", False
    for condition in status.get("conditions", ()):
        if condition["type"] == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            return "progress deadline exceeded", True
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if updated < replicas:
        return f"{updated} of {replicas} pods are of the new revision", False
    if status.get("replicas", 0) > updated:
        return f"{status['replicas'] - updated} pods of the old revision are still there", False
    if available < updated:
        return f"{available} of {updated} pods are available", False
    return "", False


def _look(client: Client, raw: JsonObject) -> Progress:
    namespace = raw["metadata"].get("namespace") or client.namespace
    name = raw["metadata"]["name"]
    live = client.request("GET", f"{client.collection(raw['apiVersion'], 'Deployment', namespace)}/{name}")
    missing, failed = rollout(live)
    return Progress(namespace, name, missing, failed)


def _reasons(client: Client, progress: Progress) -> str:
    """The Deployment's state in a line, and one more for each of the namespace's pods that is not ready."""
    lines = [f"Deployment {progress.namespace}/{progress.name}: {progress.missing}"]
    for pod in client.request("GET", f"/api/v1/namespaces/{progress.namespace}/pods")["items"]:
        if reason := why_not_ready(pod):
            lines.append(f"  Pod {pod['metadata']['name']}: {reason}")
    return "\n".join(lines)


def why_not_ready(pod: JsonObject) -> str:
    """In words, from the pod's status; "" if the pod is ready."""
    status = pod.get("status", {})
    conditions = {condition["type"]: condition for condition in status.get("conditions", ())}
    if conditions.get("Ready", {}).get("status") == "True":
        return ""
    for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        waiting = container.get("state", {}).get("waiting")
        if waiting:
            return f"{container['name']} waits: {waiting.get('reason', '')} {waiting.get('message', '')}".strip()
    for kind in ("PodScheduled", "Ready"):
        if conditions.get(kind, {}).get("status") == "False":
            condition = conditions[kind]
            return f"{condition.get('reason', kind)} {condition.get('message', '')}".strip()
    return str(status.get("phase", "Pending"))
