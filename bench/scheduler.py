"""Pods placed per second: 10,000 pods onto 1,000 nodes, one decision after the other, as a cluster makes them.

First decisions alone; then the whole way through the API (each binding is a stored write), and with `--beside`, in the
same run, kube-scheduler 1.37.2 with its API server and etcd, from its start to the last binding. The latter compiles
Kubernetes if the cache has none (Go, several minutes).

.venv/bin/python bench/scheduler.py [--beside] [pods] [nodes]
"""

from __future__ import annotations

import argparse
import http.client
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from seatrial.cluster.clock import VirtualClock
from seatrial.cluster.objects import Objects
from seatrial.cluster.scheduling import SchedulingLoop
from seatrial.control.scheduler import Scheduler
from seatrial.control.writes import Bind
from seatrial.kube.objects import Node, Pod, parse_as, to_wire
from seatrial.server.api import Api
from seatrial.server.requests import Options
from seatrial.server.store import Store

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
    name = f"rs-{index % 10}"
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": name, "controller": True}
    container = {"name": "main", "image": "app:1", "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}}
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


def through_the_api(count: int, machines: list[Node]) -> float:
    """Seconds from the start of the scheduler to the last binding; everything is there before."""
    clock = VirtualClock()
    api = Api(Store.open(":memory:"), now=clock.now, disabled_plugins=("ServiceAccount",))
    for item in (*machines, *(pod(index) for index in range(count))):
        resource = api.kind(item.api_version, item.kind)
        api.create(resource, item.metadata.namespace, to_wire(item), Options(trusted=True))
        if isinstance(item, Node):
            api.patch(resource, "", item.metadata.name, {"status": to_wire(item)["status"]}, subresource="status")
    objects = Objects(api)
    loop = SchedulingLoop(objects, clock, minor=37, seed=1)
    started = time.perf_counter()
    loop.start()
    while not all(one.spec.node_name for one in objects.all(Pod)):
        clock.run(timedelta(seconds=1))
    elapsed_s = time.perf_counter() - started
    loop.stop()
    return elapsed_s


def upstream(count: int, machines: list[Node]) -> float:
    """The same with kube-scheduler: seconds from its start to the last binding."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tests.conformance.upstream import Upstream

    flags = {"kube-apiserver": ["--disable-admission-plugins=ServiceAccount,TaintNodesByCondition"]}
    with Upstream.start(components=("etcd", "kube-apiserver"), flags=flags) as control_plane:
        context = control_plane.pki.client_context()

        def send(items: Sequence[Node | Pod]) -> None:
            connection = http.client.HTTPSConnection("127.0.0.1", control_plane.port, context=context)
            for item in items:
                place = f"namespaces/{item.metadata.namespace}/pods" if isinstance(item, Pod) else "nodes"
                body = msgspec.json.encode(to_wire(item))
                connection.request("POST", f"/api/v1/{place}", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                said = answer.read()
                assert answer.status == 201, said

        everything: list[Node | Pod] = [*machines, *(pod(index) for index in range(count))]
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(send, (everything[start::6] for start in range(6))))
        started = time.perf_counter()
        control_plane.add("kube-scheduler")
        connection = http.client.HTTPSConnection("127.0.0.1", control_plane.port, context=context)
        while True:
            connection.request("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3D&limit=1")
            if not msgspec.json.decode(connection.getresponse().read())["items"]:
                return time.perf_counter() - started
            time.sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pods", nargs="?", type=int, default=10_000)
    parser.add_argument("nodes", nargs="?", type=int, default=1000)
    parser.add_argument("--beside", action="store_true", help="kube-scheduler in the same run")
    asked = parser.parse_args()
    machines = [machine(index) for index in range(asked.nodes)]
    measure("requests only", asked.pods, machines)
    measure("zone spread, DoNotSchedule", asked.pods, machines, topologySpreadConstraints=SPREAD)
    measure("preferred anti-affinity", asked.pods, machines, affinity=SHY)
    ours_s = through_the_api(asked.pods, machines)
    print(f"{'through the API':32} {asked.pods / ours_s:8.0f} pods/s  ({ours_s:.2f} s)")
    if asked.beside:
        theirs_s = upstream(asked.pods, machines)
        print(f"{'kube-scheduler':32} {asked.pods / theirs_s:8.0f} pods/s  ({theirs_s:.2f} s)")
        print(f"kube-scheduler's time is {theirs_s / ours_s:.1f} times ours")


if __name__ == "__main__":
    main()
