"""`PodRuntime` on Linux: carries out the actions of the pod life cycle and reports what became of them.

Rules: `perform` starts a task that this object owns; an action under way is not started twice; a failure is a problem
or an exit, never an exception. What must survive this process is in a record (`records`), written before anybody is
told; containers and their logs are kept by conmon, so that `adopt` finds them again.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from seatrial.control import sandbox as sandboxes
from seatrial.control.lifecycle import Role, all_containers, eviction
from seatrial.control.lifecycle import probes as probing
from seatrial.control.lifecycle.eviction import PodUsage
from seatrial.control.lifecycle.facts import (
    Action,
    ContainerFact,
    ContainerPhase,
    CreateSandbox,
    PodFacts,
    ProbeFact,
    ProbeKind,
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
from seatrial.kube.objects import (
    Container,
    Pod,
)
from seatrial.kube.times import after
from seatrial.node import logs, probes
from seatrial.node.api import ClusterObjects
from seatrial.node.linux import gauges, mounts, oci, records, volumes
from seatrial.node.linux import machine as machines
from seatrial.node.linux.containers import Runc, Watcher, reopen_log
from seatrial.node.linux.contents import Contents, account_file, make_inside
from seatrial.node.linux.gauges import Gauges
from seatrial.node.linux.machine import Machine
from seatrial.node.linux.network import Network
from seatrial.node.linux.process import CommandError, run
from seatrial.node.linux.records import Layout, PodState

ROTATION_INTERVAL_S = 10.0
TOKEN_INTERVAL_S = 30.0
TERMINATION_MESSAGE_BYTES = 4096
LOG_FALLBACK_BYTES = 2048
"""Upstream's limits for the termination message and for the log's tail that may stand in for it."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image as a node needs it: unpacked layers, lowest first."""

    digest: str
    config: sandboxes.ImageConfig
    layers: tuple[Path, ...]


class Images(Protocol):
    """The door to the image store; `cluster` adapts it."""

    def find(self, reference: str) -> Image | None: ...


