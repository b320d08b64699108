"""What a decision can ask for: writes to the cluster's objects, as values that somebody else executes.

`Update` carries the object before and after; whoever executes it sends the difference as a patch with the
precondition that the object is still the one that was seen (uid and resourceVersion). A conflict means: look again,
decide again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from seatrial.kube.objects import CertificateSigningRequest, Object, Pod, Secret


class Propagation(Enum):
    """What becomes of the dependents of a deleted object."""

    BACKGROUND = "Background"
    FOREGROUND = "Foreground"
    ORPHAN = "Orphan"


@dataclass(frozen=True, slots=True)
class Create:
    """A new object. With `metadata.generateName` and no name, the executor chooses the suffix."""

    object: Object


@dataclass(frozen=True, slots=True)
class Update:
    """`before` becomes `after`: all but the status."""

    before: Object
    after: Object


@dataclass(frozen=True, slots=True)
class UpdateStatus:
    """The status (and for pods nothing else) of `before` becomes that of `after`."""

    before: Object
    after: Object


@dataclass(frozen=True, slots=True)
class IssueToken:
    """`before` becomes `after`, with a signed token that says `claims` as its value `token`."""

    before: Secret
    after: Secret
    claims: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SignCertificate:
    """Sign what the request asks for, and put the certificate into its status."""

    request: CertificateSigningRequest
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Delete:
    """Ask for deletion. For a pod `grace_period_s` None means its own; 0 removes it from the API at once."""

    object: Object
    grace_period_s: int | None = None
    propagation: Propagation = Propagation.BACKGROUND


@dataclass(frozen=True, slots=True)
class Evict:
    """Ask for the pod's deletion if its disruption budget has room (the `eviction` subresource)."""

    pod: Pod


@dataclass(frozen=True, slots=True)
class Bind:
    """Assign a pod to a node (the `binding` subresource)."""

    pod: Pod
    node_name: str


@dataclass(frozen=True, slots=True)
class RecordEvent:
    """Tell people; never read by a decision. `type` is Normal or Warning.

    `{created}` in `message` stands for the name of the object that the `Create` just before it made.
    """

    about: Object
    type: str
    reason: str
    message: str


Write = Create | Update | UpdateStatus | IssueToken | SignCertificate | Delete | Evict | Bind | RecordEvent


def target(write: Write) -> Object:
    """The object that a write is about."""
    match write:
        case Create(object=item) | Delete(object=item) | Update(before=item) | UpdateStatus(before=item):
            return item
        case IssueToken(before=item) | SignCertificate(request=item):
            return item
        case Bind(pod=item) | Evict(pod=item) | RecordEvent(about=item):
            return item


@dataclass(frozen=True, slots=True)
class Refusal:
    """A write that the API refused, and its words."""

    write: Write
    message: str


class ConflictError(Exception):
    """Raised by whoever executes a write whose precondition no longer holds: observe again and decide again."""


class RefusedError(Exception):
    """Raised by whoever executes a write that the API refuses for what it says: the same write will be refused again
    until something else changes.
    """


class TerminatingError(RefusedError):
    """Raised instead where the namespace is going away: it takes nothing new, whoever asks, until it is gone."""
