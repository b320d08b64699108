"""A user's shell for tests that call the commands: a state directory of its own, `seatrial` and the real kubectl."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

from seatrial.image import Layer, Store

KUBECTL = Path(sys.executable).with_name("kubectl")

WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: web:1
          ports: [{containerPort: 8080, name: http}]
          readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: http}]
"""


class Machine:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = directory / "state"
        self.manifests = directory / "web.yaml"
        self.manifests.write_text(WEB)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SEATRIAL_STATE": str(self.state)}

    @property
    def pid(self) -> int:
        return int((self.state / "run" / "pid").read_text())

    def start(self, *words: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """`seatrial WORDS`, running."""
        return subprocess.Popen(
            [sys.executable, "-m", "seatrial", *words],
            env={**self.environment, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def seatrial(
        self, *words: str, code: int = 0, environment: dict[str, str] | None = None, timeout_s: float = 90
    ) -> str:
        """What it said; the exit code is asserted, and what was said shows when it differs."""
        with self.start(*words, environment=environment) as process:
            try:
                said, _ = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        assert process.returncode == code, f"exit code {process.returncode}\n{said}"
        return said

    def kubectl(self, *words: str) -> str:
        kubeconfig = self.state / "cluster" / "kubeconfig"
        done = subprocess.run(
            [KUBECTL, "--kubeconfig", kubeconfig, "--cache-dir", self.directory / "cache", *words],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def web_image(self, tag: str = "web:1") -> None:
        """An image with a static busybox that serves one page on port 8080."""
        busybox = Path("/bin/busybox").read_bytes()
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name in ("bin", "etc", "tmp", "www"):
                directory = tarfile.TarInfo(name)
                directory.type, directory.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(directory)
            for name, content in (("bin/busybox", busybox), ("www/index.html", b"aboard\n")):
                file = tarfile.TarInfo(name)
                file.size, file.mode = len(content), 0o755
                archive.addfile(file, io.BytesIO(content))
        layer = buffer.getvalue()
        store = Store(self.state / "images")
        digest = store.put(layer)
        command = ["/bin/busybox", "httpd", "-f", "-v", "-p", "8080", "-h", "/www"]
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": command},
            "rootfs": {"type": "layers", "diff_ids": [digest]},
        }
        store.tag(tag, store.put_image(config, [Layer(digest=digest, diff_id=digest, size=len(layer))]))
