"""One Deployment's cluster as a model to explore: the same decisions that run, applied in every order.

A state is `(deployment, replica sets, pods)`: ids of interned objects, sorted. Pods have no names here (equal pods have
equal ids), so pods that differ in name only are interchangeable by construction; nodes that differ in name only are
renamed into one order (`_canonical`). A controller is called on a named copy of what it reads; since names decide
nothing but ties, it is called once for every order of the pods that differ, up to `TIE_ORDERS`.

What is memoised on what: a controller's decision on its subject and the ids of its declared reads (cut by `view`),
without the pods where it did not look at any (`_Watched`); what it sees of an object on its subject's standing and the
object; a pod's next step on the pod's id; a placement on the pod and what scheduling sees of the bound pods; all moves
of pods on the pods. A controller is a pure function, so what it did not look at cannot change what it decides.

Time stands at `NOW`; the only effect of time is a pod becoming available after minReadySeconds, a move of its own.
Rejected: pod names in the state (n! copies of every state) and one move for "everything settles" (hides the orders in
which rollouts lose replicas).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import chain, islice, permutations
from typing import Any, TypeVar, cast

import msgspec

from seatrial.check import machines
from seatrial.control import relations, scheduler
from seatrial.control.controller import Controller, Relation, Seen
from seatrial.control.lifecycle import sync
from seatrial.control.lifecycle.facts import (
    ContainerFact,
    ContainerPhase,
    PodFacts,
    ProbeFact,
    ProbeKind,
    SandboxFact,
)
from seatrial.control.writes import Create, Delete, RecordEvent, Update, UpdateStatus, target
from seatrial.kube.objects import Deployment, Node, Object, Pod, ReplicaSet, canonical

NOW = datetime(2000, 1, 1, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=1)
TIE_ORDERS = 24
"""All orders of up to four different pods; beyond that the first 24, and the verdict says so (`ties/sampled`)."""
POD = "pod-"
"""Named copies of pods are called by their position in the order that is tried."""
HOSTNAME = "kubernetes.io/hostname"

COLLECTS = frozenset((Relation.OWNER, Relation.DEPENDENT))
"""The reads of garbage collection, which acts on what has lost its owner or waits for dependents: nothing does here."""

State = tuple[int, tuple[int, ...], tuple[int, ...]]
Label = tuple[str, int]
"""Who acts, and the id of the object acted on."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Effect:
    """What one move does: pairs of ids before and after, -1 for absence; and what a trace tells about it."""

    label: Label
    pairs: tuple[tuple[int, int], ...]
    actor: str
    action: str


class _Watched(Mapping[type[Object], tuple[Object, ...]]):
    """What a controller is given to see; remembers whether it looked at pods."""

    __slots__ = ("looked_at_pods", "seen")

    def __init__(self, seen: dict[type[Object], tuple[Object, ...]]) -> None:
        self.seen = seen
        self.looked_at_pods = False

    def __getitem__(self, kind: type[Object]) -> tuple[Object, ...]:
        self.looked_at_pods = self.looked_at_pods or kind is Pod
        return self.seen[kind]

    def __iter__(self) -> Iterator[type[Object]]:
        self.looked_at_pods = True
        return iter(self.seen)

    def __len__(self) -> int:
        return len(self.seen)


