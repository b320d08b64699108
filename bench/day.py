"""A day of a 1,000-pod system: 20 rollouts and 5 node losses, in virtual time, twice with the same seed.

.venv/bin/python bench/day.py [pods] [nodes]
"""

from __future__ import annotations

import hashlib
import random
import sys
import time
from datetime import timedelta

import msgspec

from seatrial.cluster.virtual import VirtualCluster
from seatrial.kube.objects import JsonObject

ROLLOUTS, LOSSES, BAR_S = 20, 5, 60.0
DAY = timedelta(days=1)


def deployment(number: int, replicas: int, release: int = 1) -> JsonObject:
    name = f"app-{number:02}"
    container = {
        "name": "main",
        "image": f"app:{release}",
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        "readinessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 10},
        "livenessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 10},
    }
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def service(number: int) -> JsonObject:
    name = f"app-{number:02}"
    spec = {"selector": {"app": name}, "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def a_day(pods: int, nodes: int, seed: int) -> tuple[str, int]:
    """A digest of all objects at the end of the day, and how many changes led there."""
    chance = random.Random(seed)
    cluster = VirtualCluster(nodes=nodes, seed=seed)
    each = 50
    apps = max(1, pods // each)
    cluster.apply([*(deployment(number, each) for number in range(apps)), *(service(n) for n in range(apps))])
    moments = sorted(chance.uniform(0.02, 0.95) for _ in range(ROLLOUTS + LOSSES))
    losses = set(chance.sample(range(ROLLOUTS + LOSSES), LOSSES))
    start = cluster.clock.now()
    for event, moment in enumerate(moments):
        cluster.advance(start + moment * DAY - cluster.clock.now())
        if event in losses:
            lost = f"node-{chance.randint(1, nodes)}"
            cluster.cluster.fail_node(lost)
            cluster.advance(timedelta(minutes=20))
            cluster.cluster.restore_node(lost)
        else:
            cluster.apply([deployment(event % apps, each, release=event + 2)])
    cluster.advance(start + DAY - cluster.clock.now())
    ready = sum(raw["status"].get("availableReplicas", 0) for raw in cluster.list("apps/v1", "Deployment"))
    assert ready == apps * each, f"{ready} of {apps * each} pods are available at the end of the day"
    digest = hashlib.sha256()
    for resource in sorted(cluster.api.store.resources()):
        for place, stored in sorted(cluster.api.store.all(resource).items()):
            digest.update(msgspec.json.encode((resource, place, stored.raw)))
    return digest.hexdigest(), cluster.api.store.revision


def main() -> None:
    pods = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    nodes = int(sys.argv[2]) if len(sys.argv) > 2 else 40
    ends = []
    for _ in range(2):
        started, used = time.perf_counter(), time.process_time()
        end, revision = a_day(pods, nodes, seed=4)
        elapsed_s, used_s = time.perf_counter() - started, time.process_time() - used
        print(
            f"a day of {pods} pods on {nodes} nodes {elapsed_s:8.1f} s  ({used_s:.1f} s of one processor, {revision} "
            f"changes; bar {BAR_S:.0f} s, ratio {elapsed_s / BAR_S:.2f})",
            flush=True,
        )
        ends.append(end)
    print(f"same final state for the same seed: {'yes' if ends[0] == ends[1] else 'NO'}")


if __name__ == "__main__":
    main()
