"""Pods placed per second: 10,000 pods onto 1,000 nodes, one decision after the other, as a cluster makes them.

kube-scheduler 1.37.2 with the same 1,000 nodes and 10,000 pods (requests only; API QPS 5,000) beside its API server and
etcd on a busy machine of two cores: 51 s from start to the last binding, 196 pods/s.

.venv/bin/python bench/scheduler.py [pods] [nodes]
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime

import msgspec

from seatrial.control.scheduler import Scheduler
from seatrial.control.writes import Bind
from seatrial.kube.objects import Node, Pod, parse_as

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SHY = {
    "podAntiAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {
                "weight": 100,
                "podAffinityTerm": {
                    "labelSelector": {"matchLabels": {"app": "web"}},
                    "topologyKey": "kubernetes.io/hostname",
                },
            }
        ]
    }
}
SPREAD = [
    {
        "maxSkew": 1,
        "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
]


def machine(index: int) -> Node:
    labels = {"kubernetes.io/hostname": f"n{index}", "topology.kubernetes.io/zone": f"z{index % 3}"}
    allocatable = {"cpu": "16", "memory": "64Gi", "pods": "110"}
    return parse_as(
        Node, {"metadata": {"name": f"n{index:03}", "labels": labels}, "status": {"allocatable": allocatable}}
    )


def pod(index: int, **spec: object) -> Pod:
    owner = {"uid": f"rs-{index % 10}", "controller": True}
    container = {"name": "main", "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}}
    metadata = {
        "name": f"p{index}",
        "namespace": "default",
        "labels": {"app": "web"},
        "ownerReferences": [owner],
    }
    return parse_as(Pod, {"metadata": metadata, "spec": {"containers": [container], **spec}})


def measure(name: str, count: int, machines: list[Node], **spec: object) -> None:
    waiting = [pod(index, **spec) for index in range(count)]
    scheduler = Scheduler()
    for item in (*machines, *waiting):
        scheduler.change(None, item, NOW)
    started = time.perf_counter()
    while (one := scheduler.next(NOW)) is not None:
        bind = scheduler.place(one, NOW).writes[0]
        assert isinstance(bind, Bind)
        bound = msgspec.structs.replace(one, spec=msgspec.structs.replace(one.spec, node_name=bind.node_name))
        scheduler.change(one, bound, NOW)
    elapsed_s = time.perf_counter() - started
    print(f"{name:32} {count / elapsed_s:8.0f} pods/s  ({count} pods, {len(machines)} nodes, {elapsed_s:.2f} s)")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    size = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    machines = [machine(index) for index in range(size)]
    measure("requests only", count, machines)
    measure("zone spread, DoNotSchedule", count, machines, topologySpreadConstraints=SPREAD)
    measure("preferred anti-affinity", count, machines, affinity=SHY)


if __name__ == "__main__":
    main()
