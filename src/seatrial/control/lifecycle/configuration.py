"""What a node's kubelet is told: the part of KubeletConfiguration (kubelet.config.k8s.io/v1beta1) that decides here.

Names, forms, defaults and errors are upstream's (`pkg/kubelet/eviction/helpers.go`, `apis/config/validation`).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import msgspec

from seatrial.kube.quantities import ZERO, Quantity

SIGNALS: Final = {
    "memory.available": ("memory", "MemoryPressure"),
    "nodefs.available": ("ephemeral-storage", "DiskPressure"),
    "nodefs.inodesFree": ("inodes", "DiskPressure"),
    "imagefs.available": ("ephemeral-storage", "DiskPressure"),
    "imagefs.inodesFree": ("inodes", "DiskPressure"),
    "pid.available": ("pids", "PIDPressure"),
}
"""Signal, the resource that is short when it is low, and the node's condition. containerfs and allocatableMemory, which
upstream derives from these, say the same on nodes that reserve nothing.
"""
DEFAULT_HARD: Final = {
    "memory.available": "100Mi",
    "nodefs.available": "10%",
    "nodefs.inodesFree": "5%",
    "imagefs.available": "15%",
    "imagefs.inodesFree": "5%",
}
_PART: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_UNITS_S: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
SYSTEM_CRITICAL: Final = 2_000_000_000


class ConfigurationError(ValueError):
    """The configuration cannot be used; the message names the field."""


@dataclass(frozen=True, slots=True)
class Amount:
    """A quantity, or a share of the capacity as Go's float32 holds it."""

    quantity: Quantity | None = None
    share: float = 0.0

    def of(self, capacity: int) -> Quantity:
        return self.quantity if self.quantity is not None else Quantity(int(capacity * self.share) * 10**9, "BinarySI")


@dataclass(frozen=True, slots=True)
class Threshold:
    """The node acts when `signal` is below `value` for `grace`; hard thresholds have none."""

    signal: str
    value: Amount
    grace: timedelta = timedelta()
    least_reclaim: Amount | None = None

    @property
    def is_hard(self) -> bool:
        return not self.grace

    @property
    def resource(self) -> str:
        return SIGNALS[self.signal][0]

    @property
    def condition(self) -> str:
        return SIGNALS[self.signal][1]


@dataclass(frozen=True, slots=True)
class ShutdownGrace:
    """Pods of this priority and more, up to the next entry's, are given so many seconds."""

    priority: int
    seconds: int


