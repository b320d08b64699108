"""Nodes without machines: a `PodRuntime` whose containers exist in (virtual) time only.

Volumes are waited for as the kubelet does (`control.volumes.mounting`), and then take the time that their driver's
stand-in says; nothing is kept in them.

Behaviour is a value per container: how long a start takes, when it is ready, whether and how it exits, what it uses. By
default a container starts after a second, is ready at once and runs until it is told to stop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from seatrial.control.addons import csi
from seatrial.control.lifecycle import Role, all_containers, probes
from seatrial.control.lifecycle.configuration import SIGNALS
from seatrial.control.lifecycle.eviction import ContainerUsage, DiskUsage, PodUsage, is_local
from seatrial.control.lifecycle.facts import (
    Action,
    ContainerFact,
    ContainerPhase,
    CreateSandbox,
    PodFacts,
    ProbeFact,
    ProbeKind,
    ProbeOutcome,
    Problem,
    RemoveContainers,
    RemoveFromApi,
    RemoveSandbox,
    ResizeContainer,
    RunPreStop,
    RunProbe,
    SandboxFact,
    StartContainer,
    Stop,
    StopContainer,
    StopReason,
    StopSandbox,
)
from seatrial.control.lifecycle.origins import uid_on_node
from seatrial.control.lifecycle.pressure import Observation
from seatrial.control.volumes import mounting
from seatrial.kube.objects import Container, CSIDriver, Job, Node, PersistentVolume, Pod
from seatrial.kube.quantities import Quantity
from seatrial.kube.times import after
from seatrial.node.api import Change, ClusterObjects
from seatrial.node.runtime import Clock

SANDBOX_S, RESIZE_S = 0.5, 0.1
KILLED = 137
SETTLED = timedelta(days=365)

VOLUME = "volume/"
CAPACITIES = {
    "memory.available": 8 << 30,
    "nodefs.available": 100 << 30,
    "nodefs.inodesFree": 6_553_600,
    "imagefs.available": 100 << 30,
    "imagefs.inodesFree": 6_553_600,
    "pid.available": 32_768,
}
"""What a node has of each signal's resource, where its capacity does not say."""

Series = tuple[tuple[float, float], ...]
"""Steps of an amount over a container's life: from so many seconds after its start on, this value."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How one container behaves. Times are seconds, counted from its start unless said otherwise; None is never."""

    start_s: float = 1.0
    """From the order to start it until its process runs; pulling its image belongs here."""
    ready_after_s: float = 0.0
    """Startup and readiness probes fail before this."""
    live_after_s: float = 0.0
    """So does its liveness probe before this."""
    ready_for_s: float | None = None
    """It flaps: once ready it is so for this long, then its readiness probe fails for `unready_for_s`, and so on."""
    unready_for_s: float = 0.0
    hangs_after_s: float | None = None
    """Its liveness and readiness probes fail from then on."""
    exits_after_s: float | None = None
    exit_code: int = 0
    out_of_memory_after_s: float | None = None
    """It is ended as OOMKilled. So is a container whose `metrics` say more memory than its limit."""
    failing_attempts: int | None = None
    """Only so many first attempts exit, hang or run out of memory as above; later ones run on. None: every attempt."""
    stop_s: float = 1.0
    """From the stop signal until it has ended."""
    stop_code: int = 143
    hangs_on_stop: bool = False
    """It does not hear the stop signal: only the end of the grace period ends it."""
    pull_failures: int = 0
    """So many first pulls of its image fail; negative: all."""
    problem: Problem | None = None
    """Why it can never be started."""
    metrics: Mapping[str, Series] = field(default_factory=dict)
    """What it uses and shows: "cpu" in cores, "memory", "ephemeral-storage" (its own layer) and "logs" in bytes,
    "volume/NAME" in bytes of a volume of its pod, "pids"; and metrics of its own by their names.
    """

    def amount(self, metric: str, age_s: float) -> float | None:
        """The metric's value so many seconds after the container's start; None: it shows none yet."""
        passed = [value for from_s, value in self.metrics.get(metric, ()) if from_s <= age_s]
        return passed[-1] if passed else None

    def fails(self, attempt: int) -> bool:
        return self.failing_attempts is None or attempt < self.failing_attempts

    def passes(self, kind: ProbeKind, age_s: float, attempt: int) -> bool:
        """The probe succeeds so many seconds after the container's start."""
        if self.hangs_after_s is not None and age_s >= self.hangs_after_s and self.fails(attempt):
            return False
        if kind is ProbeKind.LIVENESS:
            return age_s >= self.live_after_s
        if age_s < self.ready_after_s:
            return False
        if kind is ProbeKind.STARTUP or self.ready_for_s is None:
            return True
        return (age_s - self.ready_after_s) % (self.ready_for_s + self.unready_for_s) < self.ready_for_s

    def settles(self, kind: ProbeKind) -> bool:
        """A probe that succeeds now does so for ever."""
        flaps = kind is ProbeKind.READINESS and self.ready_for_s is not None
        return self.hangs_after_s is None and not flaps


