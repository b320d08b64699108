"""The main job on the complete example: checked, its images built, run in real containers, serving over HTTP."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machines import Machine

ROOT = Path(__file__).parents[2]
SHOP = str(ROOT / "examples" / "shop")


def test_the_shop_is_proved() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "seatrial", "check", SHOP], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("✓ rollout/converges") == 2


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The running shop, its base image made of Debian's own packages."""
    machine = Machine(tmp_path_factory.mktemp("shop"))
    base = machine.directory / "base.tar"
    subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", "bookworm", base], check=True, timeout=300)
    machine.seatrial("image", "import", "--rootfs", str(base), "--tag", "debian:bookworm-slim")
    base.unlink()
    try:
        machine.seatrial("up", SHOP, "--nodes", "3", timeout_s=600)
        yield machine
    finally:
        machine.seatrial("down", "--images")


def address(machine: Machine) -> str:
    return machine.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")


def get(machine: Machine, path: str) -> str:
    with urllib.request.urlopen(f"http://{address(machine)}{path}", timeout=5) as answer:
        return str(answer.read().decode())


def pods_and_restarts(machine: Machine) -> list[str]:
    each = "{range .items[*]}{.metadata.name}={.status.containerStatuses[0].restartCount} {end}"
    return machine.kubectl("get", "pods", "-o", f"jsonpath={each}").split()


needs_mmdebstrap = pytest.mark.skipif(shutil.which("mmdebstrap") is None, reason="not installed: mmdebstrap")
needs_cargo = pytest.mark.skipif(shutil.which("cargo") is None, reason="not installed: cargo")


@pytest.mark.privileged
@needs_mmdebstrap
@needs_cargo
@pytest.mark.timeout(900)
class TestRunning:
    def test_it_serves_through_its_service_and_counts_in_redis(self, shop: Machine) -> None:
        first, second = get(shop, "/"), get(shop, "/")
        assert ": Welcome aboard" in first
        visits = [int(text.rpartition("visits: ")[2]) for text in (first, second)]
        assert visits[1] == visits[0] + 1

    def test_its_metrics_are_prometheus_text(self, shop: Machine) -> None:
        get(shop, "/")
        assert "# TYPE shop_http_requests_total counter" in get(shop, "/metrics")

    def test_a_change_of_the_config_map_arrives_without_a_restart(self, shop: Machine) -> None:
        before = pods_and_restarts(shop)
        patch = '{"data": {"shop.toml": "title = \\"The lighthouse\\""}}'
        shop.kubectl("patch", "configmap", "web", "--type=merge", "-p", patch)
        deadline = time.monotonic() + 60
        while "The lighthouse" not in get(shop, "/") and time.monotonic() < deadline:
            time.sleep(0.2)
        assert "The lighthouse" in get(shop, "/")
        # On a slow machine the autoscaler may add or take a pod meanwhile; the others stay, and none restarts.
        kept = set(before) & set(pods_and_restarts(shop))
        assert any(pod.startswith("web-") and pod.endswith("=0") for pod in kept)

    def test_without_its_store_it_is_not_ready_and_with_it_it_is_again(self, shop: Machine) -> None:
        shop.kubectl("scale", "deployment/store", "--replicas=0")
        shop.kubectl("wait", "deployment/web", "--for=jsonpath={.status.unavailableReplicas}=2", "--timeout=60s")
        with pytest.raises(urllib.error.URLError):
            get(shop, "/")
        shop.kubectl("scale", "deployment/store", "--replicas=1")
        shop.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        assert "visits" in get(shop, "/")
        assert all(each.endswith("=0") for each in pods_and_restarts(shop)), "the new store has the old one's address"

    def test_kinds_that_are_not_executed_are_served_all_the_same(self, shop: Machine) -> None:
        kinds = "hpa,pdb,networkpolicy,servicemonitor"
        names = shop.kubectl("get", kinds, "-o", "name").split()
        assert names == [
            "horizontalpodautoscaler.autoscaling/web",
            "poddisruptionbudget.policy/web",
            "networkpolicy.networking.k8s.io/store",
            "servicemonitor.monitoring.coreos.com/web",
        ]

    def test_a_restart_rolls_out_and_it_serves_again(self, shop: Machine) -> None:
        shop.kubectl("rollout", "restart", "deployment/web")
        shop.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        assert "visits" in get(shop, "/")
