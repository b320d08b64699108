"""ConfigMap, Secret and Namespace."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from seatrial.kube.objects.base import Object, Value


class ConfigMap(Object, frozen=True):
    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "ConfigMap"

    binary_data: Mapping[str, str] = {}
    data: Mapping[str, str] = {}
    immutable: bool | None = None


class Secret(Object, frozen=True):
    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Secret"

    data: Mapping[str, str] = {}
    immutable: bool | None = None
    string_data: Mapping[str, str] = {}
    type: str = ""


class NamespaceSpec(Value, frozen=True):
    finalizers: tuple[str, ...] = ()


class NamespaceCondition(Value, frozen=True):
    last_transition_time: datetime | None = None
    message: str = ""
    reason: str = ""
    status: str = ""
    type: str = ""


class NamespaceStatus(Value, frozen=True):
    conditions: tuple[NamespaceCondition, ...] = ()
    phase: str = ""


class Namespace(Object, frozen=True):
    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Namespace"

    spec: NamespaceSpec = NamespaceSpec()
    status: NamespaceStatus = NamespaceStatus()
