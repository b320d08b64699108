"""`./dev conformance`: random histories, live against Kubernetes or from the recordings."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from random import Random
from types import ModuleType

from tests.conformance.histories import differences, recordings
from tests.conformance.histories.differences import Difference
from tests.conformance.histories.known import KNOWN
from tests.conformance.histories.script import Recording, Script
from tests.conformance.histories.targets import (
    OF_NODES,
    QUIET_S,
    STEP_S,
    WITHOUT,
    UpstreamTarget,
    play_ours,
    play_upstream,
)
from tests.conformance.upstream import CONTROL_PLANE, MINORS, NEWEST, Upstream

AT_ONCE = 100
_CLEAN_UP = "pod-garbage-collector-controller"
REPEATS = 4
"""What differs is played so often again: where upstream then does what ours does, chance decided (uids, races)."""


def kinds() -> dict[str, ModuleType]:
    names = sorted(path.stem for path in (Path(__file__).parent / "kinds").glob("[!_]*.py"))
    return {name: import_module(f"tests.conformance.histories.kinds.{name}") for name in names}


def scripts(kind: str, module: ModuleType, count: int, seed: int) -> list[Script]:
    seeds = [f"{kind}-{seed}-{number}" for number in range(count)]
    given, nodes_alike = getattr(module, "GIVEN", ()), getattr(module, "NODES_ALIKE", False)
    return [Script(kind, one, tuple(module.script(Random(one))), given, nodes_alike) for one in seeds]


def flags(kind: str = "") -> dict[str, list[str]]:
    """The script is scheduler, kubelet and node; what only they would use is out of the way."""
    of_nodes = kind in OF_NODES
    without = [name for name in WITHOUT if not of_nodes or name in ("node-ipam-controller", _CLEAN_UP)]
    patient = [f"--{name}=24h" for name in ("node-monitor-grace-period", "node-startup-grace-period")]
    return {
        "kube-apiserver": [
            "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
            "--max-requests-inflight=2000",
            "--max-mutating-requests-inflight=2000",
        ],
        "kube-controller-manager": [
            "--controllers=" + ",".join(["*", *(f"-{name}" for name in without)]),
            *([*patient, "--node-monitor-period=1s"] if of_nodes else []),
        ],
    }


def record(target: UpstreamTarget, module: ModuleType, made: Sequence[Script]) -> list[Recording]:
    quiet_s, step_s = getattr(module, "QUIET_S", QUIET_S), getattr(module, "STEP_S", STEP_S)
    at_once = getattr(module, "AT_ONCE", AT_ONCE)
    batches = (made[start : start + at_once] for start in range(0, len(made), at_once))
    return [recording for batch in batches for recording in play_upstream(target, batch, quiet_s, step_s)]


def differing(recorded: Sequence[Recording], module: ModuleType, minor: int) -> list[Difference]:
    found = []
    for recording in recorded:
        ours = play_ours(recording, module.WATCHED, getattr(module, "STEP_S", STEP_S), minor)
        difference = differences.first(recording.script, recording.snapshots, ours)
        if difference is not None:
            found.append(difference)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev conformance", description=__doc__)
    parser.add_argument("kinds", nargs="*", help="default: all")
    parser.add_argument("--histories", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="keep what upstream did")
    parser.add_argument("--replay", action="store_true", help="compare with what was kept; needs no upstream")
    parser.add_argument("--minor", type=int, choices=MINORS, default=NEWEST, help="Kubernetes 1.MINOR, on both sides")
    parser.add_argument("--stories", type=int, default=5, help="differences to tell in full")
    asked = parser.parse_args()
    minor = asked.minor
    chosen = {name: module for name, module in kinds().items() if not asked.kinds or name in asked.kinds}
    if asked.replay:
        bad = sum(
            tell(name, recordings.load(name, minor), module, asked.stories, minor) for name, module in chosen.items()
        )
        return bad > 0
    bad = 0
    for of_nodes in (False, True):
        group = {name: module for name, module in chosen.items() if (name in OF_NODES) == of_nodes}
        bad += _play(group, asked) if group else 0
    return bad > 0


def _play(chosen: Mapping[str, ModuleType], asked: argparse.Namespace) -> int:
    """Kinds for which the same controllers run upstream; how many histories differ."""
    minor, bad = asked.minor, 0
    watched = sorted({kind for module in chosen.values() for kind in module.WATCHED})
    with Upstream.start(components=CONTROL_PLANE, flags=flags(next(iter(chosen))), minor=minor) as upstream:
        target = UpstreamTarget(upstream, watched)
        for name, module in chosen.items():
            made = scripts(name, module, asked.histories, asked.seed)
            recorded = record(target, module, made)
            if asked.record:
                recordings.save(name, recorded, minor)
            recorded, chance = settled(target, module, recorded, minor)
            if chance:
                print(f"{name}: in {chance} histories upstream did so only when asked again")
            if asked.record:
                recordings.save(name, recorded, minor)
            bad += tell(name, recorded, module, asked.stories, minor)
        target.stop()
    return bad


def settled(
    target: UpstreamTarget, module: ModuleType, recorded: Sequence[Recording], minor: int
) -> tuple[list[Recording], int]:
    """The recordings, and how many of them are of a later run: one in which upstream did what ours does."""
    found = {recording.script.seed: recording for recording in recorded}
    suspects = {difference.script.seed for difference in differing(recorded, module, minor)}
    chance = 0
    for _ in range(REPEATS):
        if not suspects:
            break
        again = record(target, module, [found[seed].script for seed in sorted(suspects)])
        still = {difference.script.seed for difference in differing(again, module, minor)}
        found |= {recording.script.seed: recording for recording in again if recording.script.seed not in still}
        chance += len(suspects - still)
        suspects = still
    return list(found.values()), chance


def tell(name: str, recorded: Sequence[Recording], module: ModuleType, stories: int, minor: int) -> int:
    all_found = differing(recorded, module, minor)
    found = [difference for difference in all_found if difference.script.seed not in KNOWN]
    for difference in found[:stories]:
        print(difference.story())
    steps = sum(len(each.snapshots) for each in recorded)
    known = len(all_found) - len(found)
    print(f"{name}: {len(recorded)} histories, {steps} steps, {len(found)} differ, {known} more in known.py")
    where = Counter(path.split(": ")[0] for difference in found for path in difference.paths)
    for path, count in where.most_common(15):
        print(f"   {count:4}  {path}")
    return len(found)


if __name__ == "__main__":
    sys.exit(main())
