"""The one door from a node to the cluster's objects; `cluster` provides it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from seatrial.control.writes import Write
from seatrial.kube.objects import Object, Pod

T = TypeVar("T", bound=Object)


@dataclass(frozen=True, slots=True)
class Change:
    """One object before and after: created if `before` is None, gone if `after` is None."""

    before: Object | None
    after: Object | None


@dataclass(frozen=True, slots=True)
class Token:
    """A service account's token, and when it is to be exchanged for another."""

    text: str
    refresh_at: datetime


class ClusterObjects(Protocol):
    """Typed objects of the cluster. In one process and synchronous: reads come from memory."""

    def get(self, kind: type[T], namespace: str, name: str) -> T | None: ...

    def all(self, kind: type[T]) -> Sequence[T]: ...

    def apply(self, write: Write) -> Object | None:
        """Execute a write; the object as it now is. Raises `ConflictError` if the precondition does not hold."""

    def token(self, pod: Pod, audience: str, lifetime_s: int) -> Token:
        """A token for the pod's service account, bound to the pod; no audience is the API's. Raises `RefusedError`,
        and `ConflictError` if pod or account are not there."""

    def subscribe(self, on_change: Callable[[Change], None]) -> Callable[[], None]:
        """Call `on_change` for later changes of typed objects, in order; returns how to stop that.

        A node hears of its own pods, its Node and Lease, ConfigMaps and Secrets; a component without a host of all."""
