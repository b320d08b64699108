"""The model of a start: workloads that need each other, from nothing, until all pods are ready or none can go further.

The controllers that run create the pods, and a node takes each as far as what it waits for allows: an init container
that waits for a Service ends when the name resolves or the port answers, a readiness probe that checks one succeeds
then. What resolves and answers follows from the pods as they are, by the EndpointSlice controller, `reach` and `names`.

A start only adds: no move takes away what another move, or a wait, needs. So every order that goes on as long as
anything can move ends with the same pods ready, and one order stands for all (`first_run`); tests/check/test_starts.py
compares that with all orders on random systems. What could take away (no room, kills by probes, crashes) is asked
elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

import msgspec

from seatrial.check import machines
from seatrial.check.model.control import Control, Memory
from seatrial.check.model.model import Model, Mover
from seatrial.check.model.pool import LONG_AGO, NOW, Pool, with_metadata
from seatrial.check.model.space import ABSENT, Effect, Memo, Slot, Space, State
from seatrial.check.reading.dependencies import Edge, Means, Need, backers
from seatrial.check.reading.templates import Template
from seatrial.control import admission, endpointslice, names, reach, relations, scheduler
from seatrial.control.controller import NEWEST_MINOR
from seatrial.control.lifecycle import sync
from seatrial.control.lifecycle.facts import (
    ContainerFact,
    ContainerPhase,
    PodFacts,
    ProbeFact,
    ProbeKind,
    SandboxFact,
)
from seatrial.control.manager import CONTROLLERS
from seatrial.control.ownership import is_ready
from seatrial.control.writes import Create
from seatrial.kube.objects import (
    Container,
    ControllerRevision,
    CronJob,
    DaemonSet,
    Deployment,
    EndpointSlice,
    Job,
    Key,
    Node,
    Object,
    PersistentVolumeClaim,
    Pod,
    ReplicaSet,
    ReplicationController,
    Service,
    StatefulSet,
    parse_as,
    to_wire,
)

T = TypeVar("T", bound=Object)

ALIKE: Final = 12
"""Of more replicas that start alike, so many are looked at (and as many ordinals as somebody calls by name)."""
_NAMES: Final = frozenset(
    (
        "deployment-controller",
        "replicaset-controller",
        "statefulset-controller",
        "daemonset-controller",
        "replication-controller",
        "job-controller",
    )
)
_HOLDS: Final = (
    Deployment, ReplicaSet, StatefulSet, DaemonSet, ReplicationController, Job, ControllerRevision,
    PersistentVolumeClaim, Memory,
)  # fmt: skip
_MARK: Final = "template"
"""The annotation by which a pod is known to be of a template, and the next by which it is called."""
_OWNER: Final = "owner"
_CLUSTER_IP: Final = "10.96.0.1"


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Workloads that are started together, what links them, and the Services of the system."""

    templates: tuple[Template, ...]
    edges: tuple[Edge, ...]
    services: tuple[Service, ...]
    nodes: tuple[Node, ...]
    minor: int = NEWEST_MINOR
    served: Mapping[Key, Service] = field(init=False, repr=False)
    """The Services as the API serves them."""
    of_template: tuple[tuple[Edge, ...], ...] = field(init=False, repr=False)
    """The edges of each template."""
    behind_edge: Mapping[int, tuple[int, ...]] = field(init=False, repr=False)
    """By the identity of an edge: the numbers of the templates whose pods stand behind its target."""

    def __post_init__(self) -> None:
        number = {id(each): position for position, each in enumerate(self.templates)}
        of_entry: dict[int, list[Edge]] = {id(each.entry): [] for each in self.templates}
        found = {}
        for edge in self.edges:
            of_entry.get(id(edge.source.entry), []).append(edge)
            whoever = replace(edge.target, host="")
            found[id(edge)] = tuple(number[id(each)] for each in backers(whoever, self.templates))
        object.__setattr__(self, "served", {each.key: with_address(each) for each in self.services})
        object.__setattr__(self, "of_template", tuple(tuple(of_entry[id(each.entry)]) for each in self.templates))
        object.__setattr__(self, "behind_edge", found)


