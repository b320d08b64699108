"""What users do with kubectl, by the newest and by the oldest kubectl: the commands, and what they are told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.machines import KUBECTL, WEB, Machine

OLDEST = Path(sys.prefix) / "kubectl-oldest" / "kubectl"
SETTINGS = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {colour: blue}\n"
PROBE = "          readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}\n"
TALKATIVE = '          command: [/bin/busybox, httpd, -f, -vv, -p, "8080", -h, /www]\n'


class Kubectl:
    """One kubectl on one cluster."""

    def __init__(self, program: Path, machine: Machine) -> None:
        self.machine = machine
        cache = machine.directory / f"cache-{program.parent.name}"
        kubeconfig = machine.state / "cluster" / "kubeconfig"
        self._command = [str(program), "--kubeconfig", str(kubeconfig), "--cache-dir", str(cache)]

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self._command, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=os.sep
        )

    def __call__(self, *words: str, stdin: str = "", code: int = 0) -> str:
        """What it said; the exit code is asserted."""
        done = subprocess.run(
            [*self._command, *words], input=stdin, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == code, f"exit code {done.returncode} of {words}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def field(self, what: str, path: str) -> str:
        return self("get", *what.split(), "-o", f"jsonpath={{{path}}}")


class Following:
    """A kubectl that goes on printing."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.text = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.text += line

    def ended(self, seconds: float = 30) -> bool:
        self._reader.join(seconds)
        return not self._reader.is_alive()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


def comes(what: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def clients(machine: Machine, program: Path) -> Kubectl:
    if not program.exists():
        pytest.skip(f"{program} is not there: ./dev set-up installs it on Linux on x86-64")
    return Kubectl(program, machine)


PROGRAMS = pytest.mark.parametrize("program", [KUBECTL, OLDEST], ids=["newest", "oldest"])


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("simulated"))
    settings = machine.directory / "settings.yaml"
    settings.write_text(SETTINGS)
    try:
        machine.seatrial("up", str(settings), "--simulate", "--nodes", "2")
        yield machine
    finally:
        machine.seatrial("down", "--images")


@pytest.fixture
def kubectl(simulated: Machine, program: Path) -> Iterator[Kubectl]:
    """With the Deployment and the Service `web` up; without them afterwards."""
    kubectl = clients(simulated, program)
    kubectl("apply", "-f", "-", stdin=WEB)
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    yield kubectl
    kubectl("delete", "deployments,services", "web", "--ignore-not-found")
    kubectl("delete", "pods,replicasets", "--all", "--timeout=30s")


