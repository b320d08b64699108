"""Real pods on this machine: everything here needs root, runc, conmon and nftables."""

from __future__ import annotations

import asyncio
import base64
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from seatrial.control.lifecycle.facts import (
    ContainerFact,
    ContainerPhase,
    CreateSandbox,
    ProbeKind,
    RemoveSandbox,
    RunProbe,
    StartContainer,
    StopContainer,
    StopReason,
)
from seatrial.control.reach import service_rules
from seatrial.control.sandbox import ImageConfig
from seatrial.control.writes import RefusedError, Write
from seatrial.kube.objects import ConfigMap, EndpointSlice, Object, Pod, Secret, Service, parse_as
from seatrial.node.api import Change, Token
from seatrial.node.dns import DnsServer, Zone, host_resolvers
from seatrial.node.linux import Image, LinuxRuntime, Machine, Network, addresses, cleanup

pytestmark = pytest.mark.privileged
T = TypeVar("T", bound=Object)
PATIENCE_S = 20.0


def fetched(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return bytes(answer.read())


class Objects:
    """A cluster that is a dictionary."""

    def __init__(self, *objects: Object) -> None:
        self._held = {(type(each), each.metadata.namespace, each.metadata.name): each for each in objects}
        self._listeners: list[Callable[[Change], None]] = []
        self.token_count: int | None = None

    def get(self, kind: type[T], namespace: str, name: str) -> T | None:
        found = self._held.get((kind, namespace, name))
        assert found is None or isinstance(found, kind)
        return found

    def all(self, kind: type[T]) -> Sequence[T]:
        return [each for each in self._held.values() if isinstance(each, kind)]

    def apply(self, write: Write) -> Object | None:
        raise AssertionError("the runtime writes no objects")

    def token(self, pod: Pod, audience: str, lifetime_s: int) -> Token:
        if self.token_count is None:
            raise RefusedError("this cluster issues no tokens")
        self.token_count += 1
        text = f"{pod.spec.service_account_name} {audience} {lifetime_s} {self.token_count}"
        return Token(text, datetime.now(UTC) + timedelta(seconds=lifetime_s * 0.8))

    def subscribe(self, on_change: Callable[[Change], None]) -> Callable[[], None]:
        self._listeners.append(on_change)
        return lambda: self._listeners.remove(on_change)

    def put(self, object_: Object) -> None:
        key = (type(object_), object_.metadata.namespace, object_.metadata.name)
        before = self._held.get(key)
        self._held[key] = object_
        for listener in self._listeners:
            listener(Change(before, object_))


class Busybox:
    """One image: busybox and its applets."""

    def __init__(self, directory: Path) -> None:
        self.layer = directory / "busybox"
        (self.layer / "bin").mkdir(parents=True)
        for name in ("etc", "tmp", "proc", "sys", "dev"):
            (self.layer / name).mkdir()
        (self.layer / "tmp").chmod(0o1777)
        source = shutil.which("busybox")
        if source is None:
            pytest.skip("busybox is not installed: apt-get install -y busybox-static")
        shutil.copy(source, self.layer / "bin/busybox")
        for applet in ("sh", "sleep", "httpd", "nslookup", "wget", "cat", "echo", "touch", "test", "id", "env"):
            (self.layer / "bin" / applet).symlink_to("busybox")
        (self.layer / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\nweb:x:1001:1002::/:/bin/sh\n")

    def find(self, reference: str) -> Image | None:
        return Image("sha256:0", ImageConfig(cmd=("sleep", "1000")), (self.layer,)) if reference == "busybox" else None


def pod(name: str, *containers: dict[str, Any], **spec: Any) -> Pod:
    return parse_as(
        Pod,
        {
            "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", "labels": {"app": name}},
            "spec": {"containers": [{"image": "busybox", **each} for each in containers], **spec},
        },
    )


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "state"
    directory.mkdir()
    yield directory
    cleanup(directory)


async def until(question: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not question():
        assert time.monotonic() < deadline, f"never: {what}"
        await asyncio.sleep(0.01)


class Bench:
    """A network, a runtime and a busybox image below one state directory."""

    def __init__(self, state: Path, objects: Objects) -> None:
        machine = Machine(state)
        self.network = Network(machine, addresses(machine.id))
        self.images = Busybox(state / "images") if not (state / "images").exists() else Busybox.__new__(Busybox)
        self.images.layer = state / "images/busybox"
        self.objects = objects
        self.ahead = timedelta()
        """How far the nodes' clock is ahead of ours."""
        self.runtime = self.new_runtime()

    def new_runtime(self) -> LinuxRuntime:
        plan = self.network.addresses
        return LinuxRuntime(
            self.network,
            self.images,
            self.objects,
            node_name="one",
            pod_cidr=str(plan.pods(0)),
            host_ip=plan.gateway,
            now=lambda: datetime.now(UTC) + self.ahead,
        )

    async def __aenter__(self) -> Bench:
        await self.network.set_up()
        await self.runtime.adopt()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.runtime.close()

    async def up(self, what: Pod) -> str:
        self.runtime.perform(what, CreateSandbox())
        await until(lambda: self.runtime.facts(what).sandbox or self.runtime.facts(what).problems, "sandbox")
        sandbox = self.runtime.facts(what).sandbox
        assert sandbox is not None, self.runtime.facts(what).problems
        for container in what.spec.containers:
            self.runtime.perform(what, StartContainer(container.name, 0))
            await until(partial(self.last, what, container.name), f"{container.name} started")
        return sandbox.ip

    def last(self, what: Pod, name: str) -> ContainerFact | None:
        facts = self.runtime.facts(what)
        assert name not in facts.problems, facts.problems
        return next((each for each in reversed(facts.containers) if each.name == name), None)

    async def sh(self, what: Pod, name: str, script: str) -> str:
        code, output = await self.runtime.execute(what.metadata.uid, name, ("sh", "-c", script), 10.0)
        assert code == 0, output
        return output.decode()


def leftovers() -> dict[str, object]:
    def said(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    return {
        "links": sorted(str(path) for path in Path("/sys/class/net").iterdir()),
        "mounts": sorted(line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        "tables": said("nft", "list", "tables"),
        "cgroups": sorted(str(path) for path in Path("/sys/fs/cgroup").glob("*/seatrial-*")),
        "routes": said("ip", "route"),
        "monitors": said("sh", "-c", "pgrep -x -r S,R,D conmon || true"),
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
    }


def test_a_mounted_token_is_exchanged_when_its_time_has_come(state: Path) -> None:
    objects = Objects()
    token = {"serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 600}}
    web = pod(
        "web",
        {"name": "web", "command": ["sleep", "1000"], "volumeMounts": [{"name": "own", "mountPath": "/own"}]},
        serviceAccountName="robot",
        securityContext={"fsGroup": 2000},
        volumes=[{"name": "own", "projected": {"defaultMode": 0o644, "sources": [token]}}],
    )

    async def story() -> None:
        async with Bench(state, objects) as bench:
            bench.runtime.perform(web, CreateSandbox())
            await until(lambda: bench.runtime.facts(web).problems, "no token")
            why = 'MountVolume.SetUp failed for volume "own" : failed to fetch token: this cluster issues no tokens'
            assert bench.runtime.facts(web).problems[""].message == why
            objects.token_count = 0
            bench.runtime.perform(web, CreateSandbox())
            await until(lambda: bench.runtime.facts(web).sandbox, "a token at last")
            await bench.up(web)
            assert await bench.sh(web, "web", "cat /own/token; stat -c ' %a %g' -L /own/token") == (
                "robot vault 600 1 640 2000\n"
            )
            bench.runtime.exchange_tokens()
            bench.ahead = timedelta(seconds=470)
            bench.runtime.exchange_tokens()
            assert await bench.sh(web, "web", "cat /own/token") == "robot vault 600 1"
            bench.ahead = timedelta(seconds=481)
            bench.runtime.exchange_tokens()
            assert await bench.sh(web, "web", "cat /own/token") == "robot vault 600 2"
            objects.token_count = None
            bench.ahead = timedelta(seconds=2000)
            bench.runtime.exchange_tokens()
            assert await bench.sh(web, "web", "cat /own/token") == "robot vault 600 2", "the old one for want of a new"

    asyncio.run(story())


def test_two_containers_share_a_network_and_see_their_configuration_which_follows_changes(state: Path) -> None:
    config = parse_as(ConfigMap, {"metadata": {"name": "cfg", "namespace": "shop"}, "data": {"greeting": "hello"}})
    secret = parse_as(
        Secret,
        {"metadata": {"name": "key", "namespace": "shop"}, "data": {"password": base64.b64encode(b"pearl").decode()}},
    )
    objects = Objects(config, secret)
    web = pod(
        "web",
        {
            "name": "web",
            "command": ["sh", "-c", "echo serving; cd /tmp; echo it-is-$(NAME) > index.html; exec httpd -f -p 8080"],
            "env": [
                {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "key", "key": "password"}}},
            ],
            "envFrom": [{"configMapRef": {"name": "cfg"}}],
            "volumeMounts": [{"name": "cfg", "mountPath": "/cfg"}],
            "securityContext": {"runAsUser": 1001, "readOnlyRootFilesystem": False},
        },
        {"name": "side", "command": ["sleep", "1000"], "volumeMounts": [{"name": "cfg", "mountPath": "/cfg"}]},
        volumes=[{"name": "cfg", "configMap": {"name": "cfg"}}],
    )

    async def story() -> None:
        async with Bench(state, objects) as bench:
            await bench.up(web)
            assert (await bench.sh(web, "web", "env | grep -c -e greeting=hello -e PASSWORD=pearl")).strip() == "2"
            assert "uid=1001(web) gid=1002" in await bench.sh(web, "web", "id")
            assert await bench.sh(web, "side", "cat /cfg/greeting") == "hello"
            changed = parse_as(
                ConfigMap, {"metadata": {"name": "cfg", "namespace": "shop"}, "data": {"greeting": "ahoy"}}
            )
            objects.put(changed)
            assert await bench.sh(web, "side", "cat /cfg/greeting") == "ahoy"
            page = "wget -q -O - http://127.0.0.1:8080/"
            assert (await bench.sh(web, "side", page)).strip() == "it-is-web"

    asyncio.run(story())


def test_a_service_is_reached_by_address_and_by_name_from_the_host_from_pods_and_by_the_pod_behind_it(
    state: Path,
) -> None:
    machine = Machine(state)
    plan = addresses(machine.id)
    cluster_ip = str(plan.services[10])
    service = parse_as(
        Service,
        {
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "clusterIP": cluster_ip,
                "type": "NodePort",
                "ports": [{"name": "http", "port": 80, "nodePort": 31234, "protocol": "TCP"}],
            },
        },
    )
    objects = Objects(service)
    probe = {"httpGet": {"path": "/", "port": 8080}, "timeoutSeconds": 5}
    serve = "cd /tmp; echo ok > index.html; exec httpd -f -p 8080"
    web = pod("web", {"name": "web", "command": ["sh", "-c", serve], "readinessProbe": probe})
    # a static busybox cannot resolve names: the machine's own getent and glibc do, from hostPath volumes
    places = {"usr": "/usr", "lib": "/lib", "lib64": "/lib64"}
    user = pod(
        "user",
        {
            "name": "user",
            "command": ["sleep", "1000"],
            "volumeMounts": [{"name": name, "mountPath": path, "readOnly": True} for name, path in places.items()],
        },
        volumes=[{"name": name, "hostPath": {"path": path}} for name, path in places.items()],
    )

    async def story() -> None:
        async with Bench(state, objects) as bench:
            ip = await bench.up(web)
            await bench.up(user)
            endpoints = parse_as(
                EndpointSlice,
                {
                    "metadata": {
                        "name": "web-1",
                        "namespace": "shop",
                        "labels": {"kubernetes.io/service-name": "web"},
                    },
                    "addressType": "IPv4",
                    "endpoints": [{"addresses": [ip], "conditions": {"ready": True}}],
                    "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
                },
            )
            objects.put(endpoints)
            bench.runtime.perform(web, RunProbe("web", 0, ProbeKind.READINESS))
            await until(lambda: bench.runtime.facts(web).probes, "probed")
            assert bench.runtime.facts(web).probes[0].successes == 1, bench.runtime.facts(web).probes
            await bench.network.apply(service_rules([service], [endpoints]))
            server = DnsServer(Zone(objects), host_resolvers()[0])
            await server.start(plan.gateway)
            try:
                for url in (f"http://{cluster_ip}/", "http://127.0.0.1:31234/"):
                    assert await asyncio.to_thread(fetched, url) == b"ok\n", url
                ask = "wget -q -O - http://{}/"
                assert await bench.sh(user, "user", ask.format(cluster_ip)) == "ok\n"
                assert await bench.sh(web, "web", ask.format(cluster_ip)) == "ok\n"
                for name in ("web", "web.shop", "web.shop.svc.cluster.local"):
                    assert cluster_ip in await bench.sh(user, "user", f"/usr/bin/getent ahostsv4 {name}"), name
            finally:
                await server.close()

    asyncio.run(story())


def test_a_pod_outlives_its_runtime_is_adopted_stops_and_leaves_its_exit_code_and_log(state: Path) -> None:
    script = "trap 'echo bye; exit 7' TERM; echo hi; while true; do sleep 0.05; done"
    patient = pod("patient", {"name": "c", "command": ["sh", "-c", script]})

    async def story() -> None:
        objects = Objects()
        async with Bench(state, objects) as bench:
            await bench.up(patient)
            first = bench.last(patient, "c")
        async with Bench(state, objects) as bench:
            adopted = bench.last(patient, "c")
            assert adopted == first
            assert adopted is not None
            assert adopted.phase is ContainerPhase.RUNNING
            log = bench.runtime.log_path(patient.metadata.uid, "c")
            assert log is not None
            await until(lambda: b"hi" in log.read_bytes(), "log")
            bench.runtime.perform(patient, StopContainer("c", 0, 10, StopReason.POD_ENDS))
            await until(lambda: (end := bench.last(patient, "c")) and end.phase is ContainerPhase.EXITED, "stopped")
            ended = bench.last(patient, "c")
            assert ended is not None
            assert (ended.exit_code, ended.reason) == (7, "Error")
            assert b"bye" in log.read_bytes()
            bench.runtime.perform(patient, RemoveSandbox())
            await until(lambda: bench.runtime.facts(patient).sandbox is None, "removed")

    asyncio.run(story())


def test_cleanup_leaves_nothing_behind_of_a_cluster_whose_process_is_gone(state: Path) -> None:
    before = leftovers()

    async def story() -> None:
        async with Bench(state, Objects()) as bench:
            await bench.up(pod("web", {"name": "web", "command": ["sleep", "1000"]}))

    asyncio.run(story())
    assert leftovers() != before
    cleanup(state)
    assert leftovers() == before
    cleanup(state)
