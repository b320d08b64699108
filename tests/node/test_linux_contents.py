"""What real containers find and may do: volumes of all kinds, the machine's network and devices, hooks, a reboot."""

from __future__ import annotations

import asyncio
import os
from datetime import datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from seatrial.control.lifecycle.facts import (
    ContainerPhase,
    CreateSandbox,
    StartContainer,
    StopContainer,
    StopReason,
)
from seatrial.control.reach import host_port_rules
from seatrial.kube.objects import ConfigMap, Secret, parse_as
from seatrial.node.linux import machine as machines
from seatrial.node.linux import mounts
from tests.node.test_linux_runtime import Bench, Objects, fetched, pod, state, until

pytestmark = pytest.mark.privileged
__all__ = ["state"]  # the fixture

SLEEP = ["sleep", "1000"]


def test_volumes_show_what_they_should_to_whom_they_should_and_follow_changes(state: Path) -> None:
    """emptyDir with fsGroup, subPath and subPathExpr, projected, downwardAPI with an amount of resources."""
    config = parse_as(
        ConfigMap, {"metadata": {"name": "cfg", "namespace": "shop"}, "data": {"color": "red", "size": "L"}}
    )
    secret = parse_as(Secret, {"metadata": {"name": "key", "namespace": "shop"}, "data": {"word": "cGVhcmw="}})
    labels = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    amount = {
        "path": "most",
        "resourceFieldRef": {"containerName": "web", "resource": "limits.memory", "divisor": "1Mi"},
    }
    sources = [
        {"configMap": {"name": "cfg", "items": [{"key": "color", "path": "paint/color", "mode": 0o400}]}},
        {"secret": {"name": "key"}},
        {"downwardAPI": {"items": [labels]}},
    ]
    mounts_of_web = [
        {"name": "scratch", "mountPath": "/scratch"},
        {"name": "scratch", "mountPath": "/part", "subPath": "a/b"},
        {"name": "scratch", "mountPath": "/own", "subPathExpr": "$(NAME)/c"},
        {"name": "all", "mountPath": "/all"},
        {"name": "me", "mountPath": "/me"},
        {"name": "cfg", "mountPath": "/one/size", "subPath": "size"},
    ]
    web = pod(
        "web",
        {
            "name": "web",
            "command": SLEEP,
            "env": [{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "resources": {"limits": {"memory": "64Mi"}},
            "volumeMounts": mounts_of_web,
            "securityContext": {"runAsUser": 1001, "runAsGroup": 1002},
        },
        securityContext={"fsGroup": 2000},
        volumes=[
            {"name": "scratch", "emptyDir": {}},
            {"name": "all", "projected": {"sources": sources}},
            {"name": "me", "downwardAPI": {"items": [labels, amount]}},
            {"name": "cfg", "configMap": {"name": "cfg"}},
        ],
    )
    objects = Objects(config, secret)

    async def story() -> None:
        async with Bench(state, objects) as bench:
            await bench.up(web)

            async def sh(script: str) -> str:
                return (await bench.sh(web, "web", script)).strip()

            assert await sh("id") == "uid=1001(web) gid=1002 groups=2000"
            assert await sh("stat -c '%a %g' /scratch") == "2777 2000"
            assert await sh("echo x > /scratch/mine; stat -c '%u %g' /scratch/mine") == "1001 2000"
            assert await sh("cat /all/paint/color /all/word") == "redpearl"
            assert await sh("stat -L -c '%a %g' /all/paint/color /all/word") == "440 2000\n644 2000"
            assert await sh("cat /me/labels /me/most") == 'app="web"64'
            assert await sh("cat /one/size") == "L"
            assert await sh("ls /scratch") == "a\nmine\nweb"
            assert (state / "pods/uid-web/volumes/scratch/web/c").is_dir()
            objects.put(replace(web, metadata=replace(web.metadata, labels={"app": "web", "tier": "front"})))
            assert await sh("cat /me/labels /all/labels") == 'app="web"\ntier="front"app="web"\ntier="front"'
            objects.put(replace(config, data={"color": "blue", "size": "XL"}))
            assert await sh("cat /all/paint/color") == "blue"
            assert await sh("cat /one/size") == "L", "a subPath of a file stays as it was, as upstream"

    asyncio.run(story())


def test_a_sub_path_that_leads_out_of_its_volume_keeps_the_container_from_starting(state: Path) -> None:
    (state / "data").mkdir()
    (state / "data" / "away").symlink_to("/etc")
    mount = {"name": "data", "mountPath": "/data", "subPath": "away"}
    volume = {"name": "data", "hostPath": {"path": str(state / "data")}}
    web = pod("web", {"name": "web", "command": SLEEP, "volumeMounts": [mount]}, volumes=[volume])

    async def story() -> None:
        async with Bench(state, Objects()) as bench:
            bench.runtime.perform(web, CreateSandbox())
            await until(lambda: bench.runtime.facts(web).sandbox, "sandbox")
            bench.runtime.perform(web, StartContainer("web", 0))
            await until(lambda: bench.runtime.facts(web).problems, "a problem")
            problem = bench.runtime.facts(web).problems["web"]
            assert (problem.reason, problem.message) == (
                "CreateContainerConfigError",
                "subPath away leads out of its volume",
            )

    asyncio.run(story())


def test_the_machines_network_and_its_devices_are_there_for_whom_they_are_asked(state: Path) -> None:
    inside = pod("inside", {"name": "web", "command": SLEEP})
    powers = {"privileged": True}
    outside = pod("outside", {"name": "web", "command": SLEEP, "securityContext": powers}, hostNetwork=True)

    async def story() -> None:
        async with Bench(state, Objects()) as bench:
            own_ip, host_ip = await bench.up(inside), await bench.up(outside)
            assert own_ip != host_ip == bench.network.addresses.gateway
            bridge = f"/sys/class/net/{bench.network.machine.bridge}"
            assert await bench.sh(outside, "web", f"test -e {bridge} && echo there") == "there\n"
            assert await bench.sh(inside, "web", f"test -e {bridge} || echo not") == "not\n"
            assert (await bench.sh(outside, "web", "hostname")).strip() == os.uname().nodename
            assert (await bench.sh(inside, "web", "hostname")).strip() == "inside"
            held = "grep CapEff /proc/self/status"
            mine = next(line for line in Path("/proc/self/status").read_text().splitlines() if "CapBnd" in line)
            assert (await bench.sh(outside, "web", held)).split()[1] == mine.split()[1]
            assert (await bench.sh(inside, "web", held)).split()[1] == "00000000a80425fb", "the usual ones"
            assert await bench.sh(outside, "web", "mount -t tmpfs none /tmp && echo mounted") == "mounted\n"
            assert await bench.sh(inside, "web", "mount -t tmpfs none /tmp 2> /dev/null || echo refused") == "refused\n"
            devices = {path.name for path in Path("/dev").iterdir() if path.is_char_device() or path.is_block_device()}
            seen = set((await bench.sh(outside, "web", "ls /dev")).split())
            assert devices - {"console"} <= seen
            assert "kmsg" not in (await bench.sh(inside, "web", "ls /dev")).split()

    asyncio.run(story())


def test_an_http_hook_is_called_before_the_stop_signal(state: Path) -> None:
    hook = {"preStop": {"httpGet": {"path": "/bye", "port": 8080}}}
    serve = "trap 'echo told to stop; exit 0' TERM; httpd -f -vv -p 8080 -h /tmp & while :; do sleep 0.1; done"
    web = pod("web", {"name": "web", "command": ["sh", "-c", serve], "lifecycle": hook})

    async def story() -> None:
        async with Bench(state, Objects()) as bench:
            await bench.up(web)
            log = bench.runtime.log_path("uid-web", "web")
            assert log is not None
            listening = "wget -q -O - http://127.0.0.1:8080/ping; test $? = 1 && echo yes"
            await until(lambda: log.exists(), "a log")
            assert "yes" in await bench.sh(web, "web", f"until {listening}; do sleep 0.1; done 2> /dev/null")
            bench.runtime.perform(web, StopContainer("web", 0, 10, StopReason.POD_ENDS))
            await until(lambda: bench.last(web, "web").finished_at, "the end")  # type: ignore[union-attr]
            await until(lambda: all(text in log.read_text() for text in ("/bye", "told to stop")), "both in the log")
            said = log.read_text()
            assert 0 < said.index("/bye") < said.index("told to stop")
            ended = bench.last(web, "web")
            assert ended is not None
            assert (ended.exit_code, ended.stopped_for) == (0, StopReason.POD_ENDS)

    asyncio.run(story())


def test_after_a_reboot_what_ran_is_of_unknown_end_and_begins_again(state: Path) -> None:
    web = pod("web", {"name": "web", "command": ["sh", "-c", "echo up; exec sleep 1000"]})

    async def story() -> None:
        async with Bench(state, Objects()) as bench:
            before = await bench.up(web)
        machine = bench.network.machine
        machines._kill(machine)
        for target in (*mounts.below(machine.run), *mounts.below(machine.pods)):
            mounts.unmount(target)
        bench.runtime = bench.new_runtime()
        async with bench:
            facts = bench.runtime.facts(web)
            (lost,) = facts.containers
            assert (facts.sandbox, lost.phase) == (None, ContainerPhase.EXITED)
            assert (lost.exit_code, lost.reason, lost.attempt) == (255, "Unknown", 0)
            assert isinstance(lost.finished_at, datetime)
            bench.runtime.perform(web, CreateSandbox())
            await until(lambda: bench.runtime.facts(web).sandbox, "a sandbox again")
            assert bench.runtime.facts(web).sandbox.ip == before  # type: ignore[union-attr]
            bench.runtime.perform(web, StartContainer("web", 1))
            await until(lambda: len(bench.runtime.facts(web).containers) == 2, "the next attempt")
            assert await bench.sh(web, "web", "cat /etc/hostname 2> /dev/null; hostname") == "web\n"
            previous = bench.runtime.log_path("uid-web", "web", previous=True)
            assert previous is not None
            assert previous.read_text().rstrip().endswith("up")

    asyncio.run(story())


def test_a_host_port_is_reached_on_the_machine_and_from_other_pods(state: Path) -> None:
    port = {"containerPort": 8080, "hostPort": 31235}
    serve = "cd /tmp; echo aboard > index.html; exec httpd -f -p 8080"
    web = pod("web", {"name": "web", "command": ["sh", "-c", serve], "ports": [port]})
    other = pod("other", {"name": "web", "command": SLEEP})

    async def story() -> None:
        async with Bench(state, Objects()) as bench:
            ip = await bench.up(web)
            await bench.up(other)
            await bench.network.apply(host_port_rules([replace(web, status=replace(web.status, pod_ip=ip))], ()))
            served = f"until wget -q -O - http://{ip}:8080/; do sleep 0.1; done 2> /dev/null"
            assert await bench.sh(other, "web", served) == "aboard\n"
            gateway = bench.network.addresses.gateway
            assert await bench.sh(other, "web", f"wget -q -O - http://{gateway}:31235/") == "aboard\n"
            for address in ("127.0.0.1", gateway):
                assert await asyncio.to_thread(fetched, f"http://{address}:31235/") == b"aboard\n"

    asyncio.run(story())