@dataclass(slots=True)
class World:
    """The model. `others` are bound pods of other workloads: they take room and never move."""

    deployment: Deployment
    nodes: tuple[Node, ...]
    controllers: tuple[Controller, ...]
    others: tuple[Pod, ...] = ()
    collapses: bool = True
    prompt: bool = True
    """ReplicaSet controllers catch up (milliseconds) before a container starts or stops (`controllers/prompt`).

    Without it upstream's own arithmetic breaks its promise: a Deployment trusts `status.availableReplicas` of a
    ReplicaSet that has just deleted a pod and not yet said so, and takes one pod too many.
    """
    named_nodes: frozenset[str] = frozenset()
    sampled_ties: bool = False
    objects: list[Object] = field(default_factory=list)
    _ids: dict[tuple[type, bytes], int] = field(default_factory=dict)
    _decisions: dict[tuple[Any, ...], tuple[Effect, ...]] = field(default_factory=dict)
    _podless: dict[tuple[str, int, tuple[int, ...]], tuple[Effect, ...]] = field(default_factory=dict)
    """The decisions for which no pod was looked at."""
    _steps: dict[int, tuple[Effect, ...]] = field(default_factory=dict)
    _head_moves: dict[tuple[int, tuple[int, ...]], list[tuple[Label, int, tuple[int, ...]]]] = field(
        default_factory=dict
    )
    """The moves of controllers of Deployments that looked at no pod, and Deployment and ReplicaSets after each."""
    _pod_moves: dict[tuple[tuple[int, ...], bool], list[tuple[Label, tuple[int, ...]]]] = field(default_factory=dict)
    """The moves of pods, and the pods after each, by the pods and whether a ReplicaSet has something to say."""
    _standings: dict[tuple[Any, ...], int] = field(default_factory=dict)
    _standing_of: dict[int, int] = field(default_factory=dict)
    _sights: dict[tuple[str, int, int, int], tuple[Object, ...]] = field(default_factory=dict)
    _pod_sights: dict[tuple[str, int, tuple[int, ...]], tuple[Object, ...]] = field(default_factory=dict)
    _owned: dict[tuple[tuple[int, ...], int], tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    """The pods of one owner and all others."""
    _uids: dict[str, int] = field(default_factory=dict)
    _uid_of: dict[int, int] = field(default_factory=dict)
    _pod_ids: set[int] = field(default_factory=set)
    _roll: dict[tuple[int, tuple[int, ...]], tuple[Effect, ...]] = field(default_factory=dict)
    _placements: dict[tuple[Any, ...], tuple[Effect, ...]] = field(default_factory=dict)
    _node_of: dict[int, str] = field(default_factory=dict)
    _at_node: dict[tuple[int, str], int] = field(default_factory=dict)
    _views: dict[tuple[int, int], int] = field(default_factory=dict)
    _slots: dict[str, int] = field(default_factory=dict)
    _first_of: dict[tuple[int, int], int] = field(default_factory=dict)
    _scheduling: dict[int, int] = field(default_factory=dict)
    _canon: dict[tuple[int, ...], tuple[int, ...]] = field(default_factory=dict)
    _groups: tuple[tuple[str, ...], ...] = ()
    _one_node: bool = False
    """Nodes are taken together; then other ReplicaSets' pods, which rank a ReplicaSet's by node, rank all alike."""
    _stops_unseen: bool = False
    """Pods that stop are gone at once: they take nobody's room, and a rolling update waits for none of them."""
    _deployment_controllers: tuple[Controller, ...] = ()
    _replicaset_controllers: tuple[Controller, ...] = ()

    def __post_init__(self) -> None:
        acting = [c for c in self.controllers if not any(read.relation in COLLECTS for read in c.reads)]
        self._deployment_controllers = tuple(c for c in acting if c.subject is Deployment)
        self._replicaset_controllers = tuple(c for c in acting if c.subject is ReplicaSet)
        if self.collapses and (node := self._any_node_will_do()) is not None:
            self.nodes = (node,)
            self._one_node = True
            self._stops_unseen = self.deployment.spec.strategy.type == "RollingUpdate"
        groups: dict[tuple[bytes, tuple[bytes, ...]], list[str]] = {}
        for node in self.nodes:
            name = node.metadata.name
            on_it = tuple(sorted(canonical(_nameless(p)) for p in self.others if p.spec.node_name == name))
            like = b"" if name not in self.named_nodes else name.encode()
            groups.setdefault((canonical(_anonymous(node)) + like, on_it), []).append(name)
        self._groups = tuple(tuple(sorted(names)) for names in groups.values() if len(names) > 1)

    def _any_node_will_do(self) -> Node | None:
        """One node to stand for all that can take the pods, if it decides nothing which of them a pod is on.

        So it is when no rule relates the pods to each other and each such node holds alone all the pods there can be:
        every replica of two templates, stopping or not, and every surge pod. Equal pods then stay equal when they are
        placed, which saves most states of an ordinary rollout.
        """
        template = self.deployment.spec.template
        affinity = template.spec.affinity
        if affinity is not None:
            near, apart = affinity.pod_affinity, affinity.pod_anti_affinity
            if (near and near.required_during_scheduling_ignored_during_execution) or (
                apart and apart.required_during_scheduling_ignored_during_execution
            ):
                return None
        if any(rule.when_unsatisfiable != "ScheduleAnyway" for rule in template.spec.topology_spread_constraints):
            return None
        count = 2 * (machines.replicas(self.deployment) + machines.resolved_surge(self.deployment))
        clones = machines.pods_of(self.deployment, count)
        for name in scheduler.schedule(clones[0], self.nodes, self.others).feasible:
            node = next(node for node in self.nodes if node.metadata.name == name)
            held = list(self.others)
            for clone in clones:
                if not scheduler.schedule(clone, (node,), held).best:
                    return None
                held.append(msgspec.structs.replace(clone, spec=msgspec.structs.replace(clone.spec, node_name=name)))
        feasible = scheduler.schedule(clones[0], self.nodes, self.others).feasible
        return next((node for node in self.nodes if node.metadata.name in feasible), None)

    # -- interning

    def intern(self, item: Object) -> int:
        item = _normal(item)
        key = (type(item), canonical(item))
        found = self._ids.get(key)
        if found is None:
            found = self._ids[key] = len(self.objects)
            self.objects.append(item)
            if isinstance(item, Pod):
                self._node_of[found] = item.spec.node_name
                self._pod_ids.add(found)
        return found

    @property
    def initial(self) -> State:
        metadata = msgspec.structs.replace(
            self.deployment.metadata, uid="deployment", generation=1, creation_timestamp=LONG_AGO
        )
        return (self.intern(msgspec.structs.replace(self.deployment, metadata=metadata)), (), ())

    # -- moves

    def moves(self, state: State) -> list[tuple[Label, State]]:
        deployment, replica_sets, pods = state
        found: list[tuple[Label, State]] = []
        head = (deployment, replica_sets)
        heads = self._head_moves.get(head)
        if heads is not None:
            for label, deployment_after, replica_sets_after in heads:
                found.append((label, (deployment_after, replica_sets_after, pods)))
        else:
            heads = []
            podless = True
            for controller in self._deployment_controllers:
                for effect in self._decide(controller, deployment, replica_sets, pods):
                    after = self._apply(state, effect, canonical_nodes=True)
                    found.append((effect.label, after))
                    heads.append((effect.label, after[0], after[1]))
                    podless = podless and after[2] == pods
                podless = podless and (controller.name, *head) in self._podless
            if podless:
                self._head_moves[head] = heads
        before = len(found)
        for replica_set in replica_sets:
            for controller in self._replicaset_controllers:
                for effect in self._decide(controller, replica_set, (), pods):
                    found.append((effect.label, self._apply(state, effect, canonical_nodes=True)))
        key = (pods, self.prompt and len(found) > before)
        moved = self._pod_moves.get(key)
        if moved is None:
            moved = self._pod_moves[key] = [
                (effect.label, self._apply(state, effect, canonical_nodes=True)[2])
                for effect in self._pod_effects(*key)
            ]
        for label, pods_after in moved:
            found.append((label, (deployment, replica_sets, pods_after)))
        for effect in self._rolls(deployment, replica_sets):
            found.append((effect.label, self._apply(state, effect, canonical_nodes=True)))
        return [move for move in found if move[1] != state]

    def effects(self, state: State) -> list[Effect]:
        """Every move of a state, before nodes are renamed."""
        deployment, replica_sets, pods = state
        decided, reports = self._decided(deployment, replica_sets, pods)
        return [*decided, *self._pod_effects(pods, reports), *self._rolls(deployment, replica_sets)]

    def _decided(
        self, deployment: int, replica_sets: tuple[int, ...], pods: tuple[int, ...]
    ) -> tuple[list[Effect], bool]:
        """What the controllers do, and whether a container must wait for a ReplicaSet's word (`prompt`)."""
        found: list[Effect] = []
        for controller in self._deployment_controllers:
            found += self._decide(controller, deployment, replica_sets, pods)
        others = len(found)
        for replica_set in replica_sets:
            for controller in self._replicaset_controllers:
                found += self._decide(controller, replica_set, (), pods)
        return found, self.prompt and len(found) > others

    def _pod_effects(self, pods: tuple[int, ...], reports: bool) -> list[Effect]:
        found: list[Effect] = []
        bound: tuple[int, ...] | None = None
        for pod in dict.fromkeys(pods):
            if self._node_of[pod]:
                if reports:
                    continue
                effects = self._steps.get(pod)
                if effects is None:
                    effects = self._steps[pod] = self._step(pod)
            else:
                if bound is None:
                    bound = tuple(sorted(self._scheduling_view(other) for other in pods if self._node_of[other]))
                effects = self._placements.get((pod, bound))
                if effects is None:
                    effects = self._placements[pod, bound] = self._place(pod, bound)
            found += effects
        return found

    def _rolls(self, deployment: int, replica_sets: tuple[int, ...]) -> tuple[Effect, ...]:
        found = self._roll.get((deployment, replica_sets))
        if found is None:
            found = self._roll[deployment, replica_sets] = self._change(deployment, replica_sets)
        return found

    def raw_successors(self, state: State) -> list[tuple[Effect, State]]:
        """The moves with the effects as they are, nodes not renamed: what a trace is told from."""
        return [(effect, self._apply(state, effect, canonical_nodes=False)) for effect in self.effects(state)]

    def canonical(self, state: State) -> State:
        return (state[0], state[1], self._canonical(state[2]))

    def _apply(self, state: State, effect: Effect, *, canonical_nodes: bool) -> State:
        deployment, replica_sets, pods = state
        new_pods: list[int] | None = None
        pod_ids = self._pod_ids
        for old, new in effect.pairs:
            if old in pod_ids or new in pod_ids:
                if new_pods is None:
                    new_pods = list(pods)
                if old >= 0:
                    new_pods.remove(old)
                if new >= 0:
                    new_pods.append(new)
            elif old == deployment:
                deployment = new
            else:
                replica_sets = tuple(sorted([*(r for r in replica_sets if r != old), *((new,) if new >= 0 else ())]))
        if new_pods is not None:
            new_pods.sort()
            pods = tuple(new_pods)
            if canonical_nodes and self._groups:
                pods = self._canonical(pods)
        return (deployment, replica_sets, pods)

    def _canonical(self, pods: tuple[int, ...]) -> tuple[int, ...]:
        found = self._canon.get(pods)
        if found is None:
            renamed: dict[str, str] = {}
            for names in self._groups:
                on: dict[str, list[int]] = {name: [] for name in names}
                for pod in pods:
                    node = self._node_of[pod]
                    if node in on:
                        on[node].append(self.at_node(pod, ""))
                for name, like in zip(names, sorted(names, key=lambda name: (sorted(on[name]), name)), strict=True):
                    renamed[like] = name
            found = tuple(
                sorted(
                    self.at_node(pod, renamed[self._node_of[pod]]) if self._node_of[pod] in renamed else pod
                    for pod in pods
                )
            )
            self._canon[pods] = found
        return found

    def at_node(self, pod: int, node: str) -> int:
        """The same pod on another node."""
        found = self._at_node.get((pod, node))
        if found is None:
            item = cast(Pod, self.objects[pod])
            status = msgspec.structs.replace(item.status, host_ip="", host_ips=(), pod_ip="", pod_ips=())
            moved = msgspec.structs.replace(
                item, spec=msgspec.structs.replace(item.spec, node_name=node), status=status
            )
            found = self._at_node[pod, node] = self.intern(moved)
        return found

    # -- decisions

    def _decide(
        self, controller: Controller, subject: int, replica_sets: tuple[int, ...], pods: tuple[int, ...]
    ) -> tuple[Effect, ...]:
        """The effects of one reconcile, in each order of names that could matter."""
        head = (controller.name, subject, replica_sets)
        found = self._podless.get(head)
        if found is not None:
            return found
        mine, others = self._split(subject, pods) if controller.subject is ReplicaSet else ((), pods)
        rest = self._viewed(controller, others) if others else ()
        key = (head, mine, rest)
        found = self._decisions.get(key)
        if found is None:
            found, looked_at_pods = self._reconcile(controller, subject, replica_sets, mine, rest)
            if looked_at_pods:
                self._decisions[key] = found
            else:
                self._podless[head] = found
        return found

    def _split(self, replica_set: int, pods: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The pods that the ReplicaSet controls, and the others where their nodes could rank the first."""
        uid = self._uid_of.get(replica_set)
        if uid is None:
            uid = self._uid_of[replica_set] = self._uid(self.objects[replica_set].metadata.uid)
        found = self._owned.get((pods, uid))
        if found is None:
            owned: list[int] = []
            others: list[int] = []
            for pod in pods:
                owner = self.objects[pod].metadata.controller
                (owned if owner is not None and self._uid(owner.uid) == uid else others).append(pod)
            found = self._owned[pods, uid] = (tuple(owned), () if self._one_node else tuple(others))
        return found

    def _uid(self, uid: str) -> int:
        return self._uids.setdefault(uid, len(self._uids))

    def _viewed(self, controller: Controller, pods: tuple[int, ...]) -> tuple[int, ...]:
        """The pods, each stood for by the first one that looks the same to the controller's last read of pods."""
        reads = [read for read in controller.reads if read.kind is Pod]
        if not reads or not pods:
            return ()
        view = reads[-1].view
        if view is None:
            return pods
        slot = self._slots.setdefault(controller.name, len(self._slots))
        found = []
        for pod in pods:
            seen = self._views.get((slot, pod))
            if seen is None:
                looks = self.intern(view(self.objects[pod]))
                seen = self._views[slot, pod] = self._first_of.setdefault((slot, looks), pod)
            found.append(seen)
        found.sort()
        return tuple(found)

    def _reconcile(
        self,
        controller: Controller,
        subject: int,
        replica_sets: tuple[int, ...],
        mine: tuple[int, ...],
        rest: tuple[int, ...],
    ) -> tuple[tuple[Effect, ...], bool]:
        """The effects of one reconcile, and whether it looked at pods.

        Names decide only which of several pods goes: then every order is tried.
        """
        looked_at_pods = False
        found: dict[tuple[tuple[int, int], ...], Effect] = {}
        distinct = sorted(set(mine))
        for order in islice(permutations(distinct), TIE_ORDERS):
            rank = {pod: position for position, pod in enumerate(order)}
            ordered = sorted(mine, key=rank.__getitem__) if len(distinct) > 1 else mine
            effect, looked = self._call(controller, subject, replica_sets, (*ordered, *rest))
            looked_at_pods = looked_at_pods or looked
            if effect is not None:
                found.setdefault(effect.pairs, effect)
            if effect is None or not any(type(self.objects[old]) is Pod for old, _ in effect.pairs if old >= 0):
                break
        else:
            self.sampled_ties = self.sampled_ties or len(distinct) > 4
        return tuple(found.values()), looked_at_pods

    def _call(
        self, controller: Controller, subject: int, replica_sets: tuple[int, ...], pods: tuple[int, ...]
    ) -> tuple[Effect | None, bool]:
        item = self.objects[subject]
        named: dict[tuple[type, str], int] = {(type(item), item.metadata.name): subject}
        sights: dict[type[Object], tuple[Object, ...]] = {read.kind: () for read in controller.reads}
        for replica_set in sorted(replica_sets, key=self._name):
            named[ReplicaSet, self._name(replica_set)] = replica_set
            if ReplicaSet in sights:
                sights[ReplicaSet] += self._sight(controller, subject, replica_set)
        if Pod in sights:
            sights[Pod] = self._sight_of_pods(controller, subject, pods)
        watched = _Watched(sights)
        decision = controller.reconcile(Seen(item, watched, NOW))
        now: dict[tuple[type, str], Object | None] = {}
        created: list[Object] = []
        told: list[str] = []
        for write in decision.writes:
            if isinstance(write, RecordEvent):
                told.append(write.message)
                continue
            if isinstance(write, Create):
                if isinstance(write.object, (Pod, ReplicaSet)):
                    created.append(write.object)
                continue
            thing = target(write)
            slot = (type(thing), thing.metadata.name)
            if isinstance(thing, Pod) and slot not in named:
                named[slot] = pods[int(slot[1].removeprefix(POD))]
            if slot not in named:
                continue
            current = now[slot] if slot in now else self.objects[named[slot]]
            if current is None:
                continue
            if isinstance(write, Delete):
                now[slot] = None if self._stops_unseen else _deleted(current, write.grace_period_s)
            elif isinstance(write, (Update, UpdateStatus)):
                if _only_repeats(current, write):
                    continue
                after = _carry(current, write.before, write.after)
                if isinstance(write, Update) and getattr(after, "spec", None) != getattr(current, "spec", None):
                    after = _with_metadata(after, generation=after.metadata.generation + 1)
                now[slot] = after
        pairs = [(named[slot], self.intern(after) if after is not None else -1) for slot, after in now.items()]
        pairs = [(old, new) for old, new in pairs if old != new]
        born = -1
        for position, thing in enumerate(created):
            if position == 0 or thing != created[position - 1]:
                born = self._born(thing)
            pairs.append((-1, born))
        if not pairs:
            return None, watched.looked_at_pods
        label = (controller.name, subject)
        effect = Effect(label, tuple(sorted(pairs)), controller.actor, "; ".join(dict.fromkeys(told)))
        return effect, watched.looked_at_pods

    def _name(self, thing: int) -> str:
        return self.objects[thing].metadata.name

    def _sight_of_pods(self, controller: Controller, subject: int, pods: tuple[int, ...]) -> tuple[Object, ...]:
        key = (controller.name, self._standing(subject), pods)
        found = self._pod_sights.get(key)
        if found is None:
            sights = (self._sight(controller, subject, pod, position) for position, pod in enumerate(pods))
            found = self._pod_sights[key] = tuple(chain.from_iterable(sights))
        return found

    def _sight(self, controller: Controller, subject: int, thing: int, position: int = -1) -> tuple[Object, ...]:
        """What the controller sees of one object (nothing or its view). `position` names a pod.

        Reads take objects one by one, and what relates them to the subject is its standing, so an object is looked at
        once for all the sizes and states in which the subject is met.
        """
        key = (controller.name, self._standing(subject), thing, position)
        found = self._sights.get(key)
        if found is None:
            seen = self.objects[thing]
            if isinstance(seen, Pod):
                name = _pod_name(position)
                seen = _with_metadata(seen, name=name, uid=name)
            of_kind: dict[type[Object], list[Object]] = {type(seen): [seen]}
            observed = relations.observe(controller, self.objects[subject], of_kind, NOW)
            found = self._sights[key] = observed.objects.get(type(seen), ())
        return found

    def _standing(self, subject: int) -> int:
        """What of a subject decides which objects are related to it (`relations.related`): identity and selector."""
        found = self._standing_of.get(subject)
        if found is None:
            item = self.objects[subject]
            meta = item.metadata
            selector = item.spec.selector if isinstance(item, (Deployment, ReplicaSet)) else None
            selects = selector and canonical(selector)
            key = (type(item), meta.namespace, meta.name, meta.uid, meta.owner_references, selects)
            found = self._standing_of[subject] = self._standings.setdefault(key, len(self._standings))
        return found

    def _born(self, thing: Object) -> int:
        metadata = msgspec.structs.replace(thing.metadata, creation_timestamp=NOW, resource_version="")
        if isinstance(thing, Pod):
            metadata = msgspec.structs.replace(metadata, generate_name="")
            status = msgspec.structs.replace(thing.status, phase="Pending")
            return self.intern(msgspec.structs.replace(thing, metadata=metadata, status=status))
        metadata = msgspec.structs.replace(metadata, uid=metadata.name, generation=1)
        return self.intern(msgspec.structs.replace(thing, metadata=metadata))

    # -- pods

    def _step(self, pod: int) -> tuple[Effect, ...]:
        """What happens next to a bound pod: it becomes ready, has been ready for long enough, or is gone."""
        item = cast(Pod, self.objects[pod])
        if item.metadata.deletion_timestamp is not None:
            return (Effect(("node stops", pod), ((pod, -1),), "Node", f"the pod on {item.spec.node_name} has ended"),)
        ready = _ready(item)
        if ready is None:
            metadata = msgspec.structs.replace(item.metadata, name="pod", uid="pod")
            named = msgspec.structs.replace(item, metadata=metadata)
            running = msgspec.structs.replace(named, status=sync(named, healthy(named), NOW).status)
            if _ready(running) is None:
                running = msgspec.structs.replace(named, status=sync(running, healthy(named), NOW).status)
            new = self.intern(running)
            if new == pod:
                return ()
            return (Effect(("node starts", pod), ((pod, new),), "Node", f"the pod on {item.spec.node_name} is ready"),)
        if self.deployment.spec.min_ready_seconds and ready == NOW:
            conditions = tuple(
                msgspec.structs.replace(c, last_transition_time=LONG_AGO) if c.type == "Ready" else c
                for c in item.status.conditions
            )
            aged = msgspec.structs.replace(item, status=msgspec.structs.replace(item.status, conditions=conditions))
            wait = f"a pod has been ready for {self.deployment.spec.min_ready_seconds} s"
            return (Effect(("time", pod), ((pod, self.intern(aged)),), "Time", wait),)
        return ()

    def _scheduling_view(self, pod: int) -> int:
        found = self._scheduling.get(pod)
        if found is None:
            item = cast(Pod, self.objects[pod])
            status = type(item.status)(phase=item.status.phase if item.status.phase in ("Failed", "Succeeded") else "")
            metadata = msgspec.structs.replace(item.metadata, creation_timestamp=None)
            found = self._scheduling[pod] = self.intern(msgspec.structs.replace(item, status=status, metadata=metadata))
        return found

    def _place(self, pod: int, bound: tuple[int, ...]) -> tuple[Effect, ...]:
        item = cast(Pod, self.objects[pod])
        others = [
            msgspec.structs.replace(thing, metadata=msgspec.structs.replace(thing.metadata, name=f"p{i}", uid=f"p{i}"))
            for i, thing in enumerate(cast(Pod, self.objects[other]) for other in bound)
        ]
        waiting = msgspec.structs.replace(item, metadata=msgspec.structs.replace(item.metadata, name="new", uid="new"))
        placement = scheduler.schedule(waiting, self.nodes, [*others, *self.others])
        if not placement.best:
            condition = next((c for c in item.status.conditions if c.type == "PodScheduled"), None)
            if condition is not None and condition.message == placement.message:
                return ()
            kind = msgspec.structs.fields(type(item.status))
            conditions_type = next(f for f in kind if f.name == "conditions").type
            new_condition = conditions_type.__args__[0](
                type="PodScheduled", status="False", reason="Unschedulable", message=placement.message
            )
            status = msgspec.structs.replace(item.status, conditions=(new_condition,), phase="Pending")
            new = self.intern(msgspec.structs.replace(item, status=status))
            return (Effect(("scheduler", pod), ((pod, new),), "Scheduler", placement.message),)
        fresh = msgspec.structs.replace(item, status=msgspec.structs.replace(item.status, conditions=()))
        clean = self.intern(fresh)
        return tuple(
            Effect(("scheduler", pod), ((pod, self.at_node(clean, node)),), "Scheduler", f"places a pod on {node}")
            for node in placement.best
        )

    def complete(self, deployment: int, replica_sets: tuple[int, ...]) -> bool:
        """Upstream's `DeploymentComplete`, by the ReplicaSets' status: all replicas are new and available, none is old.

        The Deployment's own status only repeats this and no decision reads it, so it is no part of a state.
        """
        item = cast(Deployment, self.objects[deployment])
        sets = [cast(ReplicaSet, self.objects[replica_set]) for replica_set in replica_sets]
        wanted = machines.replicas(item)
        new = [replica_set for replica_set in sets if _same_template(item, replica_set)]
        return (
            sum(replica_set.status.replicas for replica_set in new)
            == sum(replica_set.status.replicas for replica_set in sets)
            == sum(replica_set.status.available_replicas for replica_set in sets)
            == wanted
        )

    # -- the user

    def _change(self, deployment: int, replica_sets: tuple[int, ...]) -> tuple[Effect, ...]:
        item = cast(Deployment, self.objects[deployment])
        if rolled(item) or not self.complete(deployment, replica_sets):
            return ()
        template = item.spec.template
        annotations = {**template.metadata.annotations, RESTARTED: "again"}
        changed = msgspec.structs.replace(
            template, metadata=msgspec.structs.replace(template.metadata, annotations=annotations)
        )
        after = msgspec.structs.replace(
            item,
            spec=msgspec.structs.replace(item.spec, template=changed),
            metadata=msgspec.structs.replace(item.metadata, generation=item.metadata.generation + 1),
        )
        return (Effect(("user", 0), ((deployment, self.intern(after)),), "User", "changes the pod template"),)


RESTARTED = "kubectl.kubernetes.io/restartedAt"


def rolled(deployment: Deployment) -> bool:
    """Whether the user's change has been made."""
    return deployment.spec.template.metadata.annotations.get(RESTARTED) == "again"


def _same_template(deployment: Deployment, replica_set: ReplicaSet) -> bool:
    """Whether the ReplicaSet is of the Deployment's present template; the hash label is the controller's own."""
    template = replica_set.spec.template
    labels = {key: value for key, value in template.metadata.labels.items() if key != relations.POD_TEMPLATE_HASH}
    metadata = msgspec.structs.replace(template.metadata, labels=labels)
    return canonical(msgspec.structs.replace(template, metadata=metadata)) == canonical(deployment.spec.template)


def available(pod: Pod, min_ready_seconds: int) -> bool:
    """A pod that counts: not being deleted, ready, and ready for long enough."""
    ready = _ready(pod)
    return (
        pod.metadata.deletion_timestamp is None
        and ready is not None
        and ready + timedelta(seconds=min_ready_seconds) <= NOW
    )


def healthy(pod: Pod) -> PodFacts:
    """The facts of a pod in which everything works: init containers done, containers up, probes passed."""
    containers = [
        ContainerFact(
            name=container.name,
            attempt=0,
            phase=ContainerPhase.RUNNING if container.restart_policy == "Always" else ContainerPhase.EXITED,
            started_at=LONG_AGO,
            finished_at=None if container.restart_policy == "Always" else LONG_AGO,
            reason="" if container.restart_policy == "Always" else "Completed",
        )
        for container in pod.spec.init_containers
    ] + [
        ContainerFact(name=container.name, attempt=0, phase=ContainerPhase.RUNNING, started_at=LONG_AGO)
        for container in pod.spec.containers
    ]
    probes = tuple(
        ProbeFact(container=container.name, attempt=0, kind=kind, successes=1_000, last_at=NOW)
        for container in (*pod.spec.init_containers, *pod.spec.containers)
        for kind, probe in (
            (ProbeKind.STARTUP, container.startup_probe),
            (ProbeKind.LIVENESS, container.liveness_probe),
            (ProbeKind.READINESS, container.readiness_probe),
        )
        if probe is not None
    )
    return PodFacts(
        sandbox=SandboxFact(ip="10.0.0.1", host_ip="10.0.0.2", created_at=LONG_AGO),
        containers=tuple(containers),
        probes=probes,
    )


def _ready(pod: Pod) -> datetime | None:
    for condition in pod.status.conditions:
        if condition.type == "Ready" and condition.status == "True":
            return condition.last_transition_time or NOW
    return None


def _with_metadata(item: T, **changes: Any) -> T:
    return msgspec.structs.replace(  # type: ignore[type-var]
        item,
        metadata=msgspec.structs.replace(item.metadata, **changes),  # type: ignore[attr-defined]
    )


@cache
def _pod_name(position: int) -> str:
    return f"{POD}{position:06}"


def _only_repeats(current: Object, write: Update | UpdateStatus) -> bool:
    """Whether the write changes nothing that a state holds: a Deployment's counts and conditions (see `_normal`)."""
    after = write.after
    return (
        isinstance(current, Deployment)
        and isinstance(after, Deployment)
        and current is write.before
        and after.spec is current.spec
        and after.metadata is current.metadata
        and after.status.collision_count == current.status.collision_count
    )


def _nameless(pod: Pod) -> Pod:
    spec = msgspec.structs.replace(pod.spec, node_name="")
    return msgspec.structs.replace(_with_metadata(pod, name="", uid="", resource_version=""), spec=spec)


def _anonymous(node: Node) -> Node:
    """The node without what tells it from its like: name, uid, the hostname label, addresses."""
    labels = {key: value for key, value in node.metadata.labels.items() if key != HOSTNAME}
    metadata = msgspec.structs.replace(
        node.metadata, name="", uid="", labels=labels, annotations={}, resource_version="", creation_timestamp=None
    )
    status = msgspec.structs.replace(node.status, addresses=(), node_info=None, conditions=())
    spec = msgspec.structs.replace(node.spec, pod_cidr="", pod_cidrs=(), provider_id="", external_id="")
    return msgspec.structs.replace(node, metadata=metadata, status=status, spec=spec)


def _normal(item: Object) -> Object:
    """The object without what no decision depends on: pods' names, how often a spec was changed."""
    if isinstance(item, Pod):
        return _with_metadata(item, name="", uid="", resource_version="", generation=0)
    if isinstance(item, Deployment):
        kept = type(item.status)(collision_count=item.status.collision_count)
        return _with_metadata(msgspec.structs.replace(item, status=kept), resource_version="", generation=1)
    generation = item.metadata.generation
    if generation and isinstance(item, ReplicaSet):
        status = item.status
        current = status.observed_generation >= generation
        started = bool(status.observed_generation)
        status = msgspec.structs.replace(status, observed_generation=2 if current else int(started))
        status = msgspec.structs.replace(status, terminating_replicas=None)
        item = msgspec.structs.replace(item, status=status)
        return _with_metadata(item, resource_version="", generation=2)
    return _with_metadata(item, resource_version="")


def _deleted(item: Object, grace_period_s: int | None) -> Object | None:
    """A pod on a node is first asked to stop; everything else is gone at once."""
    if isinstance(item, Pod) and item.spec.node_name and grace_period_s != 0:
        return _with_metadata(item, deletion_timestamp=NOW)
    return None


def _carry(current: T, before: Any, after: Any) -> T:
    """`current` with the difference between `before` and `after`, field by field as a patch would."""
    if current is before:
        return cast(T, after)
    if before == after:
        return current
    if isinstance(current, msgspec.Struct) and isinstance(before, type(current)) and isinstance(after, type(current)):
        changes = {
            name: _carry(getattr(current, name), getattr(before, name), getattr(after, name))
            for name in type(current).__struct_fields__
            if getattr(before, name) != getattr(after, name)
        }
        return msgspec.structs.replace(current, **changes)
    return cast(T, after)