@dataclass(frozen=True, slots=True)
class Stage:
    """How far a pod has come, and what it waits for there."""

    inits: int
    """So many init containers are done."""
    running: bool = False
    ready: bool = False
    lacks: tuple[Edge, ...] = ()

    def __str__(self) -> str:
        if self.lacks:
            first = self.lacks[0]
            what = f"the {first.probe} probe of {first.container}" if first.probe else first.container
            return f"comes as far as {what}, which {first.means.value} {first.evidence}"
        return "is ready" if self.ready else "has started"


class Reach:
    """What resolves and answers when these pods are there. `known` remembers it by the pods that decide it."""

    def __init__(
        self, group: Group, pods: Sequence[Pod], numbers: Sequence[int] = (), known: dict[Hashable, bool] | None = None
    ) -> None:
        self._group = group
        self._pods = pods
        self._numbers = numbers
        self._known = known
        self._of: dict[int, list[int]] = {}
        """The positions of each template's pods."""
        for position, pod in enumerate(pods):
            self._of.setdefault(int(pod.metadata.annotations[_MARK]), []).append(position)

    def meets(self, edge: Edge) -> bool:
        positions = [n for template in self._group.behind_edge[id(edge)] for n in self._of.get(template, ())]
        if self._known is None:
            return self._asked(edge, positions)
        key = (id(edge), *(self._numbers[n] for n in positions))
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._asked(edge, positions)
        return found

    def _asked(self, edge: Edge, positions: Sequence[int]) -> bool:
        target = edge.target
        if edge.need is Need.DONE:
            return self._done(edge)
        if target.entry is None:
            return False
        service = self._group.served[target.entry.key]
        if service.spec.type == "ExternalName" or not service.spec.selector:
            return True  # somebody else stands behind it
        at = {}
        for n in positions:
            ip = f"10.{n + 1 >> 16}.{n + 1 >> 8 & 255}.{n + 1 & 255}"
            at[ip] = _at(self._pods[n], ip)
        there = _Served(service, _slices(service, tuple(at.values()), self._group.nodes))
        host = f"{target.host}." if target.host else ""
        found = names.find(f"{host}{target.name}.{target.namespace}.svc.{names.DOMAIN}", there)
        if edge.need is Need.NAME or not found:
            return bool(found)
        if service.spec.cluster_ip == "None":
            addresses = {record for record in found if isinstance(record, str)}
        else:
            rules = reach.service_rules((service,), there.slices)
            addresses = {backend.ip for rule in rules if target.port in (None, rule.port) for backend in rule.backends}
        return any(_listens(at[address]) for address in addresses if address in at)

    def _done(self, edge: Edge) -> bool:
        numbers = self._group.behind_edge[id(edge)]
        for number in numbers:
            own = [self._pods[position] for position in self._of.get(number, ())]
            up = sum(is_ready(pod) or pod.status.phase == "Succeeded" for pod in own)
            if up < max(len(own), wanted(self._group, number)):
                return False
        return bool(numbers)


@dataclass(frozen=True, slots=True)
class _Served:
    """One Service and its slices, as `names` asks for them."""

    service: Service
    slices: tuple[EndpointSlice, ...]

    def get(self, kind: type[T], namespace: str, name: str) -> T | None:
        found = (each for each in self.all(kind) if (each.metadata.namespace, each.metadata.name) == (namespace, name))
        return next(found, None)

    def all(self, kind: type[T]) -> Iterable[T]:
        return (each for each in (self.service, *self.slices) if isinstance(each, kind))


def _slices(service: Service, pods: tuple[Pod, ...], nodes: tuple[Node, ...]) -> tuple[EndpointSlice, ...]:
    """What the EndpointSlice controller makes for a Service with these pods."""
    objects: dict[type[Object], tuple[Object, ...]] = {Pod: pods, Node: nodes, EndpointSlice: ()}
    seen = relations.observe(endpointslice.CONTROLLER, service, objects, NOW)
    made = (write.object for write in endpointslice.CONTROLLER.reconcile(seen).writes if isinstance(write, Create))
    return tuple(piece for piece in made if isinstance(piece, EndpointSlice))