@PROGRAMS
class TestOnSimulatedNodes:
    def test_apply_says_what_it_did(self, simulated: Machine, program: Path) -> None:
        kubectl = clients(simulated, program)
        assert kubectl("apply", "-f", "-", stdin=WEB) == "deployment.apps/web created\nservice/web created\n"
        assert kubectl("apply", "-f", "-", stdin=WEB) == "deployment.apps/web unchanged\nservice/web unchanged\n"
        changed = WEB.replace("replicas: 3", "replicas: 2")
        assert kubectl("apply", "-f", "-", stdin=changed) == "deployment.apps/web configured\nservice/web unchanged\n"
        assert kubectl.field("deployment web", ".spec.replicas") == "2"
        said = kubectl("delete", "-f", "-", stdin=WEB)
        assert 'deployment.apps "web" deleted' in said
        assert 'service "web" deleted' in said

    def test_apply_refuses_a_field_that_does_not_exist(self, kubectl: Kubectl) -> None:
        said = kubectl("apply", "-f", "-", stdin=WEB.replace("replicas: 3", "replicaz: 3"), code=1)
        assert 'unknown field "' in said
        assert "replicaz" in said

    def test_server_side_apply_says_that_it_is_not_served(self, kubectl: Kubectl) -> None:
        said = kubectl("apply", "--server-side", "-f", "-", stdin=WEB, code=1)
        assert "use `kubectl apply` without --server-side" in said

    def test_a_dry_run_and_a_diff_change_nothing(self, kubectl: Kubectl) -> None:
        changed = WEB.replace("replicas: 3", "replicas: 5")
        assert "configured (server dry run)" in kubectl("apply", "--dry-run=server", "-f", "-", stdin=changed)
        difference = kubectl("diff", "-f", "-", stdin=changed, code=1)
        assert "-  replicas: 3" in difference
        assert "+  replicas: 5" in difference
        assert kubectl("diff", "-f", "-", stdin=WEB) == ""
        assert kubectl.field("deployment web", ".spec.replicas") == "3"

    def test_get_shows_tables_wide_yaml_and_json(self, kubectl: Kubectl) -> None:
        head, row = kubectl("get", "deployment", "web").splitlines()
        assert head.split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
        assert row.split()[:4] == ["web", "3/3", "3", "3"]
        head, *rows = kubectl("get", "pods", "-o", "wide").splitlines()
        assert head.split()[:7] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
        assert {row.split()[6] for row in rows} == {"node-1", "node-2"}
        assert "readinessProbe:" in kubectl("get", "deployment", "web", "-o", "yaml")
        assert json.loads(kubectl("get", "deployment", "web", "-o", "json"))["status"]["readyReplicas"] == 3
        everything = kubectl("get", "all")
        for name in ("pod/web-", "service/web", "deployment.apps/web", "replicaset.apps/web-"):
            assert name in everything

    def test_a_watch_shows_the_change(self, kubectl: Kubectl) -> None:
        watch = Following(kubectl.start("get", "deployment", "web", "-w"))
        try:
            assert comes(lambda: "3/3" in watch.text)
            kubectl("scale", "deployment/web", "--replicas=1")
            assert comes(lambda: "1/1" in watch.text), watch.text
        finally:
            watch.stop()

    def test_describe_ends_in_the_events(self, kubectl: Kubectl) -> None:
        deployment = kubectl("describe", "deployment", "web")
        assert "3 desired | 3 updated | 3 total | 3 available | 0 unavailable" in deployment
        assert "MinimumReplicasAvailable" in deployment
        assert "ScalingReplicaSet" in deployment.partition("Events:")[2]
        pod = kubectl.field("pods", ".items[0].metadata.name")
        events = kubectl("describe", "pod", pod).partition("Events:")[2]
        reasons = [line.split()[1] for line in events.splitlines() if line.strip().startswith("Normal")]
        assert reasons[:4] == ["Scheduled", "Pulled", "Created", "Started"]
        assert f"Successfully assigned default/{pod} to node-" in events
        listed = kubectl("get", "events")
        assert f"pod/{pod}" in listed
        assert "SuccessfulCreate" in listed

    def test_rollouts_are_followed_restarted_listed_and_undone(self, kubectl: Kubectl) -> None:
        image = ".spec.template.spec.containers[0].image"
        assert "image updated" in kubectl("set", "image", "deployment/web", "web=web:2")
        assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=30s")
        assert kubectl.field("deployment web", image) == "web:2"
        history = kubectl("rollout", "history", "deployment/web").splitlines()
        assert [line.split()[0] for line in history if line[:1].isdigit()] == ["1", "2"]
        assert "web:1" in kubectl("rollout", "history", "deployment/web", "--revision=1")
        assert "rolled back" in kubectl("rollout", "undo", "deployment/web")
        assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=30s")
        assert kubectl.field("deployment web", image) == "web:1"
        assert "restarted" in kubectl("rollout", "restart", "deployment/web")
        assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=30s")
        assert kubectl.field("deployment web", ".metadata.annotations['deployment\\.kubernetes\\.io/revision']") == "4"

    def test_scale_and_wait(self, kubectl: Kubectl) -> None:
        assert "deployment.apps/web scaled" in kubectl("scale", "deployment/web", "--replicas=5")
        kubectl("rollout", "status", "deployment/web", "--timeout=30s")
        said = kubectl("wait", "deployment/web", "--for=condition=Available", "--timeout=30s")
        assert said == "deployment.apps/web condition met\n"
        assert len(kubectl("get", "pods", "-l", "app=web", "-o", "name").split()) == 5
        kubectl("delete", "deployment", "web")
        assert comes(lambda: "No resources found" in kubectl("get", "pods"))

    def test_a_configmap_is_created_labelled_annotated_patched_and_deleted(
        self, simulated: Machine, program: Path
    ) -> None:
        kubectl = clients(simulated, program)
        assert "created" in kubectl("create", "configmap", "port", "--from-literal=colour=red")
        assert "already exists" in kubectl("create", "configmap", "port", "--from-literal=colour=red", code=1)
        assert "labeled" in kubectl("label", "configmap", "port", "ship=sloop")
        assert "annotated" in kubectl("annotate", "configmap", "port", "note=moored")
        assert "patched" in kubectl("patch", "configmap", "port", "-p", '{"data":{"depth":"4"}}')
        assert kubectl("get", "configmaps", "-l", "ship=sloop", "-o", "name") == "configmap/port\n"
        assert json.loads(kubectl("get", "configmap", "port", "-o", "json"))["data"] == {"colour": "red", "depth": "4"}
        assert kubectl.field("configmap port", ".metadata.annotations.note") == "moored"
        assert 'configmap "port" deleted' in kubectl("delete", "configmap", "port")
        assert 'configmaps "port" not found' in kubectl("get", "configmap", "port", code=1)

    def test_the_api_explains_itself(self, simulated: Machine, program: Path) -> None:
        kubectl = clients(simulated, program)
        resources = kubectl("api-resources")
        for line in (["deployments", "deploy", "apps/v1", "true", "Deployment"], ["pods", "po", "v1", "true", "Pod"]):
            assert line in [row.split() for row in resources.splitlines()]
        explained = kubectl("explain", "pod.spec.containers")
        assert "<[]Container>" in explained or "<[]Object>" in explained
        assert "livenessProbe" in explained
        assert "Deployment enables declarative updates for Pods and ReplicaSets." in kubectl("explain", "deployment")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("real"))
    machine.web_image()
    machine.manifests.write_text(WEB.replace("replicas: 3", "replicas: 1").replace(PROBE, TALKATIVE))
    try:
        machine.seatrial("up", str(machine.manifests))
        yield machine
    finally:
        machine.seatrial("down", "--images")


