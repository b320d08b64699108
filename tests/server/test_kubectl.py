"""The server as real kubectl sees it: the newest from PyPI and, if there is one, the machine's own."""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from seatrial.kube.objects import JsonObject
from seatrial.server.api import Api
from seatrial.server.http import ServeError, serve
from seatrial.server.pki import Pki
from seatrial.server.requests import LogQuery
from seatrial.server.store import Store

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "web:1"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {nodeName: node-1, containers: [{name: c, image: i}]}
"""
CLIENTS = sorted({str(Path(sys.executable).with_name("kubectl")), "/usr/bin/kubectl"})


class Lines:
    def lines(self, pod: JsonObject, query: LogQuery) -> AsyncIterator[bytes]:
        async def stream() -> AsyncIterator[bytes]:
            for line in (b"one\n", b"two\n")[-(query.tail_lines or 2) :]:
                yield line

        return stream()


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki.ensure(tmp_path_factory.mktemp("pki"))


async def session(client: str, pki: Pki, directory: Path, script: list[tuple[str, str]]) -> list[str]:
    """Run the commands one after another; gives each one's output."""
    api = Api(Store.open(directory / "x.db"), logs=Lines(), disabled_plugins=("ServiceAccount",))
    outputs = []
    async with serve(api, "127.0.0.1", 0, pki) as port:
        pki.write_kubeconfig(directory / "kubeconfig", f"https://127.0.0.1:{port}")
        environment = {"KUBECONFIG": str(directory / "kubeconfig"), "HOME": str(directory)}
        for command, stdin in script:
            process = await asyncio.create_subprocess_exec(
                client, *command.split(), env=environment, stdin=-1, stdout=-1, stderr=asyncio.subprocess.STDOUT
            )
            output, _ = await process.communicate(stdin.encode())
            outputs.append(output.decode())
    api.store.close()
    return outputs


@pytest.mark.parametrize("client", CLIENTS)
def test_kubectl_applies_shows_changes_and_deletes(client: str, pki: Pki, tmp_path: Path) -> None:
    if not shutil.which(client):
        pytest.skip(f"{client} is not installed")
    script = [
        ("apply -f -", MANIFEST, "pod/p created"),
        ("apply -f -", MANIFEST, "deployment.apps/web unchanged"),
        ("api-resources", "", "deployments"),
        ("get deploy -o wide", "", "web:1"),
        ("scale deploy/web --replicas=3", "", "deployment.apps/web scaled"),
        ("set image deploy/web web=web:2", "", "image updated"),
        ("rollout restart deploy/web", "", "restarted"),
        ("get deploy web -o yaml", "", "image: web:2"),
        ("describe deploy web", "", "3 desired"),
        ("logs p --tail=1", "", "two\n"),
        ("wait --for=jsonpath={.spec.replicas}=3 deploy/web --timeout=10s", "", "condition met"),
        ("explain deployment.spec.replicas", "", "Number of desired pods"),
        ("delete deploy web", "", 'deployment.apps "web" deleted'),
        ("get deploy web", "", "NotFound"),
    ]
    outputs = asyncio.run(session(client, pki, tmp_path, [step[:2] for step in script]))
    for (command, _, expected), output in zip(script, outputs, strict=True):
        assert expected in output, command


def test_a_port_in_use_is_explained(pki: Pki) -> None:
    async def twice() -> None:
        api = Api(Store.open(":memory:"), disabled_plugins=("ServiceAccount",))
        async with serve(api, "127.0.0.1", 0, pki) as port, serve(api, "127.0.0.1", port, pki):
            pass

    with pytest.raises(ServeError, match="is in use"):
        asyncio.run(twice())