class Starting:
    """The nodes: each pod that is bound comes as far as what it waits for allows."""

    name = "node"

    def __init__(self, pool: Pool, space: Space, group: Group) -> None:
        self._pool = pool
        self._group = group
        self.shown: tuple[int, ...] = (space.pods,)
        self._found: dict[Slot, tuple[Effect, ...]] = {}
        self._statuses: dict[tuple[int, int, bool, bool], int] = {}
        self._met: dict[Hashable, bool] = {}

    def effects(self, state: State) -> Sequence[Effect]:
        slot = state[self.shown[0]]
        found = self._found.get(slot)
        if found is None:
            found = self._found[slot] = tuple(self._all(slot))
        return found

    def _all(self, slot: Slot) -> Iterable[Effect]:
        reached = Reach(self._group, [self._pool[number] for number in slot], slot, self._met)
        for number in dict.fromkeys(slot):
            pod: Pod = self._pool[number]
            if not pod.spec.node_name or pod.status.phase == "Succeeded":
                continue
            stage = stage_of(pod, self._group, reached)
            new = self._after(number, stage)
            if new != number:
                yield Effect((self.name, number), ((number, new),), "Node", f"a pod of {called(pod)} {stage}")

    def _after(self, number: int, stage: Stage) -> int:
        key = (number, stage.inits, stage.running, stage.ready)
        found = self._statuses.get(key)
        if found is None:
            pod: Pod = self._pool[number]
            named = with_metadata(pod, name="pod", uid="pod")
            facts = _facts(named, stage)
            for _ in range(2):  # what the first look reports, the second looks at
                status = sync(named, facts, NOW).status
                named = msgspec.structs.replace(named, status=status)
            found = self._statuses[key] = self._pool.intern(msgspec.structs.replace(pod, status=named.status))
        return found


class Binding:
    """The scheduler, where there is room for everybody: a pod goes where it may go."""

    name = "scheduler"

    def __init__(self, pool: Pool, space: Space, group: Group) -> None:
        self._pool = pool
        self._nodes = group.nodes
        self._minor = group.minor
        self.shown: tuple[int, ...] = (space.pods,)
        self._effects = Memo(self._bind)

    def effects(self, state: State) -> list[Effect]:
        return [each for number in dict.fromkeys(state[self.shown[0]]) for each in self._effects[number]]

    def _bind(self, number: int) -> tuple[Effect, ...]:
        pod: Pod = self._pool[number]
        if pod.spec.node_name:
            return ()
        named = with_metadata(pod, name=pod.metadata.name or "pod", uid=pod.metadata.uid or "pod")
        placement = scheduler.schedule(named, self._nodes, (), minor=self._minor)
        node = placement.best[0] if placement.best else self._nodes[0].metadata.name
        spec = msgspec.structs.replace(pod.spec, node_name=node)
        new = self._pool.intern(msgspec.structs.replace(pod, spec=spec))
        return (Effect((self.name, number), ((number, new),), "Scheduler", f"places a pod of {called(pod)}"),)


def stage_of(pod: Pod, group: Group, reached: Reach) -> Stage:
    """How far the pod can come while that resolves and answers which does now."""
    edges = group.of_template[int(pod.metadata.annotations[_MARK])]

    def lacking(container: Container, means: Means, *probes: str) -> tuple[Edge, ...]:
        of_it = (e for e in edges if e.container == container.name and e.means is means and e.probe in probes)
        return tuple(edge for edge in of_it if not reached.meets(edge))

    for number, container in enumerate(pod.spec.init_containers):
        lacks = lacking(container, Means.WAITS, "")
        if container.restart_policy == "Always" and not lacks:
            lacks = lacking(container, Means.CHECKS, "startup")
        if lacks:
            return Stage(number, lacks=lacks)
    inits = len(pod.spec.init_containers)
    waiting = [edge for container in pod.spec.containers for edge in lacking(container, Means.WAITS, "")]
    checked = [
        edge
        for container in (*pod.spec.init_containers, *pod.spec.containers)
        for edge in lacking(container, Means.CHECKS, "startup", "readiness")
    ]
    probed = any(c.readiness_probe or c.startup_probe for c in pod.spec.containers)
    ready = not checked and not (waiting and (probed or _runs_to_completion(pod)))
    return Stage(inits, running=not waiting, ready=ready, lacks=(*waiting, *checked))


