"""The simulated cluster, moved in random orders, stays among the states that were explored."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta
from itertools import permutations

import msgspec

from seatrial.check import explore
from seatrial.check.budget import Budget
from seatrial.check.model.pods import Outcome, facts
from seatrial.check.model.space import State
from seatrial.check.model.user import Objects
from seatrial.check.runs.rollouts import KINDS, RESTARTED, Rollout, Setting
from seatrial.check.story import Run
from seatrial.cli.reenactment import _of, _Stage
from seatrial.control.lifecycle import sync
from seatrial.control.manager import CONTROLLERS
from seatrial.control.writes import Bind, UpdateStatus
from seatrial.kube.objects import Object, Pod, ReplicaSet
from seatrial.server.requests import MERGE_PATCH
from tests.check import oracle

Seen = tuple[frozenset[tuple[tuple[str, ...], int]], tuple[tuple[str, int, int], ...]]
"""The pods, each as it can be told from others, and of each ReplicaSet how many are asked for and reported."""


class Played:
    """A cluster without time or nodes of its own, on which every move is made by hand."""

    def __init__(self, made: oracle.Case, seed: int) -> None:
        self.case = made
        setting = Setting(made.workload, made.nodes, made.plan, quotas=oracle.quota(made), collapses=False)
        self.rollout = Rollout(setting)
        run = Run(self.rollout.pool, self.rollout.space, self.rollout.model.initial, (), None, stuck=False)
        self.stage = _Stage(run, "1.37", seed)
        self.source = random.Random(seed)
        self.changes = 0
        self.names = sorted(node.metadata.name for node in made.nodes)

    def move(self) -> None:
        source = self.source
        actors = [each for each in CONTROLLERS if each.name in KINDS[type(self.case.workload)].controllers]
        if self.case.most_pods is not None:
            actors += [each for each in CONTROLLERS if each.name == "resource-quota-controller"]
        subjects: list[tuple[str, Object]] = [
            (each.name, subject) for each in actors for subject in self.stage._objects.all(each.subject)
        ]
        pods = list(self.stage._pods())
        chosen = source.randrange(len(subjects) + len(pods) + 1)
        if chosen < len(subjects):
            name, subject = subjects[chosen]
            self.stage._cluster.loop.step(name, subject.key)
        elif chosen < len(subjects) + len(pods):
            self._pod(pods[chosen - len(subjects)])
        else:
            self._user()

    def _pod(self, pod: Pod) -> None:
        if not pod.spec.node_name:
            best = self.stage._placement(pod).best
            if best:
                self.stage._write(Bind(pod, self.source.choice(best)))
        elif pod.metadata.deletion_timestamp is not None:
            self.stage._gone(pod)
        else:
            works = {revision.mark: revision.works for revision in self.case.plan}
            outcome = Outcome.READY if works.get(oracle.mark(pod), True) else Outcome.CRASHED
            for _ in range(2):
                found = self.stage._objects.get(Pod, pod.metadata.namespace, pod.metadata.name)
                assert found is not None
                now = self.stage._clock.now()
                status = sync(found, facts(found, outcome), now, minor=37).status
                self.stage._write(UpdateStatus(found, msgspec.structs.replace(found, status=status)))

    def _user(self) -> None:
        """Changes the template when the checker's user may: the first time after a complete install."""
        if self.changes == len(self.case.plan) or (not self.changes and not self._is_installed()):
            return
        (workload,) = self.stage._objects.all(type(self.case.workload))
        template = self.case.plan[self.changes].marked(workload.spec.template)
        annotations = {RESTARTED: template.metadata.annotations.get(RESTARTED)}
        patch = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
        api = self.stage._api
        kind = api.kind(*workload.identity)
        api.patch(kind, workload.metadata.namespace, workload.metadata.name, patch, MERGE_PATCH)
        self.changes += 1

    def _is_installed(self) -> bool:
        (workload,) = self.stage._objects.all(type(self.case.workload))
        judged = self.rollout.kind.judged
        objects: Objects = {kind: tuple(self.stage._objects.all(kind)) for kind in judged}
        return self.rollout.kind.done(workload, objects, frozenset())

    def seen(self) -> Seen:
        sets = self.stage._objects.all(ReplicaSet)
        return self._same(Counter(_of(pod) for pod in self.stage._pods()), tuple(sets))

    def explored(self, state: State) -> Seen:
        pool, space = self.rollout.pool, self.rollout.space
        sets = tuple(pool[n] for n in state[space.slots[ReplicaSet]]) if ReplicaSet in space.slots else ()
        return self._same(Counter(_of(pool[number]) for number in state[space.pods]), sets)

    def _same(self, pods: Counter[tuple[str, ...]], sets: tuple[ReplicaSet, ...]) -> Seen:
        """What there is, with nodes that differ in name only called so that it comes out least."""
        told = tuple(sorted((rs.metadata.name, rs.spec.replicas or 0, rs.status.replicas) for rs in sets))
        best: list[tuple[tuple[str, ...], int]] | None = None
        for order in permutations(self.names):
            names = dict(zip(self.names, order, strict=True))
            named = sorted((tuple(names.get(word, word) for word in each), count) for each, count in pods.items())
            best = named if best is None or named < best else best
        return frozenset(best or ()), told


def play(name: str, seed: int, moves: int = 150) -> int | None:
    """How many changes the user came to; None if there are too many states. Every state must be a known one."""
    made = oracle.case(random.Random(name))
    played = Played(made, seed)
    graph = explore.explore(played.rollout.model, Budget(states=6_000))
    if not graph.complete:
        return None
    known = {played.explored(state) for state in graph.states}
    for _ in range(moves):
        played.stage._clock.run(timedelta(seconds=1))
        played.move()
        seen = played.seen()
        assert seen in known, f"{made.told}: {sorted(seen[0])}, {seen[1]}"
    return played.changes


def test_every_state_that_the_cluster_comes_to_was_explored() -> None:
    changes = [play(f"orders/{number}", number) for number in range(16)]
    assert sum(each is not None for each in changes) > 12
    assert sum(bool(each) for each in changes) > 5
