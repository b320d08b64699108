"""`seatrial up`: check a system, build its images, run it on the embedded cluster, wait until it serves."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seatrial.cli import state

if TYPE_CHECKING:
    from seatrial.check.system import System
    from seatrial.deploy.client import Client
    from seatrial.deploy.wait import Progress

SUMMARY = "check a system, build its images, run it on the embedded cluster and wait until it is up"
EXAMPLES = """\
examples:
  seatrial up examples/shop                 on one node, with real containers (as root)
  seatrial up examples/shop --nodes 3       on three virtual nodes of this machine
  seatrial up . --kubernetes 1.33           as that version behaves
  seatrial up examples/shop --simulate      without root: simulated nodes, the same decisions
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="PATH", help="directory or file of manifests")
    parser.add_argument("--nodes", type=_count, default=1, metavar="N", help="virtual nodes of a new cluster (1)")
    parser.add_argument("--simulate", action="store_true", help="simulated nodes: no containers, no root")
    parser.add_argument("--kubernetes", default="1.37", metavar="VERSION", help="whose API and behaviour (1.37)")
    parser.add_argument("--seed", type=int, metavar="N", help="with --simulate: names and choices repeat for one seed")
    parser.add_argument("--port", type=int, default=0, help="port of the Kubernetes API (default: a free one)")
    parser.add_argument("--timeout", type=float, default=120, metavar="SECONDS", help="how long to wait (120)")
    parser.add_argument("--no-check", action="store_true", help="run it even if the check refutes it")
    parser.add_argument("--no-build", action="store_true", help="take the images as they are in the store")
    state.add_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    from seatrial.cluster import process
    from seatrial.deploy.client import ApiError, Client, UnreachableError
    from seatrial.deploy.wait import NotUpError

    options = _options(arguments)
    if options is None:
        return 3
    system = _checked(arguments)
    if isinstance(system, int):
        return system
    directory = state.directory(arguments)
    if not arguments.simulate and not process.ready(directory):
        from seatrial.node.linux import requirements

        if problems := requirements():
            return _fail("this machine cannot run pods:\n" + "\n".join(f"  - {problem}" for problem in problems))
    if not arguments.simulate and not arguments.no_build and not _build(system, directory):
        return 1
    try:
        process.start(
            directory, nodes=arguments.nodes, simulate=arguments.simulate, port=arguments.port, options=options
        )
        client = Client(process.kubeconfig(directory))
        if not arguments.simulate:
            _warn_of_shortage(directory, arguments.paths)
        _deploy(client, system, arguments.timeout)
    except process.ControlProcessError as error:
        return _fail(str(error))
    except UnreachableError as error:
        return _fail(f"{error}\nSee {directory / 'cluster' / 'log'}; `seatrial up` again starts it anew.")
    except ApiError as error:
        return _fail(f"the API server refused: {error}")
    except NotUpError as error:
        return _fail(f"not up after {arguments.timeout:g} s:\n{error}\nSee `seatrial status` and `seatrial logs`.")
    _addresses(client, system)
    print(f"\nkubectl: export KUBECONFIG={process.kubeconfig(directory)}\nstop:    seatrial down")
    return 0


def _warn_of_shortage(directory: Path, paths: Sequence[str]) -> None:
    """Say what this machine is short of already: people would look for the reason elsewhere."""
    from datetime import UTC, datetime

    from seatrial.cluster import settings
    from seatrial.node.linux import gauges
    from seatrial.project import toml

    found = toml.find(paths)
    kubelet = (settings.read(found) if found is not None else settings.Settings()).kubelet
    for message in gauges.short(directory, kubelet, datetime.now(UTC)):
        print(f"seatrial: note: {message}", file=sys.stderr)


