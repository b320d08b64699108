"""Schedulers of several profiles beside the real one: the clusters of `scheduling`, configured at random.

    python -m tests.conformance.profiles live [CASES] [SEED]
    python -m tests.conformance.profiles record FILE [CASES] [SEED]
    python -m tests.conformance.profiles replay FILE

Each configuration has two or three profiles, each with plug-ins that are off, weights and arguments of its own, and
the pod names one of them.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from tests.conformance import scheduling
from tests.conformance.scheduling import HOST, ZONE, Cluster
from tests.conformance.upstream import NEWEST

Json = dict[str, Any]
_FILTERS: Final = (
    "NodeName",
    "NodeUnschedulable",
    "TaintToleration",
    "NodeAffinity",
    "NodePorts",
    "NodeResourcesFit",
    "PodTopologySpread",
    "InterPodAffinity",
)
_SCORES: Final = (
    "TaintToleration",
    "NodeAffinity",
    "NodeResourcesFit",
    "PodTopologySpread",
    "InterPodAffinity",
    "NodeResourcesBalancedAllocation",
    "ImageLocality",
)
CASES_EACH: Final = 20
"""So many clusters share a configuration: upstream keeps a scheduler for each."""
_WEIGHTS: Final = (0, 1, 1, 2, 5, 17, 100)


class Profiled(Cluster):
    """A random cluster whose scheduler has several profiles."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        rng = random.Random(f"profiles-{seed // CASES_EACH}")
        names = ["default-scheduler", "packing", "spreading"][: rng.choice([2, 2, 3])]
        if rng.random() < 0.2:
            names[0] = "another"
        profiles = [{"schedulerName": name, **_profile(rng)} for name in names]
        rng.shuffle(profiles)
        rng = random.Random(f"profiled-{seed}")
        raw = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}
        self.config = yaml.safe_dump({**raw, "profiles": profiles})
        for each in self.objects:
            if each["kind"] == "Pod":
                each["spec"]["schedulerName"] = rng.choice(names)


def _profile(rng: random.Random) -> Json:
    plugins: Json = {}
    if rng.random() < 0.5:
        plugins["multiPoint"] = _multi_point(rng)
    if rng.random() < 0.5:
        plugins["score"] = _score(rng)
    if rng.random() < 0.25:
        plugins["filter"] = {"disabled": _named(rng.sample(_FILTERS, rng.choice([1, 2])))}
    if rng.random() < 0.1:
        plugins["postFilter"] = {"disabled": _named(["DefaultPreemption"])}
    profile: Json = {"plugins": plugins} if plugins else {}
    arguments = [{"name": name, "args": made} for name, make in _ARGUMENTS.items() if (made := make(rng))]
    return {**profile, "pluginConfig": arguments} if arguments else profile


def _named(names: list[str]) -> list[Json]:
    return [{"name": name} for name in names]


def _multi_point(rng: random.Random) -> Json:
    off = rng.sample(sorted({*_FILTERS, *_SCORES, "DefaultPreemption"}), rng.choice([0, 1, 2, 4]))
    on = rng.sample([name for name in _SCORES if name not in off], rng.choice([0, 1, 2]))
    return {"disabled": _named(off), "enabled": [{"name": name, "weight": rng.choice(_WEIGHTS)} for name in on]}


def _score(rng: random.Random) -> Json:
    """All but a few, all with some weights changed, or only those named."""
    names = rng.sample(_SCORES, rng.choice([1, 2, 3]))
    weighed = [{"name": name, "weight": rng.choice(_WEIGHTS)} for name in names]
    match rng.randrange(4):
        case 0:
            return {"disabled": _named(names)}
        case 1:
            return {"enabled": weighed}
        case 2:
            return {"disabled": _named(names), "enabled": weighed}
    return {"disabled": _named(["*"]), "enabled": weighed}


def _fit(rng: random.Random) -> Json:
    if rng.random() < 0.5:
        return {}
    names = rng.sample(("cpu", "memory", "example.com/gpu", "ephemeral-storage"), rng.choice([1, 2, 3]))
    strategy: Json = {"type": rng.choice(["LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"])}
    strategy["resources"] = [{"name": name, "weight": rng.choice([1, 2, 7])} for name in names]
    if strategy["type"] == "RequestedToCapacityRatio":
        points = sorted(rng.sample(range(101), rng.choice([1, 2, 3])))
        shape = [{"utilization": each, "score": rng.randint(0, 10)} for each in points]
        strategy["requestedToCapacityRatio"] = {"shape": shape}
    args: Json = {"scoringStrategy": strategy}
    if rng.random() < 0.3:
        args["ignoredResources"] = ["example.com/gpu"]
    if rng.random() < 0.2:
        args["ignoredResourceGroups"] = ["example.com"]
    return args


def _balanced(rng: random.Random) -> Json:
    if rng.random() < 0.7:
        return {}
    names = rng.sample(("cpu", "memory", "example.com/gpu"), rng.choice([1, 2, 3]))
    return {"resources": [{"name": name, "weight": 1} for name in names]}


def _spread(rng: random.Random) -> Json:
    if rng.random() < 0.5:
        return {}
    constraints = [
        {
            "maxSkew": rng.choice([1, 2, 5]),
            "topologyKey": key,
            "whenUnsatisfiable": rng.choice(["DoNotSchedule", "ScheduleAnyway"]),
        }
        for key in rng.sample((ZONE, HOST), rng.choice([0, 1, 2]))
    ]
    return {"defaultingType": "List", "defaultConstraints": constraints}


def _between_pods(rng: random.Random) -> Json:
    if rng.random() < 0.6:
        return {}
    return {
        "hardPodAffinityWeight": rng.choice([0, 1, 20, 100]),
        "ignorePreferredTermsOfExistingPods": rng.random() < 0.5,
    }


def _affinity(rng: random.Random) -> Json:
    if rng.random() < 0.6:
        return {}
    added: Json = {}
    if rng.random() < 0.6:
        values = rng.sample(("ssd", "hdd", "nvme"), rng.choice([1, 2]))
        term = {"matchExpressions": [{"key": "disk", "operator": rng.choice(["In", "NotIn"]), "values": values}]}
        added["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": [term]}
    if rng.random() < 0.6 or not added:
        preference = {"matchExpressions": [{"key": "gen", "operator": rng.choice(["Gt", "Lt"]), "values": ["2"]}]}
        added["preferredDuringSchedulingIgnoredDuringExecution"] = [
            {"weight": rng.choice([1, 30, 100]), "preference": preference}
        ]
    return {"addedAffinity": added}


_ARGUMENTS: Final = {
    "NodeResourcesFit": _fit,
    "NodeResourcesBalancedAllocation": _balanced,
    "PodTopologySpread": _spread,
    "InterPodAffinity": _between_pods,
    "NodeAffinity": _affinity,
}


def main() -> int:
    match sys.argv[1:]:
        case ["live", *numbers]:
            return scheduling.live(NEWEST, *map(int, numbers), make=Profiled)
        case ["record", path, *numbers]:
            return scheduling.record(NEWEST, Path(path), *map(int, numbers), make=Profiled)
        case ["replay", path]:
            wrong = scheduling.replay(Path(path), make=Profiled)
            print(f"{len(wrong)} differ: {' '.join(wrong[:20])}")
            return len(wrong)
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
