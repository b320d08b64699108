"""The static pods of one node: what `control.lifecycle.static` decides, executed.

It looks again after every change of the manifests, of a pod's status, of a mirror and of the Node, and a while after
the API has refused something.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from seatrial.control.lifecycle import origins, static
from seatrial.control.writes import ConflictError, RecordEvent, RefusedError, UpdateStatus
from seatrial.kube.objects import Node, Pod
from seatrial.node.api import Change, ClusterObjects
from seatrial.node.runtime import Clock, Timer

logger = logging.getLogger(__name__)

RETRY: Final = timedelta(minutes=1)
"""When a refused mirror is tried again (the kubelet's resync)."""


class StaticPods:
    """`follow` makes the agent look after a pod, as it now is."""

    def __init__(self, node: str, cluster: ClusterObjects, clock: Clock, follow: Callable[[Pod], None]) -> None:
        self._node = node
        self._cluster = cluster
        self._clock = clock
        self._follow = follow
        self._wanted: tuple[Pod, ...] = ()
        self._held: dict[str, static.Held] = {}
        self._told: set[str] = set()
        self._queued = False
        self.closed = False
        """No other pod begins: the node is shutting down."""
        self._running = False
        self._retry: Timer | None = None

    def want(self, pods: Sequence[Pod]) -> None:
        """These, from `static.read`, are the node's static pods from now on."""
        self._wanted = tuple(pods)
        self.look_soon()

    def start(self) -> None:
        self._running = True
        self._look()

    def pause(self) -> None:
        self._running = False

    def on_change(self, change: Change) -> None:
        about = change.after or change.before
        mirror = isinstance(about, Pod) and origins.is_mirror(about) and about.spec.node_name == self._node
        if mirror or (isinstance(about, Node) and about.metadata.name == self._node and self._wanted):
            self.look_soon()

    def report(self, pod: Pod) -> None:
        """The status of a static pod has changed."""
        self._held[pod.metadata.uid] = static.Held(pod)
        self.look_soon()

    def ended(self, uid: str) -> None:
        """Nothing is left of a static pod on the node."""
        self._held.pop(uid, None)
        self.look_soon()

    def forget(self) -> None:
        """The machine went off: nothing is held any more."""
        self._held.clear()

    def look_soon(self) -> None:
        if not self._queued and self._running:
            self._queued = True
            self._clock.call_at(self._clock.now(), self._look)

    def _look(self) -> None:
        self._queued = False
        if not self._running:
            return
        mirrors = [p for p in self._cluster.all(Pod) if p.spec.node_name == self._node and origins.is_mirror(p)]
        node = self._cluster.get(Node, "", self._node)
        wanted = [pod for pod in self._wanted if pod.metadata.uid in self._held] if self.closed else self._wanted
        plan = static.plan(wanted, self._held, mirrors, node, self._clock.now())
        for pod in (*plan.begin, *plan.end):
            self._held[pod.metadata.uid] = static.Held(pod)
            self._follow(pod)
        for pod, message in plan.duplicates:
            if pod.metadata.uid not in self._told:
                self._told.add(pod.metadata.uid)
                self._cluster.apply(RecordEvent(pod, "Warning", "FailedValidation", message))
        for write in plan.writes:
            try:
                written = self._cluster.apply(write)
            except (ConflictError, RefusedError) as error:
                logger.warning("static pod: %s", error)
                if self._retry is not None:
                    self._retry.cancel()
                self._retry = self._clock.call_at(self._clock.now() + RETRY, self.look_soon)
            else:
                if isinstance(write, UpdateStatus) and isinstance(written, Pod):
                    uid = origins.uid_on_node(written)
                    self._held[uid] = replace(self._held[uid], reported=written)
        if plan.begin:
            self.look_soon()
