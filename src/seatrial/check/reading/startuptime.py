"""How long a container may take to start, as far as the files say, and which words of theirs say it.

Rules: a number counts only if it is about the same thing that the liveness probe asks about. A readiness probe that
makes the same check says so by its `initialDelaySeconds` (nobody is to ask before), and by a long window that was
written out: ten failures and more are no way to take a pod out of service, they are patience with its start. A command
says so by a `sleep` before what it runs. That a Java virtual machine is started is said by its usual variables or its
command. Where nothing is said a process gets what any may take.

Rejected as evidence, since ordinary manifests have them without a slow start: `progressDeadlineSeconds` (pulls and
scheduling count too, and 600 is the default), `minReadySeconds` (begins when the pod is ready), a readiness probe of
another path (it waits for more than being alive), the liveness probe's own numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from seatrial.check.reading import commands
from seatrial.check.system import Path
from seatrial.kube.objects import Container, Probe

PATIENT: Final = 10
"""From so many failures on a readiness probe's window is meant for the start."""
_JAVA: Final = frozenset(
    ("JAVA_OPTS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "JVM_OPTS", "CATALINA_OPTS")
)
_IDLE: Final = frozenset(
    (
        "sleep",
        "echo",
        "set",
        "cd",
        "export",
        "mkdir",
        "chmod",
        "cp",
        "touch",
        "umask",
        "ulimit",
        "true",
        "printf",
        "date",
    )
)
"""Programs that take no time, and the one that takes it on purpose."""
_SECONDS: Final = re.compile(r"(\d+(?:\.\d+)?)([smh]?)")
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True)
class Allowed:
    """So many seconds, why, and the fields (within the container) that say so; no fields: an assumption."""

    seconds: int
    why: str
    paths: tuple[Path, ...] = ()
    assumption: str = ""


def allowed(container: Container, ordinary_s: int, java_s: int) -> Allowed:
    """The longest start that the files allow the container."""
    found = [Allowed(ordinary_s, f"any process may take {ordinary_s} s to start", assumption="start/ordinary")]
    java = _java(container)
    if java is not None:
        found.append(Allowed(java_s, f"a Java virtual machine may take {java_s} s to start", (java,), "start/java"))
    ready, live = container.readiness_probe, container.liveness_probe
    if ready is not None and live is not None and same_check(ready, live):
        at: Path = ("readinessProbe",)
        if ready.initial_delay_seconds:
            why = f"the readiness probe makes the same check and does not ask before {ready.initial_delay_seconds} s"
            found.append(Allowed(ready.initial_delay_seconds, why, ((*at, "initialDelaySeconds"),)))
        if ready.failure_threshold >= PATIENT:
            window = ready.initial_delay_seconds + ready.period_seconds * ready.failure_threshold
            why = f"the readiness probe makes the same check and is patient for {window} s"
            found.append(Allowed(window, why, ((*at, "failureThreshold"),)))
    sleeps = slept(container)
    if sleeps is not None:
        seconds, path = sleeps
        found.append(Allowed(seconds + ordinary_s, f"its command sleeps {seconds} s before it runs anything", (path,)))
    return max(found, key=lambda each: each.seconds)


def same_check(one: Probe, other: Probe) -> bool:
    """Whether two probes ask the same: times aside they are equal."""
    return (one.exec, one.http_get, one.tcp_socket, one.grpc) == (
        other.exec,
        other.http_get,
        other.tcp_socket,
        other.grpc,
    )


def slept(container: Container, *, whole: bool = False) -> tuple[int, Path] | None:
    """For how long the command sleeps for certain before the first program that does anything, and where it says so.

    With `whole` also if it does nothing else.
    """
    total = 0
    where: Path = ()
    for call in commands.calls((*container.command, *container.args), {}):
        if call.program not in _IDLE:
            return (total, where) if total else None
        if call.program == "sleep" and call.words and not call.waits:
            total += duration(call.words[0]) or 0
            where = place(container, call)
    return (total, where) if whole and total else None


def place(container: Container, call: commands.Call) -> Path:
    """The field of a container's command or arguments that a call stands in."""
    split = len(container.command)
    return ("command", call.argument) if call.argument < split else ("args", call.argument - split)


def duration(text: str) -> int | None:
    """The seconds of `30`, `30s`, `1.5m`, as sleep(1) reads them."""
    found = _SECONDS.fullmatch(text)
    return None if found is None else int(float(found[1]) * _UNITS[found[2]])


def _java(container: Container) -> Path | None:
    for index, variable in enumerate(container.env):
        if variable.name in _JAVA:
            return ("env", index, "name")
    for call in commands.calls((*container.command, *container.args), {}):
        if call.program == "java":
            return place(container, call)
    return None