def _options(arguments: argparse.Namespace) -> list[str] | None:
    """What the control process is told beyond nodes and port; None, after saying so, if that cannot be."""
    from seatrial.kube import schemas

    if arguments.kubernetes not in schemas.versions():
        _fail(f"no Kubernetes {arguments.kubernetes} here; there is {', '.join(schemas.versions())}")
        return None
    from seatrial.cluster import settings
    from seatrial.project import toml

    options = ["--kubernetes", arguments.kubernetes]

    found = toml.find(arguments.paths)
    if found is not None:
        try:
            settings.read(found)
        except toml.SettingsError as error:
            _fail(str(error))
            return None
        options += ["--settings", str(found.absolute())]
    seeded = arguments.simulate and arguments.seed is not None
    return options + (["--seed", str(arguments.seed)] if seeded else [])


def _checked(arguments: argparse.Namespace) -> System | int:
    """The system, or the exit code if it cannot be read or is refuted."""
    from seatrial import project
    from seatrial.cli import check
    from seatrial.project.toml import SettingsError

    system = project.load(arguments.paths, version=arguments.kubernetes)
    for finding in system.unreadable:
        print(f"seatrial: {finding.place}: {finding.message}", file=sys.stderr)
    if system.unreadable:
        return 3
    if not system.entries:
        return _fail(f"no Kubernetes objects in {', '.join(arguments.paths)}", code=3)
    if arguments.no_check:
        return system
    try:
        report = check.judge(system, check.settings_for(arguments.paths)).report
    except (SettingsError, check.UsageError) as error:
        return _fail(str(error), code=3)
    _say(f"checked: {len(report.verdicts)} verdicts, exit code {report.exit_code} of seatrial check")
    if report.exit_code == 1:
        check.show(report)
        return _fail("refuted; --no-check runs it all the same", code=1)
    return system


def _build(system: System, directory: Path) -> bool:
    """Build every image that the manifests use and this directory has the sources of."""
    from seatrial import image
    from seatrial.kube.objects import Deployment, Pod

    specs = [pod.spec for pod in system.all(Pod)]
    specs += [deployment.spec.template.spec for deployment in system.all(Deployment)]
    wanted = {container.image for spec in specs for container in (*spec.init_containers, *spec.containers)}
    store = image.Store(directory / "images")
    for reference in sorted(wanted):
        name = reference.partition("@")[0].rpartition("/")[2].partition(":")[0]
        source = system.builds.get(name)
        if source is None:
            continue
        started = time.monotonic()
        try:
            image.build(Path(source), tag=reference, store=store)
        except image.BuildError as error:
            _fail(str(error))
            return False
        _say(f"built {reference} from {source} ({time.monotonic() - started:.1f} s)")
    return True


def _deploy(client: Client, system: System, timeout_s: float) -> None:
    from seatrial.deploy import apply, wait

    objects = [entry.written for entry in system.entries if entry.key.kind != "Node"]
    for applied in apply.apply(client, objects):
        _say(f"{applied.kind} {applied.name} {applied.outcome.value}")
    shown: dict[str, str] = {}

    def report(progress: Sequence[Progress]) -> None:
        for item in progress:
            text = item.missing or "up"
            if shown.get(item.name) != text:
                shown[item.name] = text
                _say(f"Deployment {item.name}: {text}")

    wait.wait(client, objects, timeout_s=timeout_s, report=report)


def _addresses(client: Client, system: System) -> None:
    """Where the system's Services answer on this machine."""
    for entry in system.of("Service"):
        live = client.request("GET", f"{client.collection('v1', 'Service', entry.key.namespace)}/{entry.key.name}")
        spec = live["spec"]
        if spec.get("clusterIP", "None") != "None":
            for port in spec.get("ports", ()):
                _say(f"Service {entry.key.name}: {spec['clusterIP']}:{port['port']}")


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 100:
        raise argparse.ArgumentTypeError("between 1 and 100 nodes")
    return number


def _say(text: str) -> None:
    print(text, flush=True)


def _fail(text: str, *, code: int = 1) -> int:
    print(f"seatrial: {text}", file=sys.stderr)
    return code
