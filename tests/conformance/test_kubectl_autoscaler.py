"""What `kubectl top`, `kubectl get hpa` and `kubectl describe hpa` say of a simulated cluster that scales."""

from __future__ import annotations

import asyncio
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from seatrial.cluster.metrics import Usage
from seatrial.cluster.virtual import VirtualCluster
from seatrial.kube.objects import Container, Pod
from seatrial.server.http import serve
from seatrial.server.pki import Pki
from tests.conformance.test_kubectl import OLDEST
from tests.machines import KUBECTL

RESOURCES = {"requests": {"cpu": "200m"}}
CONTAINER = {"name": "app", "image": "app:1", "resources": RESOURCES}
WEB = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [CONTAINER]}},
    },
}
TARGET = {"type": "Utilization", "averageUtilization": 50}
SCALER: dict[str, Any] = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "web"},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "maxReplicas": 10,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": TARGET}}],
    },
}


def busy(pod: Pod, container: Container, at: datetime) -> Usage:
    return Usage(cores=0.15, memory_bytes=96 << 20)


async def said(program: Path, cluster: VirtualCluster, directory: Path, *commands: str) -> list[str]:
    pki = Pki.ensure(directory / "pki")
    outputs = []
    async with serve(cluster.api, "127.0.0.1", 0, pki) as port:
        pki.write_kubeconfig(directory / "kubeconfig", f"https://127.0.0.1:{port}")
        environment = {**os.environ, "KUBECONFIG": str(directory / "kubeconfig"), "HOME": str(directory)}
        for command in commands:
            process = await asyncio.create_subprocess_exec(
                program, *command.split(), env=environment, stdout=-1, stderr=asyncio.subprocess.STDOUT
            )
            output, _ = await process.communicate()
            outputs.append(output.decode())
    return outputs


@pytest.mark.parametrize("program", [KUBECTL, OLDEST], ids=["newest", "oldest"])
def test_scaling_seen_through_kubectl(program: Path, tmp_path: Path) -> None:
    if not program.exists():
        pytest.skip(f"{program} is not there: ./dev set-up installs it on Linux on x86-64")
    cluster = VirtualCluster(nodes=1, load=busy)
    cluster.apply([WEB])
    cluster.advance(timedelta(seconds=60))
    cluster.apply([SCALER])
    cluster.advance(timedelta(seconds=10))
    pods, nodes, listed, described, posted = asyncio.run(
        said(
            program,
            cluster,
            tmp_path,
            "top pods",
            "top nodes",
            "get hpa",
            "describe hpa web",
            "delete pods.metrics.k8s.io --all",
        )
    )
    assert [line.split()[1:] for line in pods.splitlines()[1:]] == [["150m", "96Mi"]] * 2, pods
    assert nodes.splitlines()[1].split() == ["node-1", "300m", "7%", "192Mi", "2%"], nodes
    assert listed.splitlines()[1].split()[:7] == ["web", "Deployment/web", "cpu:", "75%/50%", "1", "10", "2"], listed
    words = " ".join(described.split())
    if program == OLDEST:  # which asks for autoscaling/v1
        assert "Target CPU utilization: 50% Current CPU utilization: 75%" in words
    else:
        assert "resource cpu on pods (as a percentage of request): 75% (150m) / 50%" in words
        assert "AbleToScale True SucceededRescale" in words
    assert "Deployment pods: 2 current / 3 desired" in words
    assert "New size: 3; reason: cpu resource utilization (percentage of request) above target" in described
    assert "the server does not allow this method on the requested resource" in posted