def _facts(pod: Pod, stage: Stage) -> PodFacts:
    """What a node would know of a pod that has come so far."""
    containers: list[ContainerFact] = []
    probes: list[ProbeFact] = []
    begun = [*pod.spec.init_containers[: stage.inits + 1]]
    if stage.inits == len(pod.spec.init_containers):
        begun += pod.spec.containers
    ends = stage.ready and _runs_to_completion(pod)
    for position, container in enumerate(begun):
        is_init = position < len(pod.spec.init_containers)
        done = position < stage.inits if is_init and container.restart_policy != "Always" else ends and not is_init
        containers.append(
            ContainerFact(
                name=container.name,
                attempt=0,
                phase=ContainerPhase.EXITED if done else ContainerPhase.RUNNING,
                started_at=LONG_AGO,
                finished_at=NOW if done else None,
                reason="Completed" if done else "",
            )
        )
        past = stage.ready if not is_init else position < stage.inits
        for kind, probe in (
            (ProbeKind.STARTUP, container.startup_probe),
            (ProbeKind.READINESS, container.readiness_probe),
        ):
            if probe is not None:
                probes.append(ProbeFact(container.name, 0, kind, successes=1_000 if past else 0, last_at=NOW))
    sandbox = SandboxFact(ip="10.0.0.1", host_ip="10.0.0.2", created_at=LONG_AGO)
    return PodFacts(sandbox=sandbox, containers=tuple(containers), probes=tuple(probes))


def _runs_to_completion(pod: Pod) -> bool:
    owner = pod.metadata.controller
    return owner is not None and owner.kind == Job.kind


def _listens(pod: Pod) -> bool:
    """Its containers run: what is not ready answers too, where it is sent to."""
    return any(status.state is not None and status.state.running for status in pod.status.container_statuses)


def _at(pod: Pod, ip: str) -> Pod:
    return msgspec.structs.replace(
        with_metadata(pod, name=pod.metadata.name or ip, uid=pod.metadata.uid or ip),
        status=msgspec.structs.replace(pod.status, pod_ip=ip if pod.status.pod_ip else "", pod_ips=()),
    )


def with_address(service: Service) -> Service:
    """The Service as it is served: one that is not headless has an address."""
    if service.spec.cluster_ip or service.spec.type == "ExternalName":
        return service
    return msgspec.structs.replace(service, spec=msgspec.structs.replace(service.spec, cluster_ip=_CLUSTER_IP))


def template_of(pod: Pod, group: Group) -> Template:
    return group.templates[int(pod.metadata.annotations[_MARK])]


def called(pod: Pod) -> str:
    return pod.metadata.annotations[_OWNER]


def workload(group: Group, number: int) -> Object:
    """The object that is applied for a template: a CronJob's is a Job of it; pods bear whose they are."""
    template = group.templates[number]
    typed = template.entry.typed
    marks = {_MARK: str(number), _OWNER: f"{template.key.kind} {template.key.name}"}
    if isinstance(typed, Pod):
        annotations = {**typed.metadata.annotations, **marks}
        return with_metadata(typed, uid=f"uid-{number}", annotations=annotations, creation_timestamp=LONG_AGO)
    meta = typed.metadata if typed is not None else template.entry.typed.metadata  # type: ignore[union-attr]
    if isinstance(typed, CronJob):
        spec = typed.spec.job_template.spec
        assert spec is not None
        raw = to_wire(
            Job(metadata=type(meta)(name=meta.name, namespace=meta.namespace, uid=f"uid-{number}"), spec=spec)
        )
        typed = parse_as(Job, admission.admit(raw))
    assert isinstance(typed, machines.WORKLOADS)
    if isinstance(typed, Job):
        wire = to_wire(with_metadata(typed, uid=f"uid-{number}"))
        admission.select_own_pods(wire)
        typed = parse_as(Job, wire)
    of_pods = machines.template_of(typed)
    metadata = msgspec.structs.replace(of_pods.metadata, annotations={**of_pods.metadata.annotations, **marks})
    changes: dict[str, Any] = {"template": msgspec.structs.replace(of_pods, metadata=metadata)}
    most = max(ALIKE, called_by_name(group, template) + 1)
    if isinstance(typed, Job):
        changes["parallelism"] = min(machines.replicas(typed), most)
        changes["completions"] = None if typed.spec.completions is None else min(typed.spec.completions, most)
    elif not isinstance(typed, DaemonSet):
        changes["replicas"] = min(machines.replicas(typed), most)
    spec_after = msgspec.structs.replace(typed.spec, **changes)
    marked = msgspec.structs.replace(typed, spec=spec_after)
    return with_metadata(marked, uid=f"uid-{number}", generation=1, creation_timestamp=LONG_AGO)