@pytest.mark.privileged
class TestLogsOfRealContainers:
    @PROGRAMS
    def test_logs_are_shown_cut_followed_and_kept_after_a_death(self, real: Machine, program: Path) -> None:
        kubectl = clients(real, program)
        pod = kubectl.field("pods -l app=web", ".items[0].metadata.name")
        for name in ("first", "second"):
            self.request(kubectl, name)
        assert comes(lambda: "second" in kubectl("logs", pod))
        assert kubectl("logs", "deployment/web") == kubectl("logs", pod)
        last = kubectl("logs", pod, "--tail=1").splitlines()
        assert last == kubectl("logs", pod).splitlines()[-1:]
        stamp, _, text = kubectl("logs", pod, "--tail=1", "--timestamps").rstrip("\n").partition(" ")
        assert text == last[0]
        assert stamp[:2] == "20"
        assert kubectl("logs", pod, f"--since-time={stamp}", "--tail=1").splitlines() == last
        assert kubectl("logs", pod, "--since-time=2999-01-01T00:00:00Z") == ""
        assert kubectl("logs", pod, "--since=1h") == kubectl("logs", pod)
        assert "previous terminated container" in kubectl("logs", pod, "--previous", code=1)

        follower = Following(kubectl.start("logs", "-f", pod, "--tail=1"))
        try:
            assert comes(lambda: bool(follower.text))
            self.request(kubectl, "third")
            assert comes(lambda: "third" in follower.text), follower.text
            assert "second" not in follower.text

            os.kill(self.server(real), signal.SIGKILL)
            restarts = ".status.containerStatuses[0].restartCount"
            assert comes(lambda: kubectl.field(f"pod {pod}", restarts) == "1")
            assert follower.ended(), "logs -f goes on after its container died"
            assert "third" in kubectl("logs", pod, "--previous")
            kubectl("wait", "pod", pod, "--for=condition=Ready", "--timeout=30s")
            assert "third" not in kubectl("logs", pod)
        finally:
            follower.stop()

        follower = Following(kubectl.start("logs", "-f", pod))
        try:
            self.request(kubectl, "fourth")
            assert comes(lambda: "fourth" in follower.text), follower.text
            kubectl("delete", "pod", pod, "--grace-period=1")
            assert follower.ended(), "logs -f goes on after its pod was deleted"
        finally:
            follower.stop()
        kubectl("rollout", "status", "deployment/web", "--timeout=30s")

    def request(self, kubectl: Kubectl, name: str) -> None:
        """Ask the pod for a page of this name, which it does not have; the name is in the log then."""
        address = kubectl.field("pods -l app=web", ".items[0].status.podIP")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://{address}:8080/{name}", timeout=5)
        refused.value.close()

    def server(self, machine: Machine) -> int:
        monitors = subprocess.run(
            ["pgrep", "-f", f"conmon.*{machine.state}"], capture_output=True, text=True, check=False
        )
        for monitor in monitors.stdout.split():
            found = subprocess.run(["pgrep", "-P", monitor, "busybox"], capture_output=True, text=True, check=False)
            if found.stdout:
                return int(found.stdout)
        raise AssertionError("no container of this cluster runs")
