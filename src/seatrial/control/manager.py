"""The controllers of the controller manager, all of them; whoever needs one of them imports its file only."""

from __future__ import annotations

from typing import Final

from seatrial.control import (
    autoscaler,
    certificates,
    clusterrole,
    cronjob,
    customresources,
    daemonset,
    deployment,
    disruption,
    endpoints,
    endpointslice,
    garbage,
    job,
    namespace,
    nodelifecycle,
    nodettl,
    podgc,
    quota,
    replicaset,
    replicationcontroller,
    serviceaccount,
    statefulset,
    tainteviction,
    ttl,
    volumes,
)
from seatrial.control.controller import Controller

CONTROLLERS: Final[tuple[Controller, ...]] = (
    deployment.CONTROLLER,
    replicaset.CONTROLLER,
    endpointslice.CONTROLLER,
    replicationcontroller.CONTROLLER,
    statefulset.CONTROLLER,
    daemonset.CONTROLLER,
    endpoints.CONTROLLER,
    endpoints.CLEANING,
    endpoints.MIRRORING,
    endpoints.MIRRORS_CLEANING,
    serviceaccount.CONTROLLER,
    serviceaccount.REFERENCES,
    quota.CONTROLLER,
    clusterrole.CONTROLLER,
    *certificates.CONTROLLERS,
    disruption.CONTROLLER,
    disruption.OVERLAPS,
    disruption.CLEANING,
    *job.CONTROLLERS,
    cronjob.CONTROLLER,
    ttl.CONTROLLER,
    autoscaler.CONTROLLER,
    podgc.CONTROLLER,
    tainteviction.CONTROLLER,  # it looks at a node's taints before they are changed again
    *nodelifecycle.CONTROLLERS,
    nodettl.CONTROLLER,
    *volumes.CONTROLLERS,
    namespace.CONTROLLER,
    *customresources.CONTROLLERS,
    *garbage.CONTROLLERS,
)
"""The controllers of the controller manager; the scheduler has its own (`scheduler.CONTROLLER`)."""