class LinuxRuntime:
    """Runs the pods of one node. Use `adopt` first, `close` last; containers outlive `close`."""

    def __init__(
        self,
        network: Network,
        images: Images,
        cluster: ClusterObjects,
        *,
        node_name: str,
        pod_cidr: str,
        host_ip: str,
        domain: str = "cluster.local",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.on_change: Callable[[str], None] = lambda _: None
        self.node_name = node_name
        self._network = network
        self._machine: Machine = network.machine
        self._images = images
        self._cluster = cluster
        self._cidr = ipaddress.ip_network(pod_cidr)
        self._host_ip = host_ip
        self._now = now
        self._layout = Layout(self._machine)
        self._contents = Contents(
            cluster,
            self._layout,
            node_name=node_name,
            host_ip=host_ip,
            gateway=network.addresses.gateway,
            domain=domain,
            now=now,
            pods=lambda: self._pods.values(),
        )
        self._runc = Runc(self._machine)
        self._gauges = Gauges(self._machine)
        self.on_signals: Callable[[], None] = lambda: None
        self._pods: dict[str, PodState] = {}
        self._by_container: dict[str, str] = {}
        self._tasks: dict[tuple[object, ...], asyncio.Task[None]] = {}
        self._watcher: Watcher | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    # --- what the agent uses ---------------------------------------------------------------------------------------

    def facts(self, pod: Pod) -> PodFacts:
        state = self._pods.get(pod.metadata.uid)
        if state is None:
            return PodFacts()
        state.pod = pod
        return PodFacts(
            sandbox=state.sandbox,
            containers=tuple(state.containers),
            probes=tuple(state.probes.values()),
            problems=dict(state.problems),
            stops=dict(state.stops),
        )

    def perform(self, pod: Pod, action: Action) -> None:
        state = self._pods.setdefault(pod.metadata.uid, PodState(pod.metadata.uid))
        state.pod = pod
        match action:
            case CreateSandbox():
                self._start((state.uid, "sandbox"), self._create_sandbox(state, pod))
            case StartContainer(name=name):
                self._start((state.uid, "start", name), self._start_container(state, pod, action))
            case ResizeContainer(name, attempt):
                self._start((state.uid, "resize", name), self._resize_container(state, pod, name, attempt))
            case RunPreStop(name=name, grace_s=grace_s):
                self._begin_hook(state, pod, name, grace_s)
            case StopContainer(name=name):
                self._shorten(state, action)
                self._start((state.uid, "stop", name), self._stop_container(state, pod, action))
            case RunProbe(container, attempt, kind):
                self._start((state.uid, "probe", container, kind), self._probe(state, pod, container, attempt, kind))
            case RemoveContainers():
                self._start((state.uid, "forget"), self._remove_containers(state))
            case StopSandbox():
                self._start((state.uid, "remove"), self._stop_sandbox(state))
            case RemoveSandbox():
                self._start((state.uid, "remove"), self._remove(state))
            case RemoveFromApi():
                raise AssertionError("RemoveFromApi is the agent's, not the runtime's")

    def uids(self) -> Sequence[str]:
        return tuple(self._pods)

    def signals(self) -> Mapping[str, Observation]:
        return gauges.signals(self._machine.state)

    @property
    def image_disk(self) -> bool:
        return gauges.has_image_disk(self._machine.state)

    def usage(self, pod: Pod) -> PodUsage | None:
        state = self._pods.get(uid_on_node(pod))
        return None if state is None else self._gauges.usage(pod, state.uid, state.containers, state.volumes)

    def power_off(self) -> None:
        """The machine's own shutdown ends this process as well."""

    def forget(self, uid: str) -> None:
        state = self._pods.get(uid)
        if state is not None:
            self._start((state.uid, "remove"), self._remove(state, forget=True))

    async def adopt(self) -> None:
        """Find the pods that an earlier process of this node left running, and begin to watch."""
        self._machine.exits.mkdir(parents=True, exist_ok=True)
        self._watcher = Watcher(self._machine.exits, self._exit_file)
        self._unsubscribe = self._cluster.subscribe(self._contents.on_change)
        for file in sorted(self._machine.pods.glob("*/record.json")):
            record = json.loads(file.read_text())
            if record["node"] == self.node_name:
                await self._adopt(record)
        self._start(("rotation",), self._rotate_logs())
        self._start(("tokens",), self._rotate_tokens())

    async def close(self) -> None:
        """End every task of this object; the containers go on."""
        self._unsubscribe()
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def log_path(self, uid: str, container: str, *, previous: bool = False) -> Path | None:
        """The log of the latest attempt or of the one before; None if there is none."""
        state = self._pods.get(uid)
        attempts = sorted(each.attempt for each in state.containers if each.name == container) if state else []
        if previous:
            attempts = attempts[:-1]
        return self._layout.log(uid, container, attempts[-1]) if attempts else None

    def read_log(
        self, uid: str, container: str, options: logs.LogOptions, *, previous: bool = False
    ) -> AsyncIterator[bytes] | None:
        """The chosen part of a container's log, or None if it has never run."""
        path = self.log_path(uid, container, previous=previous)
        if path is None:
            return None
        attempt = self._running(uid, container)
        return logs.read(path, options, lambda: attempt is not None and self._is_running(uid, container, attempt))

    async def execute(self, uid: str, container: str, command: Sequence[str], timeout_s: float) -> tuple[int, bytes]:
        """Run a command in a running container: exit code and output."""
        running = self._running(uid, container)
        if running is None:
            raise ProcessLookupError(f"container {container} is not running")
        return await self._runc.execute(running.id, command, timeout_s)

    # --- sandbox ---------------------------------------------------------------------------------------------------

    async def _create_sandbox(self, state: PodState, pod: Pod) -> None:
        async with state.lock:
            if state.sandbox is not None:
                return
            try:
                if pod.spec.share_process_namespace:
                    raise volumes.VolumeError("shareProcessNamespace is not supported on this cluster: remove it")
                self._contents.set_up_volumes(state, pod)
                namespaces = self._layout.namespaces(state.uid)
                namespaces.mkdir(parents=True, exist_ok=True)
                if not pod.spec.host_network and not state.ip:
                    state.ip = self._free_ip()
                kinds = ("ipc",) if pod.spec.host_network else ("net", "ipc", "uts")
                for kind in kinds:
                    mounts.unmount(namespaces / kind)
                    (namespaces / kind).touch()
                name = sandboxes.hostname(pod)
                inside = "true" if pod.spec.host_network else f"echo {name} > /proc/sys/kernel/hostname"
                await run(("unshare", *(f"--{kind}={namespaces / kind}" for kind in kinds), "sh", "-c", inside))
                if not pod.spec.host_network:
                    await self._network.attach(namespaces / "net", state.ip)
                ip = state.ip or self._host_ip
                self._contents.write_files(pod, ip)
            except (CommandError, OSError, volumes.VolumeError, sandboxes.ConfigError) as error:
                missing = isinstance(error, sandboxes.ConfigError | volumes.VolumeError)
                state.problems[""] = Problem("FailedMount" if missing else "FailedCreatePodSandBox", str(error))
                self._tell(state)
                return
            state.problems.pop("", None)
            state.sandbox = SandboxFact(ip=ip, host_ip=self._host_ip, created_at=self._second())
            records.save(self._layout, self.node_name, state)
            self._tell(state)

    def _free_ip(self) -> str:
        used = {state.ip for state in self._pods.values()}
        for address in self._cidr.hosts():
            if str(address) not in used and address != self._cidr[1]:
                return str(address)
        raise volumes.VolumeError(f"every address of the node's podCIDR {self._cidr} is in use")

    async def _remove(self, state: PodState, forget: bool = False) -> None:
        async with state.lock:
            for container in tuple(state.containers):
                if container.phase is ContainerPhase.RUNNING:
                    await self._runc.kill(container.id, "SIGKILL")
                    await self._runc.delete(container.id)
                self._by_container.pop(container.id, None)
            if state.ip:
                await self._network.detach(state.ip)
            directory, namespaces = self._layout.directory(state.uid), self._layout.namespaces(state.uid)
            for target in (*mounts.below(directory), *mounts.below(namespaces)):
                mounts.unmount(target)
            machines.remove_cgroup(f"{self._machine.cgroup}/pod{state.uid}")
            await asyncio.to_thread(shutil.rmtree, directory, True)
            await asyncio.to_thread(shutil.rmtree, namespaces, True)
            state.sandbox, state.ip = None, ""
            self._gauges.forget(state.uid)
            if forget:
                self._pods.pop(state.uid, None)
        self._tell(state)

    async def _stop_sandbox(self, state: PodState) -> None:
        """The pod has finished: its address and namespaces are given back, its dead containers and logs stay."""
        async with state.lock:
            if state.ip:
                await self._network.detach(state.ip)
            namespaces = self._layout.namespaces(state.uid)
            for target in mounts.below(namespaces):
                mounts.unmount(target)
            await asyncio.to_thread(shutil.rmtree, namespaces, True)
            state.sandbox, state.ip = None, ""
            records.save(self._layout, self.node_name, state)
        self._tell(state)

    async def _remove_containers(self, state: PodState) -> None:
        """The pod starts over: its containers, which have all ended, are forgotten."""
        for fact in tuple(state.containers):
            self._by_container.pop(fact.id, None)
            state.ended.pop(fact.id, None)
            shutil.rmtree(self._layout.bundle(state.uid, fact), ignore_errors=True)
        state.containers, state.problems = [], {}
        state.probes.clear()
        records.save(self._layout, self.node_name, state)
        self._tell(state)

    # --- containers ------------------------------------------------------------------------------------------------

    async def _start_container(self, state: PodState, pod: Pod, action: StartContainer) -> None:
        name, attempt = action.name, action.attempt
        if any(each.name == name and each.attempt >= attempt for each in state.containers) or state.sandbox is None:
            return
        container = _container(pod, name)
        image = self._images.find(container.image)
        if image is None:
            before = state.problems.get(name)
            times = before.times + 1 if before is not None and before.reason == "ErrImagePull" else 1
            self._problem(state, name, replace(_missing_image(container), at=self._second(), times=times))
            return
        container_id = secrets.token_hex(32)
        bundle = self._layout.directory(state.uid) / "containers" / name / str(attempt)
        hook = container.lifecycle.post_start if container.lifecycle else None
        fact = ContainerFact(
            name,
            attempt,
            ContainerPhase.RUNNING,
            container_id,
            container.image,
            image.digest,
            back_off_s=action.back_off_s,
            hook_running=hook is not None,
            resources=None if _role(pod, name) is Role.EPHEMERAL else container.resources,
        )
        try:
            rootfs = bundle / "rootfs"
            mounts.overlay(image.layers, bundle / "upper", bundle / "work", rootfs)
            self._write_config(state, pod, container, image, bundle, container_id)
        except sandboxes.ConfigError as error:
            mounts.unmount(bundle / "rootfs")
            self._problem(state, name, Problem("CreateContainerConfigError", str(error)))
            return
        except (OSError, CommandError) as error:
            mounts.unmount(bundle / "rootfs")
            self._problem(state, name, Problem("CreateContainerError", str(error)))
            return
        self._by_container[container_id] = state.uid
        state.ended[container_id] = asyncio.Event()
        state.problems.pop(name, None)
        state.stops.pop(name, None)
        started = replace(fact, started_at=self._second())
        try:
            await self._runc.start(container_id, bundle, self._layout.log(state.uid, name, attempt))
        except (CommandError, OSError) as error:
            ended = replace(
                started,
                phase=ContainerPhase.EXITED,
                finished_at=self._second(),
                exit_code=128,
                reason="StartError",
                message=error.output if isinstance(error, CommandError) else str(error),
            )
            await self._runc.delete(container_id)
            mounts.unmount(rootfs)
            self._record(state, ended)
            return
        self._record(state, started)
        if (self._machine.exits / container_id).exists():
            self._exit_file(container_id)
        if hook is not None:
            outcome = await probes.handle(hook, container, state.sandbox.ip, 3600.0, self._in(container_id))
            self._replace(state, container_id, hook_running=False)
            if not outcome.success:
                state.stopped_for[container_id] = StopReason.POST_START
                self._problem(state, name, Problem("PostStartHookError", outcome.message))
                await self._runc.kill(container_id, "SIGKILL")

    def _write_config(
        self, state: PodState, pod: Pod, container: Container, image: Image, bundle: Path, container_id: str
    ) -> None:
        termination = bundle / "termination-log"
        termination.touch()
        termination.chmod(0o666)
        directory = self._layout.directory(state.uid)
        rootfs = bundle / "rootfs"
        made = sandboxes.container_sandbox(
            pod,
            container,
            image.config,
            lookup=self._contents.lookup(pod),
            node=self._contents.view(state),
            volumes=state.volumes,
            files={
                "/etc/hosts": str(directory / "hosts"),
                "/etc/resolv.conf": str(directory / "resolv.conf"),
                container.termination_message_path or "/dev/termination-log": str(termination),
            },
            passwd=account_file(rootfs, "passwd"),
            group=account_file(rootfs, "group"),
        )
        for mount in made.mounts:
            if mount.type == "bind":
                make_inside(mount.source, state.volumes.values())
        document = oci.config(
            made,
            rootfs=rootfs,
            namespaces=self._layout.namespaces(state.uid),
            cgroup=f"{self._machine.cgroup}/pod{state.uid}/{container_id}",
            unified=machines.v2(),
        )
        (bundle / "config.json").write_text(json.dumps(document))
        (bundle / "stop-signal").write_text(made.stop_signal)

    def _begin_hook(self, state: PodState, pod: Pod, name: str, grace_s: int) -> asyncio.Task[None] | None:
        """The preStop hook of the running container, begun once; None if it has none."""
        fact, container = self._running(state.uid, name), _container(pod, name)
        hook = container.lifecycle.pre_stop if container.lifecycle else None
        if fact is None or hook is None or state.sandbox is None:
            return None
        if fact.id not in state.hooks:
            ip = state.sandbox.ip

            async def work() -> None:
                outcome = await probes.handle(hook, container, ip, float(grace_s), self._in(fact.id))
                if not outcome.success and name in state.stops:
                    state.stops[name] = replace(state.stops[name], hook_failed=True)
                    self._tell(state)

            state.stops.setdefault(name, Stop(self._now()))
            self._start((state.uid, "preStop", fact.id), work())
            state.hooks[fact.id] = self._tasks[state.uid, "preStop", fact.id]
            self._tell(state)
        return state.hooks[fact.id]

    def _shorten(self, state: PodState, action: StopContainer) -> None:
        """A stop that is under way ends sooner if it is asked for again with less grace."""
        grace, stop = state.graces.get(action.name), state.stops.get(action.name)
        kill_at = after(self._now(), action.grace_s)
        if grace is None or stop is None or stop.kill_at is None or kill_at >= stop.kill_at:
            return
        state.stops[action.name] = replace(stop, kill_at=kill_at)
        grace.reschedule(asyncio.get_running_loop().time() + action.grace_s)

    async def _stop_container(self, state: PodState, pod: Pod, action: StopContainer) -> None:
        name = action.name
        fact = self._running(state.uid, name)
        if fact is None or fact.attempt != action.attempt:
            return
        state.stopped_for.setdefault(fact.id, action.reason)
        kill_at = after(self._now(), action.grace_s)
        stop = state.stops.get(name, Stop(self._now()))
        state.stops[name] = replace(stop, kill_at=min(kill_at, stop.kill_at or kill_at))
        self._tell(state)
        ended = state.ended.setdefault(fact.id, asyncio.Event())
        bundle = self._layout.bundle(state.uid, fact)
        try:
            async with asyncio.timeout(action.grace_s) as state.graces[name]:
                hook = self._begin_hook(state, pod, name, action.grace_s)
                if hook is not None:
                    await asyncio.shield(hook)
                await self._runc.kill(fact.id, _stop_signal(bundle))
                await ended.wait()
        except TimeoutError:
            await self._runc.kill(fact.id, "SIGKILL")
        finally:
            state.graces.pop(name, None)

    async def _resize_container(self, state: PodState, pod: Pod, name: str, attempt: int) -> None:
        """Change the cgroup of a running container to the resources that `pod` has."""
        fact, container = self._running(state.uid, name), _container(pod, name)
        if fact is None or fact.attempt != attempt:
            return
        asked = sandboxes.limits(pod, container, self._contents.view(state))
        try:
            await self._runc.update(fact.id, oci.resources(asked))
        except CommandError as error:
            self._problem(state, name, Problem("ResizeError", str(error), self._second()))
            return
        state.problems.pop(name, None)
        self._replace(state, fact.id, resources=container.resources)

    def _replace(self, state: PodState, container_id: str, **changes: Any) -> None:
        """Change the fact of a container that still runs."""
        for fact in state.containers:
            if fact.id == container_id and fact.phase is ContainerPhase.RUNNING:
                self._record(state, replace(fact, **changes))
                return

    def _exit_file(self, container_id: str) -> None:
        uid = self._by_container.get(container_id)
        if uid is not None and uid in self._pods:
            self._start((uid, "ended", container_id), self._ended(self._pods[uid], container_id))

    async def _ended(self, state: PodState, container_id: str) -> None:
        fact = next((each for each in state.containers if each.id == container_id), None)
        file = self._machine.exits / container_id
        if fact is None or fact.phase is ContainerPhase.EXITED or not file.exists():
            return
        bundle = self._layout.bundle(state.uid, fact)
        code = int(file.read_text() or "255")
        killed = (bundle / "oom").exists()
        container = _container(state.pod, fact.name) if state.pod is not None else None
        message = self._termination_message(state, fact, container, bundle, code)
        await self._runc.delete(container_id)
        mounts.unmount(bundle / "rootfs")
        reason = "OOMKilled" if killed else ("Completed" if code == 0 else "Error")
        finished = datetime.fromtimestamp(file.stat().st_mtime, UTC).replace(microsecond=0)
        file.unlink(missing_ok=True)
        state.stops.pop(fact.name, None)
        state.hooks.pop(container_id, None)
        for key in [key for key in state.probes if key[0] == fact.name]:
            del state.probes[key]
        ended = replace(
            fact,
            phase=ContainerPhase.EXITED,
            exit_code=code,
            finished_at=finished,
            reason=reason,
            message=message,
            stopped_for=state.stopped_for.pop(container_id, None),
            hook_running=False,
        )
        state.ended.setdefault(container_id, asyncio.Event()).set()
        self._record(state, ended)

    def _termination_message(
        self, state: PodState, fact: ContainerFact, container: Container | None, bundle: Path, code: int
    ) -> str:
        file = bundle / "termination-log"
        if file.exists():
            with file.open("rb") as stream:
                written = stream.read(TERMINATION_MESSAGE_BYTES)
            if written:
                return written.decode(errors="replace")
        if code and container is not None and container.termination_message_policy == "FallbackToLogsOnError":
            log = self._layout.log(state.uid, fact.name, fact.attempt)
            lines = [logs.parse(raw) for raw in log.read_bytes().splitlines()[-80:]] if log.exists() else []
            text = b"".join(line[0].text + b"\n" for line in lines if line is not None)
            return text[-LOG_FALLBACK_BYTES:].decode(errors="replace")
        return ""

    def _record(self, state: PodState, fact: ContainerFact) -> None:
        """Remember `fact`; of each name only the latest attempt and the one before it stay, with their files."""
        kept = [each for each in state.containers if (each.name, each.attempt) != (fact.name, fact.attempt)]
        own = sorted((each for each in (*kept, fact) if each.name == fact.name), key=lambda each: each.attempt)
        for old in own[:-2]:
            shutil.rmtree(self._layout.bundle(state.uid, old), ignore_errors=True)
            for file in logs.rotated(self._layout.log(state.uid, old.name, old.attempt)):
                file.unlink()
            self._by_container.pop(old.id, None)
            state.ended.pop(old.id, None)
        state.containers = [*(each for each in kept if each.name != fact.name), *own[-2:]]
        records.save(self._layout, self.node_name, state)
        self._tell(state)

    async def _probe(self, state: PodState, pod: Pod, name: str, attempt: int, kind: ProbeKind) -> None:
        container = _container(pod, name)
        chosen = probing.of(container, kind)
        fact = self._running(state.uid, name)
        if chosen is None or fact is None or fact.attempt != attempt or state.sandbox is None:
            return
        outcome = await probes.run(chosen, container, state.sandbox.ip, self._in(fact.id))
        current = self._running(state.uid, name)
        if current is None or current.attempt != attempt:
            return
        before = state.probes.get((name, kind))
        if before is None or before.attempt != attempt:
            before = ProbeFact(name, attempt, kind)
        state.probes[name, kind] = before.after(outcome.as_probe, outcome.message, self._now())
        if outcome.success != (before.successes > 0):
            records.save(self._layout, self.node_name, state)
        self._tell(state)

    # --- memory ----------------------------------------------------------------------------------------------------

    async def _adopt(self, record: dict[str, Any]) -> None:
        state = records.load(record)
        self._pods[state.uid] = state
        namespaces = self._layout.namespaces(state.uid)
        if namespaces / "ipc" not in mounts.below(namespaces):
            state.sandbox = None  # the machine was restarted
        for fact in tuple(state.containers):
            if fact.phase is ContainerPhase.EXITED:
                continue
            self._by_container[fact.id] = state.uid
            state.ended[fact.id] = asyncio.Event()
            if (self._machine.exits / fact.id).exists():
                await self._ended(state, fact.id)
            elif not _alive(self._layout.bundle(state.uid, fact)):
                lost = replace(fact, phase=ContainerPhase.EXITED, exit_code=255, reason="Unknown")
                await self._runc.delete(fact.id)
                mounts.unmount(self._layout.bundle(state.uid, fact) / "rootfs")
                self._record(state, replace(lost, finished_at=self._second()))

    def exchange_tokens(self) -> None:
        """Fetch mounted tokens anew whose time has come."""
        self._contents.exchange_tokens()

    async def _rotate_tokens(self) -> None:
        while True:
            await asyncio.sleep(TOKEN_INTERVAL_S)
            self.exchange_tokens()

    async def _rotate_logs(self) -> None:
        while True:
            await asyncio.sleep(ROTATION_INTERVAL_S)
            for state in tuple(self._pods.values()):
                self._find_images(state)
                if state.pod is not None and eviction.has_limits(state.pod):
                    names = {fact.name for fact in state.containers}
                    await asyncio.to_thread(self._gauges.measure, state.uid, names, dict(state.volumes))
                for fact in state.containers:
                    if fact.phase is ContainerPhase.RUNNING:
                        log = self._layout.log(state.uid, fact.name, fact.attempt)
                        if logs.rotate(log):
                            reopen_log(self._layout.bundle(state.uid, fact))

    def _find_images(self, state: PodState) -> None:
        """An image that has been built or imported meanwhile is not waited for until its pull's back-off is over."""
        for name, problem in tuple(state.problems.items()):
            if problem.reason != "ErrImagePull" or state.pod is None:
                continue
            if self._images.find(_container(state.pod, name).image) is not None:
                del state.problems[name]
                self._tell(state)

    # --- small things ----------------------------------------------------------------------------------------------

    def _start(self, key: tuple[object, ...], work: Coroutine[Any, Any, None]) -> None:
        if key in self._tasks:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[key] = task
        task.add_done_callback(lambda done: self._finished(key, done))

    def _finished(self, key: tuple[object, ...], task: asyncio.Task[None]) -> None:
        self._tasks.pop(key, None)
        if not task.cancelled() and task.exception() is not None:
            context = {"message": f"an action of a pod failed: {key}", "exception": task.exception(), "task": task}
            asyncio.get_running_loop().call_exception_handler(context)
        elif not task.cancelled():
            self.on_change(str(key[0]))

    def _tell(self, state: PodState) -> None:
        self.on_change(state.uid)

    def _problem(self, state: PodState, name: str, problem: Problem) -> None:
        state.problems[name] = problem
        self._tell(state)

    def _running(self, uid: str, name: str) -> ContainerFact | None:
        state = self._pods.get(uid)
        found = [each for each in state.containers if each.name == name] if state else []
        return found[-1] if found and found[-1].phase is ContainerPhase.RUNNING else None

    def _is_running(self, uid: str, name: str, attempt: ContainerFact) -> bool:
        now = self._running(uid, name)
        return now is not None and now.attempt == attempt.attempt

    def _in(self, container_id: str) -> probes.Execute:
        return lambda command, timeout_s: self._runc.execute(container_id, command, timeout_s)

    def _second(self) -> datetime:
        return self._now().replace(microsecond=0)


def _container(pod: Pod, name: str) -> Container:
    return next(each for each, _ in all_containers(pod) if each.name == name)


def _role(pod: Pod, name: str) -> Role:
    return next(role for each, role in all_containers(pod) if each.name == name)


def _missing_image(container: Container) -> Problem:
    if container.image_pull_policy == "Never":
        return Problem(
            "ErrImageNeverPull", f'Container image "{container.image}" is not present with pull policy of Never'
        )
    return Problem(
        "ErrImagePull",
        f'image "{container.image}" is not in this cluster\'s store, and nothing is pulled from registries: '
        "build or import it (`seatrial build`, `seatrial image import`)",
    )


def _stop_signal(bundle: Path) -> str:
    try:
        return (bundle / "stop-signal").read_text() or "SIGTERM"
    except FileNotFoundError:
        return "SIGTERM"


def _alive(bundle: Path) -> bool:
    """conmon still watches: only then will there be an exit file."""
    try:
        pid = (bundle / "conmon.pid").read_text().strip()
        name, _, rest = Path("/proc", pid, "stat").read_text().rpartition(")")
        return "conmon" in name and rest.split()[0] != "Z"  # a dead one whom nobody has asked about watches nothing
    except OSError:
        return False
