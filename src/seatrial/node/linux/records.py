"""What a node knows of each pod, where its files lie, and what of that outlives the process.

A pod's record is written before anybody is told of what it says; containers and their logs are kept by conmon.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from seatrial.control.lifecycle.facts import (
    ContainerFact,
    ProbeFact,
    ProbeKind,
    Problem,
    SandboxFact,
    Stop,
    StopReason,
)
from seatrial.kube.objects import Pod
from seatrial.kube.quantities import Quantity
from seatrial.node.api import Token
from seatrial.node.linux.machine import Machine


@dataclass(slots=True)
class PodState:
    """What is known of one pod."""

    uid: str
    pod: Pod | None = None
    sandbox: SandboxFact | None = None
    containers: list[ContainerFact] = field(default_factory=list)
    probes: dict[tuple[str, ProbeKind], ProbeFact] = field(default_factory=dict)
    problems: dict[str, Problem] = field(default_factory=dict)
    stops: dict[str, Stop] = field(default_factory=dict)
    stopped_for: dict[str, StopReason] = field(default_factory=dict)
    graces: dict[str, asyncio.Timeout] = field(default_factory=dict)
    hooks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    volumes: dict[str, str] = field(default_factory=dict)
    claimed: tuple[str, ...] = ()
    """The PersistentVolumes that it has mounted."""
    tokens: dict[tuple[str, int], Token] = field(default_factory=dict)
    """By audience and lifetime, as volumes ask for them."""
    ip: str = ""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    ended: dict[str, asyncio.Event] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the files of pods lie."""

    machine: Machine

    def directory(self, uid: str) -> Path:
        return self.machine.pods / uid

    def namespaces(self, uid: str) -> Path:
        return self.machine.run / "namespaces" / uid

    def bundle(self, uid: str, fact: ContainerFact) -> Path:
        return self.directory(uid) / "containers" / fact.name / str(fact.attempt)

    def log(self, uid: str, name: str, attempt: int) -> Path:
        return self.directory(uid) / "logs" / name / f"{attempt}.log"


def save(layout: Layout, node: str, state: PodState) -> None:
    """Write the record of a pod."""
    record = {
        "node": node,
        "uid": state.uid,
        "ip": state.ip,
        "volumes": state.volumes,
        "claimed": state.claimed,
        "sandbox": state.sandbox,
        "containers": state.containers,
        "probes": list(state.probes.values()),
    }
    directory = layout.directory(state.uid)
    directory.mkdir(parents=True, exist_ok=True)
    fresh = directory / "record.json.new"
    fresh.write_bytes(msgspec.json.encode(record, enc_hook=str))
    fresh.replace(directory / "record.json")


def load(record: dict[str, Any]) -> PodState:
    """The pod of a record, as it was when that was written."""
    state = PodState(
        record["uid"], ip=record["ip"], volumes=record["volumes"], claimed=tuple(record.get("claimed", ()))
    )
    state.containers = msgspec.convert(record["containers"], list[ContainerFact], dec_hook=_decoded)
    state.probes = {(each.container, each.kind): each for each in msgspec.convert(record["probes"], list[ProbeFact])}
    state.sandbox = msgspec.convert(record["sandbox"], SandboxFact | None)
    return state


def _decoded(kind: type, raw: object) -> object:
    return Quantity.parse(raw) if kind is Quantity else raw
