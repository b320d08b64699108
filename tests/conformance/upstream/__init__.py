"""Kubernetes itself, to compare with: etcd, kube-apiserver, kube-controller-manager and kube-scheduler on this machine.

They are compiled once, from the Go module in this directory, into the user's cache, and run as plain processes on free
ports of 127.0.0.1. Needs Go 1.26 and, the first time, the Go module proxy and some minutes. `go.mod` is that
of the newest version; `v1.N.mod` makes the same module one of an older version. A package with a go.mod of its own is
a program of another project, with the versions that one was released with.

    with Upstream.start() as upstream:
        client = Client(upstream.kubeconfig)
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final
from urllib.error import URLError

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from seatrial.server.pki import Pki

SOURCE: Final = Path(__file__).resolve().parent
NEWEST: Final = 37
MINORS: Final = (30, 32, NEWEST)
"""The versions 1.x that can be compiled."""
CONTROL_PLANE: Final = ("etcd", "kube-apiserver", "kube-controller-manager")
_VERSION_PACKAGE: Final = "k8s.io/component-base/version"


class UpstreamError(Exception):
    """It could not be built, or did not come up; the message holds the end of what it said."""


def requirements(minor: int) -> Path:
    """The go.mod of a version."""
    return SOURCE / ("go.mod" if minor == NEWEST else f"v1.{minor}.mod")


def version(minor: int = NEWEST) -> str:
    """The release that stands for 1.`minor`, such as v1.37.2."""
    found = re.search(r"^\tk8s\.io/kubernetes (v\S+)$", requirements(minor).read_text(), re.MULTILINE)
    assert found, "a go.mod that requires k8s.io/kubernetes"
    return found[1]


def build(package: str = "kube", minor: int = NEWEST) -> Path:
    """The program made from a package of the Go module, compiled if the cache lacks it. Raises `UpstreamError`."""
    own = SOURCE / package / "go.mod"
    release, modules = version(minor), own if own.exists() else requirements(minor)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seatrial" / f"upstream-{release}"
    sources = sorted([modules, modules.with_suffix(".sum"), *(SOURCE / package).rglob("*.go")])
    state = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    program = cache / f"{package}-{state}"
    if program.exists():
        return program
    if not shutil.which("go"):
        raise UpstreamError("upstream is compiled from source, and there is no `go` in PATH: install Go 1.26 or newer")
    cache.mkdir(parents=True, exist_ok=True)
    facts = {"gitVersion": release, "gitMajor": "1", "gitMinor": str(minor), "gitTreeState": "clean"}
    flags = " ".join(["-s -w", *(f"-X {_VERSION_PACKAGE}.{key}={value}" for key, value in facts.items())])
    temporary = program.with_name(f".{program.name}.{os.getpid()}")
    command = ["go", "build", f"-modfile={modules.name}", "-trimpath", "-ldflags", flags, "-o", str(temporary)]
    if minor != NEWEST:
        command.append(f"-tags=v1_{minor}")
    command.append("." if own.exists() else f"./{package}")
    done = subprocess.run(
        command, cwd=modules.parent, env={**os.environ, "CGO_ENABLED": "0"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UpstreamError(f"in {modules.parent}: {' '.join(command)}\n{done.stderr[-2000:]}")
    for older in cache.glob(f"{package}-*"):
        older.unlink(missing_ok=True)
    temporary.replace(program)
    return program


class Upstream:
    """One running control plane; `kubeconfig` is its administrator's way in, `directory` holds its data and logs."""

    def __init__(self, directory: Path, port: int = 0, minor: int = NEWEST) -> None:
        self.directory = directory
        self.minor = minor
        self.pki = Pki.ensure(directory / "pki")
        self.port = port or _free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.kubeconfig = directory / "kubeconfig"
        self._tokens_key = directory / "tokens.key"
        self._tokens_key.write_bytes(_new_key())
        self.pki.write_kubeconfig(self.kubeconfig, self.url, name="upstream")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    @classmethod
    def start(
        cls,
        *,
        components: Iterable[str] = CONTROL_PLANE,
        flags: Mapping[str, Sequence[str]] | None = None,
        port: int = 0,
        directory: Path | None = None,
        minor: int = NEWEST,
    ) -> Upstream:
        """A control plane that answers; `flags` are more flags for a component. Raises `UpstreamError`."""
        program = build(minor=minor)
        temporary = tempfile.TemporaryDirectory(prefix="seatrial-upstream-") if directory is None else None
        upstream = cls(directory or Path(temporary.name if temporary else ""), port, minor)
        upstream._temporary = temporary
        try:
            for component in components:
                upstream._start(program, component, (flags or {}).get(component, ()))
        except BaseException:
            upstream.stop()
            raise
        return upstream

    def add(self, component: str, flags: Sequence[str] = ()) -> None:
        """One more component, which answers when this returns. Raises `UpstreamError`."""
        self._start(build(minor=self.minor), component, flags)

    def log(self, component: str) -> str:
        path = self.directory / f"{component}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self) -> None:
        """End every process, the last started first; what they stored goes if the directory was not given."""
        for process in reversed(self._processes.values()):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()
        if self._temporary is not None:
            self._temporary.cleanup()

    def __enter__(self) -> Upstream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self, program: Path, component: str, flags: Sequence[str]) -> None:
        arguments, health = getattr(self, f"_{component.replace('-', '_')}")()
        with (self.directory / f"{component}.log").open("wb") as log:
            self._processes[component] = subprocess.Popen(
                [str(program), component, *arguments, *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                start_new_session=True,
            )
        self._await(component, health)

    def _await(self, component: str, url: str, seconds: float = 90) -> None:
        context = self.pki.client_context()
        context.check_hostname = False
        deadline = time.monotonic() + seconds
        while True:
            ended = self._processes[component].poll()
            if ended is None and _answers(url, context):
                return
            if ended is not None or time.monotonic() > deadline:
                said = "\n".join(self.log(component).splitlines()[-5:])
                raise UpstreamError(f"{component} {'does not answer' if ended is None else 'ended'}:\n{said}")
            time.sleep(0.05)

    def _etcd(self) -> tuple[list[str], str]:
        peer = f"http://127.0.0.1:{_free_port()}"
        self._etcd_url = f"http://127.0.0.1:{_free_port()}"
        return [
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={self._etcd_url}",
            f"--advertise-client-urls={self._etcd_url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--log-level=warn",
            "--unsafe-no-fsync",
        ], f"{self._etcd_url}/health"

    def _kube_apiserver(self) -> tuple[list[str], str]:
        return [
            f"--etcd-servers={self._etcd_url}",
            *self._serving(self.port),
            f"--client-ca-file={self.pki.ca}",
            f"--service-account-key-file={self._tokens_key}",
            f"--service-account-signing-key-file={self._tokens_key}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--endpoint-reconciler-type=none",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
            "--anonymous-auth=false",
        ], f"{self.url}/readyz"

    def _kube_controller_manager(self) -> tuple[list[str], str]:
        port = _free_port()
        return [
            *self._serving(port),
            *self._as_administrator(),
            f"--root-ca-file={self.pki.ca}",
            f"--service-account-private-key-file={self._tokens_key}",
            f"--cluster-signing-cert-file={self.pki.ca}",
            f"--cluster-signing-key-file={self.pki.directory / 'ca.key'}",
        ], f"https://127.0.0.1:{port}/healthz"

    def _kube_scheduler(self) -> tuple[list[str], str]:
        port = _free_port()
        return [*self._serving(port), *self._as_administrator()], f"https://127.0.0.1:{port}/healthz"

    def _serving(self, port: int) -> list[str]:
        certificate, key = self.pki.directory / "server.crt", self.pki.directory / "server.key"
        return [
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}",
        ]

    def _as_administrator(self) -> list[str]:
        flags = ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
        who = [f"--{flag}={self.kubeconfig}" for flag in flags]
        return [*who, "--leader-elect=false", "--kube-api-qps=5000", "--kube-api-burst=10000"]


def _new_key() -> bytes:
    """A key to sign service accounts' tokens with, in the one form that upstream reads both halves from."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _answers(url: str, context: ssl.SSLContext) -> bool:
    try:
        with urllib.request.urlopen(url, context=context if url.startswith("https") else None, timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError, http.client.HTTPException):
        return False


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run one until interrupted.")
    parser.add_argument("--minor", type=int, choices=MINORS, default=NEWEST)
    with Upstream.start(components=(*CONTROL_PLANE, "kube-scheduler"), minor=parser.parse_args().minor) as running:
        print(json.dumps({"kubeconfig": str(running.kubeconfig), "url": running.url}), flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            pass