Behaves = Callable[[Pod, Container], Behaviour]


def usual(pod: Pod, container: Container) -> Behaviour:
    """Init containers finish after a second, those of a Job after ten; all others run until stopped."""
    if container.restart_policy == "Always":
        return Behaviour()
    if container in pod.spec.init_containers:
        return Behaviour(exits_after_s=1.0)
    owner = pod.metadata.controller
    return Behaviour(exits_after_s=10.0 if owner is not None and owner.kind == Job.kind else None)


@dataclass(slots=True)
class _Pod:
    pod: Pod | None = None
    facts: PodFacts = field(default_factory=PodFacts)
    waits_since: datetime | None = None
    """For its volumes."""
    mounted: frozenset[str] = frozenset()
    """PersistentVolumes."""
    stopped_for: dict[tuple[str, int], StopReason] = field(default_factory=dict)


class SimulatedRuntime:
    """`subnet` is the first three numbers of the node's pod addresses, e.g. "10.244.1". `objects` are the cluster's as
    the node called `name` sees them.
    """

    on_change: Callable[[str], None]
    on_signals: Callable[[], None]
    image_disk = False

    def __init__(
        self,
        clock: Clock,
        objects: ClusterObjects,
        *,
        name: str,
        subnet: str,
        host_ip: str,
        behaves: Behaves = usual,
        capacity: Mapping[str, str] | None = None,
    ) -> None:
        self._objects = objects
        self._name = name
        objects.subscribe(self._on_cluster_change)
        self.on_change = lambda _: None
        self.on_signals = lambda: None
        self._capacity = capacity or {}
        self._pressure: dict[str, Observation] = {}
        self._switched_off = 0
        self.behaves = behaves
        self._clock = clock
        self._subnet = subnet
        self._host_ip = host_ip
        self._pods: dict[str, _Pod] = {}
        self._last_address = 1

    def facts(self, pod: Pod) -> PodFacts:
        known = self._pods.get(uid_on_node(pod))
        return known.facts if known is not None else PodFacts()

    def uids(self) -> Sequence[str]:
        return tuple(self._pods)

    def forget(self, uid: str) -> None:
        self._pods.pop(uid, None)

    def set_pressure(self, amounts: Mapping[str, str]) -> None:
        """So much is available of these signals, a quantity or a share, whatever the containers use."""
        unknown = sorted(amounts.keys() - SIGNALS)
        if unknown:
            raise ValueError(f"no signal {unknown[0]}; there is {', '.join(SIGNALS)}")
        self._pressure = {signal: self._available(signal, text) for signal, text in amounts.items()}
        self.on_signals()

    def _available(self, signal: str, text: str) -> Observation:
        capacity = self._capacity_of(signal)
        if text.endswith("%"):
            return Observation(int(capacity * float(text.removesuffix("%")) / 100), capacity)
        return Observation(Quantity.parse(text).value, capacity)

    def _capacity_of(self, signal: str) -> int:
        name = {"memory.available": "memory", "nodefs.available": "ephemeral-storage"}.get(signal, signal)
        given = self._capacity.get("ephemeral-storage" if name == "imagefs.available" else name)
        return Quantity.parse(given).value if given is not None else CAPACITIES[signal]

    def signals(self) -> Mapping[str, Observation]:
        """What was set, and otherwise memory as far as containers have a programmed use of it."""
        usages = (self.usage(known.pod) for known in self._pods.values() if known.pod is not None)
        used = sum(each.memory_bytes for each in usages if each is not None)
        found = {}
        if used:
            capacity = self._capacity_of("memory.available")
            found["memory.available"] = Observation(capacity - used, capacity)
        return {**found, **self._pressure}

    def usage(self, pod: Pod) -> PodUsage | None:
        """What the containers of `pod` use now, as far as it is programmed."""
        now = self._clock.now()
        containers, volumes, processes = {}, {}, 0
        for fact in self.facts(pod).containers:
            if fact.phase is not ContainerPhase.RUNNING or fact.started_at is None:
                continue
            behaviour, age_s = self._behaviour(pod, fact.name), (now - fact.started_at).total_seconds()
            amounts = {name: int(behaviour.amount(name, age_s) or 0) for name in behaviour.metrics}
            layer, logs = DiskUsage(amounts.get("ephemeral-storage", 0)), DiskUsage(amounts.get("logs", 0))
            containers[fact.name] = ContainerUsage(amounts.get("memory", 0), layer, logs)
            processes += amounts.get("pids", 1)
            for name, amount in amounts.items():
                if name.startswith(VOLUME):
                    volumes[name.removeprefix(VOLUME)] = DiskUsage(amount)
        if not containers:
            return None
        disks = [disk for each in containers.values() for disk in (each.layer, each.logs) if disk is not None]
        disks += [volumes[volume.name] for volume in pod.spec.volumes if volume.name in volumes and is_local(volume)]
        return PodUsage(
            memory_bytes=sum(each.memory_bytes or 0 for each in containers.values()),
            processes=processes,
            containers=containers,
            volumes=volumes,
            ephemeral_bytes=sum(disk.bytes for disk in disks),
        )

    def power_off(self) -> None:
        """Every container is lost with its sandbox, as after a power cut."""
        now = self._clock.now()
        self._switched_off += 1
        for known in self._pods.values():
            lost = tuple(
                replace(fact, phase=ContainerPhase.EXITED, exit_code=255, reason="Unknown", finished_at=now)
                if fact.phase is ContainerPhase.RUNNING
                else fact
                for fact in known.facts.containers
            )
            known.facts = replace(known.facts, sandbox=None, containers=lost, stops={}, probes=())
            known.mounted, known.waits_since = frozenset(), None

    def perform(self, pod: Pod, action: Action) -> None:
        self._pods.setdefault(uid_on_node(pod), _Pod()).pod = pod
        match action:
            case CreateSandbox():
                self._mount(pod)
            case StartContainer(name=name):
                self._after(pod, self._behaviour(pod, name).start_s, lambda p: self._start(p, action))
            case ResizeContainer(name=name, attempt=attempt):
                self._after(pod, RESIZE_S, lambda p: self._resize(p, name, attempt))
            case RunPreStop(name=name):
                facts = self.facts(pod)
                self._change(pod, replace(facts, stops={name: Stop(self._clock.now()), **facts.stops}))
            case StopContainer():
                self._stop(pod, action)
            case RunProbe():
                self._probe(pod, action)
            case RemoveContainers():
                facts = replace(self.facts(pod), containers=(), probes=(), problems={}, stops={})
                self._after(pod, SANDBOX_S, lambda p: self._change(p, facts))
            case StopSandbox():
                self._after(pod, SANDBOX_S, lambda p: self._change(p, replace(self.facts(p), sandbox=None)))
            case RemoveSandbox():
                self._after(pod, SANDBOX_S, lambda p: self._change(p, PodFacts()))
            case RemoveFromApi():
                raise AssertionError("the agent deletes objects itself")

    def crash(self, pod: Pod, container: str = "", exit_code: int = 1) -> bool:
        """End a running container (the first, if none is named) as if by itself; whether there was one."""
        for fact in self.facts(pod).containers:
            if fact.phase is ContainerPhase.RUNNING and container in ("", fact.name):
                self._exit(pod, fact.name, fact.attempt, exit_code, "")
                return True
        return False

    def probe_again(self) -> None:
        """Containers may behave differently from now on: what was foreseen of their probes is forgotten."""
        now = self._clock.now()
        for uid, known in tuple(self._pods.items()):
            probed = tuple(
                replace(p, last_at=now) if p.last_at is not None and p.last_at > now else p for p in known.facts.probes
            )
            if probed != known.facts.probes:
                known.facts = replace(known.facts, probes=probed)
                self.on_change(uid)

    def _free_address(self) -> str:
        """The next after the last one given that no pod has, as upstream's host-local address management."""
        used = {known.facts.sandbox.ip for known in self._pods.values() if known.facts.sandbox is not None}
        numbers = (2 + (self._last_address - 1 + step) % 253 for step in range(253))
        number = next(number for number in numbers if f"{self._subnet}.{number}" not in used)
        self._last_address = number
        return f"{self._subnet}.{number}"

    def _behaviour(self, pod: Pod, name: str) -> Behaviour:
        return self.behaves(pod, _container(pod, name)[0])

    def _after(self, pod: Pod, delay_s: float, then: Callable[[Pod], None]) -> None:
        began = self._switched_off

        def call() -> None:
            if uid_on_node(pod) in self._pods and self._switched_off == began:
                then(pod)

        self._clock.call_at(self._clock.now() + timedelta(seconds=delay_s), call)

    def _change(self, pod: Pod, facts: PodFacts) -> None:
        self._pods[uid_on_node(pod)].facts = facts
        self.on_change(uid_on_node(pod))

    def _mount(self, pod: Pod) -> None:
        """The sandbox, as soon as the pod's volumes are there."""
        if not any(mounting.is_claim(volume) for volume in pod.spec.volumes):
            self._after(pod, SANDBOX_S, self._create_sandbox)
            return
        known, now = self._pods[uid_on_node(pod)], self._clock.now()
        elsewhere = {
            name
            for uid, other in self._pods.items()
            if uid != uid_on_node(pod) and other.facts.sandbox is not None
            for name in other.mounted
        }
        found = mounting.look(pod, self._name, self._objects, mounted_elsewhere=elsewhere)
        refusal = found.refusal()
        takes_s = 0.0
        for volume in found.volumes.values():
            mount_s, error = self._driver_of(volume)
            takes_s = max(takes_s, mount_s)
            if error and found.is_ready:
                refusal = f'MountVolume.MountDevice failed for volume "{volume.metadata.name}" : {error}'
        if refusal:
            known.waits_since = None
            self._refuse(pod, refusal)
        elif found.is_ready:
            known.waits_since = None
            known.mounted = frozenset(volume.metadata.name for volume in found.volumes.values())
            self._after(pod, takes_s + SANDBOX_S, self._create_sandbox)
        elif known.waits_since is None:
            known.waits_since = now
            self._after(pod, mounting.PATIENCE.total_seconds(), self._mount)
        elif now >= known.waits_since + mounting.PATIENCE:
            known.waits_since = None
            self._refuse(pod, found.timed_out())

    def _driver_of(self, volume: PersistentVolume) -> tuple[float, str]:
        """How long the driver's stand-in takes to mount, and what it says instead."""
        driver = self._objects.get(CSIDriver, "", volume.spec.csi.driver) if volume.spec.csi is not None else None
        if driver is None:
            return 0.0, ""
        try:
            behaviour = csi.Driver.of(driver)
        except csi.UnreadableError as error:
            return 0.0, str(error)
        return behaviour.mount_s, behaviour.mount_error

    def _refuse(self, pod: Pod, message: str) -> None:
        facts, now = self.facts(pod), self._clock.now()
        before = facts.problems.get("")
        problem = Problem("FailedMount", message, now, before.times + 1 if before is not None else 1)
        self._change(pod, replace(facts, problems={**facts.problems, "": problem}))

    def _on_cluster_change(self, change: Change) -> None:
        """The node's status says what is attached: whoever waits for volumes looks again."""
        if isinstance(change.after, Node) and self._waiting():
            self._clock.call_at(self._clock.now(), self._mount_waiting)

    def _waiting(self) -> list[_Pod]:
        return [known for known in self._pods.values() if known.waits_since is not None]

    def _mount_waiting(self) -> None:
        for known in self._waiting():
            if known.pod is not None:
                self._mount(known.pod)

    def _create_sandbox(self, pod: Pod) -> None:
        facts = self.facts(pod)
        if facts.sandbox is None:
            ip = self._host_ip if pod.spec.host_network else self._free_address()
            problems = {name: problem for name, problem in facts.problems.items() if name}
            sandbox = SandboxFact(ip, self._host_ip, self._clock.now())
            self._change(pod, replace(facts, sandbox=sandbox, problems=problems))

    def _start(self, pod: Pod, action: StartContainer) -> None:
        name, attempt = action.name, action.attempt
        facts, behaviour, now = self.facts(pod), self._behaviour(pod, name), self._clock.now()
        if facts.sandbox is None or any(f.name == name and f.attempt >= attempt for f in facts.containers):
            return
        container, role = _container(pod, name)
        problem = self._problem(behaviour, container, facts.problems.get(name), now)
        problems = {key: known for key, known in facts.problems.items() if key != name}
        if problem is not None:
            self._change(pod, replace(facts, problems={**problems, name: problem}))
            return
        fact = ContainerFact(
            name=name,
            attempt=attempt,
            phase=ContainerPhase.RUNNING,
            id=f"simulated://{uid_on_node(pod)}/{name}/{attempt}",
            image=container.image,
            image_id=container.image,
            started_at=now,
            back_off_s=action.back_off_s,
            resources=None if role is Role.EPHEMERAL else container.resources,
        )
        kept = tuple(f for f in facts.containers if f.name != name or f.attempt == attempt - 1)
        stops = {key: stop for key, stop in facts.stops.items() if key != name}
        probed = tuple(p for p in facts.probes if p.container != name)
        self._change(
            pod,
            replace(facts, containers=(*kept, fact), problems=problems, stops=stops, probes=probed),
        )
        for at_s in {at_s for name, steps in behaviour.metrics.items() if _is_used(name) for at_s, _ in steps}:
            self._after(pod, at_s, lambda _: self.on_signals())
        for delay_s, code, reason in _ends(behaviour, container, attempt):
            self._after(pod, delay_s, lambda p, c=code, r=reason: self._exit(p, name, attempt, c, r))  # type: ignore[misc]

    @staticmethod
    def _problem(behaviour: Behaviour, container: Container, before: Problem | None, now: datetime) -> Problem | None:
        if behaviour.problem is not None:
            return replace(behaviour.problem, at=now, times=before.times + 1 if before is not None else 1)
        failures = before.times if before is not None else 0
        if behaviour.pull_failures < 0 or failures < behaviour.pull_failures:
            text = f'failed to pull and unpack image "{container.image}": not found'
            return Problem("ErrImagePull", text, now, failures + 1)
        return None

    def _resize(self, pod: Pod, name: str, attempt: int) -> None:
        facts, resources = self.facts(pod), _container(pod, name)[0].resources
        changed = tuple(
            replace(f, resources=resources) if (f.name, f.attempt) == (name, attempt) else f for f in facts.containers
        )
        self._change(pod, replace(facts, containers=changed))

    def _stop(self, pod: Pod, action: StopContainer) -> None:
        name, attempt, now = action.name, action.attempt, self._clock.now()
        facts, behaviour = self.facts(pod), self._behaviour(pod, name)
        if not any((f.name, f.attempt) == (name, attempt) and f.finished_at is None for f in facts.containers):
            return
        self._pods[uid_on_node(pod)].stopped_for.setdefault((name, attempt), action.reason)
        stop = facts.stops.get(name, Stop(now))
        kill_at = after(now, action.grace_s)
        kill_at = kill_at if stop.kill_at is None else min(kill_at, stop.kill_at)
        self._change(pod, replace(facts, stops={**facts.stops, name: replace(stop, kill_at=kill_at)}))
        hook = _container(pod, name)[0].lifecycle
        sleep = hook.pre_stop.sleep if hook is not None and hook.pre_stop is not None else None
        hook_over_at = after(stop.asked_at, sleep.seconds if sleep is not None else 0)
        ends_at = max(now, hook_over_at) + timedelta(seconds=behaviour.stop_s)
        killed = behaviour.hangs_on_stop or ends_at > kill_at
        delay_s = (min(kill_at, ends_at) if not behaviour.hangs_on_stop else kill_at) - now
        code = KILLED if killed else behaviour.stop_code
        self._after(pod, delay_s.total_seconds(), lambda p: self._exit(p, name, attempt, code, ""))

    def _exit(self, pod: Pod, name: str, attempt: int, code: int, reason: str) -> None:
        facts = self.facts(pod)
        stopped_for = self._pods[uid_on_node(pod)].stopped_for.pop((name, attempt), None)
        ended = tuple(
            replace(
                f,
                phase=ContainerPhase.EXITED,
                finished_at=self._clock.now(),
                exit_code=code,
                reason=reason,
                stopped_for=stopped_for,
            )
            if f.name == name and f.attempt == attempt and f.phase is ContainerPhase.RUNNING
            else f
            for f in facts.containers
        )
        if ended != facts.containers:
            stops = {key: stop for key, stop in facts.stops.items() if key != name}
            self._change(pod, replace(facts, containers=ended, stops=stops))

    def _probe(self, pod: Pod, action: RunProbe) -> None:
        facts, now, kind = self.facts(pod), self._clock.now(), action.kind
        fact = next((f for f in facts.containers if (f.name, f.attempt) == (action.container, action.attempt)), None)
        if fact is None or fact.started_at is None or fact.phase is not ContainerPhase.RUNNING:
            return
        behaviour, probe = (
            self._behaviour(pod, action.container),
            probes.of(_container(pod, action.container)[0], kind),
        )
        good = behaviour.passes(kind, (now - fact.started_at).total_seconds(), fact.attempt)
        wanted = (action.container, action.attempt, kind)
        old = next((p for p in facts.probes if (p.container, p.attempt, p.kind) == wanted), ProbeFact(*wanted))
        outcome, text = (ProbeOutcome.SUCCESS, "") if good else (ProbeOutcome.FAILURE, "not ready yet (simulated)")
        # Nothing that this container will do changes the outcome any more, so all later runs are this one.
        settled = good and probe is not None and old.successes + 1 >= max(1, probe.success_threshold)
        at = now + SETTLED if settled and behaviour.settles(kind) else now
        new = old.after(outcome, text, at)
        self._change(pod, replace(facts, probes=(*(p for p in facts.probes if p is not old), new)))


def _ends(behaviour: Behaviour, container: Container, attempt: int) -> list[tuple[float, int, str]]:
    """When this attempt ends by itself, with which exit code and why."""
    if not behaviour.fails(attempt):
        return []
    ends = []
    if behaviour.exits_after_s is not None:
        ends.append((behaviour.exits_after_s, behaviour.exit_code, ""))
    limit = container.resources.limits.get("memory")
    too_much = [at for at, used in behaviour.metrics.get("memory", ()) if limit is not None and used > limit.value]
    if behaviour.out_of_memory_after_s is not None:
        too_much.append(behaviour.out_of_memory_after_s)
    return [*ends, *([(min(too_much), KILLED, "OOMKilled")] if too_much else [])]


def _is_used(metric: str) -> bool:
    """It is something of the node's."""
    return metric in ("memory", "ephemeral-storage", "logs", "pids") or metric.startswith(VOLUME)


def _container(pod: Pod, name: str) -> tuple[Container, Role]:
    return next((container, role) for container, role in all_containers(pod) if container.name == name)