def wanted(group: Group, number: int) -> int:
    """How many pods of a template there are to be."""
    made = workload(group, number)
    if isinstance(made, Pod):
        return 1
    assert isinstance(made, machines.WORKLOADS)
    if isinstance(made, DaemonSet):
        return len(machines.daemons_of(made, group.nodes))
    if isinstance(made, Job) and made.spec.completions is not None and not made.spec.suspend:
        return made.spec.completions
    return machines.replicas(made)


def capped(group: Group, number: int) -> bool:
    """Whether the template's object asks for more pods than are looked at."""
    typed = group.templates[number].entry.typed
    if not isinstance(typed, machines.WORKLOADS) or isinstance(typed, DaemonSet):
        return False
    return machines.replicas(typed) > wanted(group, number)


def called_by_name(group: Group, template: Template) -> int:
    """The highest ordinal of the template's pods that somebody calls by name; -1 if nobody does."""
    ordinal = re.compile(rf"{re.escape(template.key.name)}-(\d{{1,4}})")
    found = [ordinal.fullmatch(edge.target.host) for edge in group.edges if edge.target.host]
    return max((int(each[1]) for each in found if each is not None), default=-1)


def model(group: Group, *, all_orders: bool = False) -> Model:
    """The model; unless `all_orders`, each who can act makes one move at a time, the first."""
    pool = Pool()
    space = Space((*_HOLDS, Pod, Node))
    objects = [workload(group, number) for number in range(len(group.templates))]
    movers: list[Mover] = [
        Control(each, pool, space, group.minor)
        for each in CONTROLLERS
        if each.name in _NAMES and each.subject in space.slots
    ]
    movers += [Binding(pool, space, group), Starting(pool, space, group)]
    acting = [each.name for each in movers]
    yields = {} if all_orders else {"scheduler": acting[:-2], "node": acting[:-1]}
    return Model(pool, space, (*objects, *group.nodes), (), movers, yields=yields)


@dataclass(frozen=True, slots=True)
class Run:
    """A run until nothing can move: its effects with the states after them. `ended` is False if it came to no end."""

    effects: tuple[tuple[Effect, State], ...]
    last: State
    ended: bool


def first_run(of: Model, most: int, over: Callable[[State], bool] = lambda _: False) -> Run:
    """The run in which who can move first makes all the moves that it can, one after the other.

    At most `most` moves, or until it is `over` in a state.
    """
    state = of.initial
    seen = {state}
    made: list[tuple[Effect, State]] = []
    while len(made) < most and not over(state):
        possible = of.effects(state)
        if not possible:
            return Run(tuple(made), state, ended=True)
        actor = possible[0][0].label[0]
        for effect, _ in possible:
            after = _applied(of, effect, state) if effect.label[0] == actor else None
            if after is not None:
                state = after
                made.append((effect, state))
        if state in seen:
            break
        seen.add(state)
    return Run(tuple(made), state, ended=False)


def _applied(of: Model, effect: Effect, state: State) -> State | None:
    """The state after a move that was possible a few moves before; None if what it changes has changed since."""
    changes = of.space.by_slot(of.pool.types, effect)
    if any(old != ABSENT and old not in state[slot] for slot, pairs in changes for old, _ in pairs):
        return None
    after = list(state)
    for slot, pairs in changes:
        after[slot] = of.space.change(state[slot], pairs)
    return tuple(after)


def pods(of: Model, state: State) -> tuple[Pod, ...]:
    return tuple(of.pool[number] for number in state[of.space.pods])