class GraceByPriority(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    priority: int
    shutdown_grace_period_seconds: int


class KubeletConfiguration(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Durations are Go's: "1m30s". What `eviction_hard` leaves out has no threshold, as upstream has it."""

    eviction_hard: Mapping[str, str] = msgspec.field(default_factory=lambda: DEFAULT_HARD)
    eviction_soft: Mapping[str, str] = {}
    eviction_soft_grace_period: Mapping[str, str] = {}
    eviction_minimum_reclaim: Mapping[str, str] = {}
    eviction_pressure_transition_period: str = "5m0s"
    eviction_max_pod_grace_period: int = 0
    shutdown_grace_period: str = "0s"
    shutdown_grace_period_critical_pods: str = "0s"
    shutdown_grace_period_by_pod_priority: tuple[GraceByPriority, ...] = ()

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """Raises `ConfigurationError`."""
        reclaims = {signal: _reclaim(signal, text) for signal, text in self.eviction_minimum_reclaim.items()}
        graces = {signal: _grace(signal, text) for signal, text in self.eviction_soft_grace_period.items()}
        found = []
        for signal, text in self.eviction_hard.items():
            value = _value(signal, text)
            if value is not None:
                found.append(Threshold(signal, value, timedelta(), reclaims.get(signal)))
        for signal, text in self.eviction_soft.items():
            value = _value(signal, text)
            if value is None:
                continue
            if signal not in graces:
                raise ConfigurationError(f"grace period must be specified for the soft eviction threshold {signal}")
            found.append(Threshold(signal, value, graces[signal], reclaims.get(signal)))
        return tuple(found)

    def allocatable(self, capacity: Mapping[str, Quantity]) -> dict[str, Quantity]:
        """What a machine's capacity leaves for pods: all but the hard thresholds of memory and of the node's disk."""
        found = dict(capacity)
        for each in self.thresholds:
            name = {"memory.available": "memory", "nodefs.available": "ephemeral-storage"}.get(each.signal)
            if each.is_hard and name in found:
                found[name] = max(ZERO, found[name] - each.value.of(capacity[name].value))
        return found

    @property
    def pressure_transition(self) -> timedelta:
        return duration("evictionPressureTransitionPeriod", self.eviction_pressure_transition_period)

    @property
    def shutdown_graces(self) -> tuple[ShutdownGrace, ...]:
        """By priority, the lowest first; empty: a shutdown is not graceful."""
        if self.shutdown_grace_period_by_pod_priority:
            given = (
                ShutdownGrace(each.priority, each.shutdown_grace_period_seconds)
                for each in self.shutdown_grace_period_by_pod_priority
            )
            return tuple(sorted(given, key=lambda each: each.priority))
        total = duration("shutdownGracePeriod", self.shutdown_grace_period)
        critical = duration("shutdownGracePeriodCriticalPods", self.shutdown_grace_period_critical_pods)
        if not total or critical > total:
            return ()
        ordinary_s = int((total - critical).total_seconds())
        return (
            ShutdownGrace(0, ordinary_s),
            ShutdownGrace(SYSTEM_CRITICAL, int((total - (total - critical)).total_seconds())),
        )


DEFAULT_KUBELET: Final = KubeletConfiguration()


def read(raw: Mapping[str, Any]) -> KubeletConfiguration:
    """Raises `ConfigurationError`."""
    try:
        made = msgspec.convert(raw, KubeletConfiguration)
    except msgspec.ValidationError as error:
        known = ", ".join(KubeletConfiguration.__struct_encode_fields__)
        raise ConfigurationError(f"{error}; known: {known}") from error
    total = duration("shutdownGracePeriod", made.shutdown_grace_period)
    critical = duration("shutdownGracePeriodCriticalPods", made.shutdown_grace_period_critical_pods)
    if critical > total:
        raise ConfigurationError("shutdownGracePeriodCriticalPods must be less than or equal to shutdownGracePeriod")
    if total and total < timedelta(seconds=1):
        raise ConfigurationError("shutdownGracePeriod must be either zero or otherwise at least 1 second")
    if made.shutdown_grace_period_by_pod_priority and total:
        raise ConfigurationError("give shutdownGracePeriod or shutdownGracePeriodByPodPriority, not both")
    if made.eviction_max_pod_grace_period < 0 or made.pressure_transition < timedelta():
        raise ConfigurationError("eviction periods are not negative")
    if not all(each.seconds >= 0 for each in made.shutdown_graces):
        raise ConfigurationError("shutdownGracePeriodSeconds is not negative")
    made.thresholds  # noqa: B018  # raises what is wrong with them
    return made


def duration(name: str, text: str) -> timedelta:
    """A duration as Go writes it. Raises `ConfigurationError`."""
    parts = _PART.findall(text)
    if text == "0":
        return timedelta()
    if "".join(number + unit for number, unit in parts) != text or not parts or len(text) > 40:
        raise ConfigurationError(f'{name}: invalid duration "{text}": write it as 30s or 1m30s')
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if seconds > 2**63 / 1e9:
        raise ConfigurationError(f'{name}: invalid duration "{text}": longer than 292 years')
    return timedelta(seconds=seconds)


def _value(signal: str, text: str) -> Amount | None:
    """None for 0% and 100%, which switch a threshold off."""
    _known(signal)
    if text.endswith("%"):
        if text in ("0%", "100%"):
            return None
        share = _share(signal, text)
        if share < 0:
            raise ConfigurationError(f"eviction percentage threshold {signal} must be >= 0%: {text}")
        if share > 1:
            raise ConfigurationError(f"eviction percentage threshold {signal} must be <= 100%: {text}")
        return Amount(share=share)
    quantity = _quantity(signal, text)
    if quantity.nanos <= 0:
        raise ConfigurationError(f"eviction threshold {signal} must be positive: {quantity}")
    return Amount(quantity)


def _reclaim(signal: str, text: str) -> Amount:
    _known(signal)
    if text.endswith("%"):
        share = _share(signal, text)
        if share <= 0:
            raise ConfigurationError(f"eviction percentage minimum reclaim {signal} must be positive: {text}")
        return Amount(share=share)
    quantity = _quantity(signal, text)
    if quantity.nanos < 0:
        raise ConfigurationError(f"negative eviction minimum reclaim specified for {signal}")
    return Amount(quantity)


def _grace(signal: str, text: str) -> timedelta:
    _known(signal)
    return duration(f"evictionSoftGracePeriod {signal}", text)


def _known(signal: str) -> None:
    if signal not in SIGNALS:
        raise ConfigurationError(f"unsupported eviction signal {signal}; known: {', '.join(SIGNALS)}")


def _share(signal: str, text: str) -> float:
    try:
        value = float(text.rstrip("%"))
    except ValueError:
        raise ConfigurationError(f'eviction threshold {signal}: "{text}" is no percentage') from None
    single: float = struct.unpack("f", struct.pack("f", value))[0]
    result: float = struct.unpack("f", struct.pack("f", single / 100))[0]
    return result


def _quantity(signal: str, text: str) -> Quantity:
    try:
        return Quantity.parse(text)
    except ValueError as error:
        raise ConfigurationError(f"eviction threshold {signal}: {error}") from error
