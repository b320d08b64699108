"""A `seatrial.toml`: in `[simulate]` what a simulated cluster is made of and what befalls it, in `[kubelet]` how nodes
are configured, simulated or real.

Keys are the names of the Python values they become (`NodeShape`, `Behaviour`, `NodeLoss`, `Driver`), so there is one
vocabulary; those of `[kubelet]` are a KubeletConfiguration's. Whatever is wrong is a `SettingsError` that names file,
line and key, and says what would be right.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from seatrial.cluster.behaviours import Rule
from seatrial.cluster.cluster import NodeShape
from seatrial.cluster.simulated import Behaviour
from seatrial.control.addons.csi import Driver
from seatrial.control.lifecycle import configuration, static
from seatrial.control.lifecycle.configuration import DEFAULT_KUBELET, SIGNALS, KubeletConfiguration
from seatrial.control.lifecycle.facts import Problem
from seatrial.kube import selectors
from seatrial.kube.objects import JsonObject
from seatrial.kube.quantities import Quantity
from seatrial.node import manifests
from seatrial.project.toml import KeyPath, Toml, hint


@dataclass(frozen=True, slots=True)
class NodeLoss:
    """A node that is cut off at a time, for so many seconds (None: for good)."""

    node: str
    at_s: float
    for_s: float | None = None


@dataclass(frozen=True, slots=True)
class NodePressure:
    """A node that has only so much left of some signals, from a time on, for so many seconds (None: for good)."""

    node: str
    at_s: float
    available: Mapping[str, str]
    for_s: float | None = None


@dataclass(frozen=True, slots=True)
class NodeShutdown:
    """A node that is shut down at a time, and switched on again after so many seconds (None: never)."""

    node: str
    at_s: float
    for_s: float | None = None


Event = NodeLoss | NodePressure | NodeShutdown


@dataclass(frozen=True, slots=True)
class Settings:
    """`nodes` empty: as many plain ones as the command line says. `start`: the virtual time at which it begins."""

    seed: int | None = None
    start: datetime | None = None
    nodes: tuple[NodeShape, ...] = ()
    rules: tuple[Rule, ...] = ()
    events: tuple[Event, ...] = ()
    """What befalls nodes, at times that count from the moment when the system has been applied."""
    drivers: tuple[Driver, ...] = ()
    kubelet: KubeletConfiguration = DEFAULT_KUBELET


def read(path: Path) -> Settings:
    """Raises `SettingsError`."""
    reader = _Reader(Toml(path))
    return replace(reader.settings(), kubelet=reader.kubelet())


class _Reader:
    def __init__(self, toml: Toml) -> None:
        self._toml = toml
        self._checked, self._tables, self._error = toml.checked, toml.tables, toml.error

    def settings(self) -> Settings:
        place = ("simulate",)
        given = self._checked(
            place,
            self._toml.table("simulate"),
            {
                "seed": int,
                "start": datetime,
                "nodes": int,
                "node": list,
                "pods": list,
                "driver": list,
                **dict.fromkeys(_EVENTS, list),
            },
        )
        count = given.get("nodes", 0)
        if not 0 <= count <= 5000:
            raise self._error((*place, "nodes"), "nodes is between 1 and 5000")
        shapes = [shape for at, each in self._tables(place, given, "node") for shape in self._shapes(at, each)]
        if shapes and count:
            raise self._error((*place, "nodes"), "give nodes, or [[simulate.node]] tables with a count, not both")
        shapes = shapes or [NodeShape(f"node-{number}") for number in range(1, count + 1)]
        names = [shape.name for shape in shapes]
        if len(set(names)) < len(names):
            raise self._error((*place, "node"), "two nodes have one name: give each [[simulate.node]] its own")
        start = given.get("start")
        if isinstance(start, datetime) and start.tzinfo is None:
            raise self._error((*place, "start"), "start lacks its time zone: end it with Z")
        return Settings(
            seed=given.get("seed"),
            start=start.astimezone(UTC) if isinstance(start, datetime) else None,
            nodes=tuple(shapes),
            rules=tuple(self._rule(at, each) for at, each in self._tables(place, given, "pods")),
            events=tuple(
                self._event(kind, at, each, names) for kind in _EVENTS for at, each in self._tables(place, given, kind)
            ),
            drivers=tuple(self._driver(at, each) for at, each in self._tables(place, given, "driver")),
        )

    def kubelet(self) -> KubeletConfiguration:
        table = self._toml.table("kubelet")
        try:
            return configuration.read(table)
        except configuration.ConfigurationError as error:
            named = next((key for key, value in table.items() if not _is_configuration({key: value})), "")
            raise self._error(("kubelet", named), str(error)) from error

    def _shapes(self, place: KeyPath, table: Mapping[str, Any]) -> list[NodeShape]:
        given = self._checked(
            place,
            table,
            {"name": str, "count": int, "capacity": dict, "labels": dict, "taints": list, "manifests": str},
        )
        name, count = given.get("name", "node"), given.get("count")
        capacity = {"cpu": "4", "memory": "8Gi", "pods": "110", **given.get("capacity", {})}
        for resource, amount in capacity.items():
            try:
                Quantity.parse(amount)
            except ValueError as error:
                at = (*place, "capacity")
                raise self._error(at, f'capacity.{resource} is no quantity: {error}; try "4" or "8Gi"') from error
        capacity = {resource: str(amount) for resource, amount in capacity.items()}
        labels = {key: str(value) for key, value in given.get("labels", {}).items()}
        static_pods = self._manifests((*place, "manifests"), given.get("manifests"))
        shape = NodeShape(name, capacity, labels, tuple(given.get("taints", ())), static_pods)
        if count is None:
            return [shape]
        return [replace(shape, name=f"{name}-{number}") for number in range(1, count + 1)]

    def _manifests(self, place: KeyPath, directory: str | None) -> tuple[JsonObject, ...]:
        """The static pods' manifests in a directory beside the file."""
        if directory is None:
            return ()
        path = self._toml.path.parent / directory
        if not path.is_dir():
            raise self._error(place, f"manifests names a directory beside this file; there is no {path}")
        found = []
        for file in manifests.files(path):
            try:
                raw = manifests.load(file)
                static.read(raw, source=str(file), node="node")
            except static.ManifestError as error:
                raise self._error(place, f"{file}: {error}") from error
            found.append(raw)
        return tuple(found)

    def _rule(self, place: KeyPath, table: Mapping[str, Any]) -> Rule:
        hints = typing.get_type_hints(Behaviour)
        kinds = {field.name: _plain(hints[field.name]) for field in fields(Behaviour)}
        given = self._checked(place, table, {"labels": str, "namespace": str, "container": str, **kinds})
        try:
            selectors.parse(given.get("labels", ""))
        except ValueError as error:
            raise self._error((*place, "labels"), f'labels is no selector: {error}; try "app=web"') from error
        which = {key: given.pop(key) for key in ("labels", "namespace", "container") if key in given}
        if "problem" in given:
            texts = self._checked((*place, "problem"), given["problem"], {"reason": str, "message": str})
            given["problem"] = Problem(texts.get("reason", "CreateContainerError"), texts.get("message", ""))
        if "metrics" in given:
            given["metrics"] = {name: self._series(place, name, steps) for name, steps in given["metrics"].items()}
        self._check_numbers(place, given)
        return Rule(Behaviour(**given), **which)

    def _series(self, place: KeyPath, name: str, steps: Any) -> tuple[tuple[float, float], ...]:
        steps = [[0, steps]] if isinstance(steps, int | float) else steps
        try:
            return tuple((float(from_s), float(value)) for from_s, value in steps)
        except (TypeError, ValueError) as error:
            why = f"metrics.{name} is a number, or steps such as [[0, 0.1], [60, 0.9]]: [seconds after start, value]"
            raise self._error((*place, "metrics"), why) from error

    def _event(self, kind: str, place: KeyPath, table: Mapping[str, Any], names: Sequence[str]) -> Event:
        keys: dict[str, type] = {"node": str, "at_s": float, "for_s": float}
        required = ["node", "at_s"]
        example = 'node = "node-1", at_s = 600, for_s = 60'
        if kind == "pressure":
            keys["available"] = dict
            required.append("available")
            example += ', available = { "memory.available" = "50Mi" }'
        given = self._checked(place, table, keys)
        for key in required:
            if key not in given:
                raise self._error(place, f"{key} is missing; a {kind} is: {example}")
        if names and given["node"] not in names:
            raise self._error((*place, "node"), f"there is no node {given['node']}{hint(given['node'], names)}")
        for signal, amount in given.get("available", {}).items():
            at = (*place, "available")
            if signal not in SIGNALS:
                raise self._error(at, f"there is no signal {signal}{hint(signal, SIGNALS)}")
            try:
                float(amount.removesuffix("%")) if str(amount).endswith("%") else Quantity.parse(amount)
            except ValueError as error:
                raise self._error(at, f'{signal} is no quantity: {error}; try "50Mi" or "5%"') from error
            given["available"] = {**given["available"], signal: str(amount)}
        made: Event = _EVENTS[kind](**given)
        return made

    def _driver(self, place: KeyPath, table: Mapping[str, Any]) -> Driver:
        hints = typing.get_type_hints(Driver)
        given = self._checked(place, table, {field.name: _plain(hints[field.name]) for field in fields(Driver)})
        if "name" not in given:
            raise self._error(place, 'name is missing; a driver is: name = "ebs.csi.aws.com", attach_s = 10')
        self._check_numbers(place, given)
        return Driver(**given)

    def _check_numbers(self, place: KeyPath, given: Mapping[str, Any]) -> None:
        for key, value in given.items():
            if key.endswith("_s") and not 0 <= value < math.inf:
                raise self._error((*place, key), f"{key} is a number of seconds, not negative")
            if key == "volumes_per_node" and value < 0:
                raise self._error((*place, key), f"{key} is a number of volumes, not negative")


_EVENTS: Final = {"loss": NodeLoss, "pressure": NodePressure, "shutdown": NodeShutdown}


def _is_configuration(table: Mapping[str, Any]) -> bool:
    try:
        configuration.read(table)
    except configuration.ConfigurationError:
        return False
    return True


def _plain(hint: Any) -> type:
    """`float | None` is a float in a file, a mapping a table."""
    options = [each for each in typing.get_args(hint) if each is not types.NoneType]
    if isinstance(hint, types.UnionType) and len(options) == 1:
        hint = options[0]
    return hint if hint in (bool, int, float, str) else dict
