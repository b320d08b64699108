"""Refusals as Kubernetes words them: a `Status` object with reason, code and details (metav1.Status)."""

from __future__ import annotations

from collections.abc import Sequence

from seatrial.kube.faults import Fault
from seatrial.kube.objects import JsonObject


class StatusError(Exception):
    """A request was refused; `status` is the body of the answer."""

    def __init__(self, status: JsonObject) -> None:
        super().__init__(status["message"])
        self.status = status
        self.warnings: tuple[str, ...] = ()
        """What the client is told beside the refusal."""

    @property
    def code(self) -> int:
        return int(self.status["code"])

    @property
    def reason(self) -> str:
        return str(self.status.get("reason", ""))


Cause = Fault
"""One field that is wrong, as an answer tells it."""


def failure(code: int, reason: str, message: str, details: JsonObject | None = None) -> StatusError:
    status: JsonObject = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
    }
    if reason:
        status["reason"] = reason
    if details:
        status["details"] = details
    status["code"] = code
    return StatusError(status)


class NoSuchPageError(StatusError):
    """The path leads nowhere: the one answer without a body that says so."""

    def __init__(self) -> None:
        super().__init__(failure(404, "NotFound", "the server could not find the requested resource").status)


def qualified(plural: str, group: str) -> str:
    return f"{plural}.{group}" if group else plural


def _about(plural: str, group: str, name: str) -> JsonObject:
    details = {"name": name, "group": group, "kind": plural}
    return {key: value for key, value in details.items() if value}


def not_found(plural: str, group: str, name: str) -> StatusError:
    message = f'{qualified(plural, group)} "{name}" not found'
    return failure(404, "NotFound", message, _about(plural, group, name))


def already_exists(plural: str, group: str, name: str, *, going: bool = False) -> StatusError:
    """`going`: what is there is being deleted, so that trying again later may help."""
    message = f'{qualified(plural, group)} "{name}" already exists'
    if going:
        message = f"object is being deleted: {message}"
    return failure(409, "AlreadyExists", message, _about(plural, group, name))


def conflict(plural: str, group: str, name: str, why: str) -> StatusError:
    message = f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}'
    return failure(409, "Conflict", message, _about(plural, group, name))


def forbidden(plural: str, group: str, name: str, why: str, causes: Sequence[Cause] = ()) -> StatusError:
    subject = f'{qualified(plural, group)} "{name}"' if name else qualified(plural, group)
    details = _about(plural, group, name)
    if causes:
        details["causes"] = [_cause(cause) for cause in causes]
    return failure(403, "Forbidden", f"{subject} is forbidden: {why}", details)


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> StatusError:
    texts = list(dict.fromkeys(f"{cause.field}: {cause.message}" for cause in causes))
    joined = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    subject = f"{kind}.{group}" if group else kind
    details = {**_about(kind, group, name), "causes": [_cause(cause) for cause in causes]}
    return failure(422, "Invalid", f'{subject} "{name}" is invalid: {joined}', details)


def bad_request(message: str) -> StatusError:
    return failure(400, "BadRequest", message)


def expired(message: str, continue_token: str = "") -> StatusError:
    error = failure(410, "Expired", message)
    if continue_token:
        error.status["metadata"] = {"continue": continue_token}
    return error


def unsupported_media_type(message: str) -> StatusError:
    return failure(415, "UnsupportedMediaType", message)


def not_acceptable(message: str) -> StatusError:
    return failure(406, "NotAcceptable", message)


def method_not_allowed() -> StatusError:
    return failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def _cause(cause: Cause) -> JsonObject:
    return {"reason": cause.reason, "message": cause.message, "field": cause.field}
