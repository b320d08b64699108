"""ServiceAccounts in the API: tokens that are asked for (`serviceaccounts/NAME/token`), and what new pods get."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from seatrial.control import podaccount, tokens
from seatrial.control.tokens import Bound, Reference
from seatrial.kube import schemas
from seatrial.kube.objects import JsonObject, ObjectMeta, ServiceAccount, parse_as
from seatrial.kube.validation import fields
from seatrial.server import errors
from seatrial.server.errors import Cause
from seatrial.server.times import wire_time

if TYPE_CHECKING:
    from seatrial.server.api import Api

_API = "authentication.k8s.io/v1"
_GROUP = "authentication.k8s.io"
_KIND = "TokenRequest"
_DEFAULT_S = 3600
_LAST_USED = "kubernetes.io/legacy-token-last-used"


def admit(api: Api, pod: JsonObject) -> JsonObject:
    """A new pod with its account. Raises `StatusError` (403)."""
    metadata = pod["metadata"]
    stored = api.store.get("/serviceaccounts", metadata["namespace"], podaccount.account_name(pod))
    account = None if stored is None else parse_as(ServiceAccount, stored.raw)
    try:
        return podaccount.admit(pod, account, api.suffix)
    except podaccount.RefusedError as error:
        raise errors.forbidden("pods", "", metadata.get("name", ""), str(error)) from error


def note_use(api: Api, namespace: str, secret: str) -> None:
    """The day on which a token of a Secret was used is a label of it (upstream's, by which old ones are cleaned)."""
    stored = api.store.get("/secrets", namespace, secret)
    today = api.now().date()
    recent = {str(today), str(today + timedelta(days=1))}
    if stored is not None and (stored.raw["metadata"].get("labels") or {}).get(_LAST_USED) not in recent:
        api.patch(api.kind("v1", "Secret"), namespace, secret, {"metadata": {"labels": {_LAST_USED: str(today)}}})


def token(api: Api, namespace: str, name: str, raw: JsonObject) -> JsonObject:
    """Answer a TokenRequest. Raises `StatusError`."""
    raw = _decoded(api, raw)
    metadata, spec = dict(raw["metadata"]), dict(raw["spec"])
    if metadata.get("namespace", namespace) not in ("", namespace):
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if metadata.get("name", name) not in ("", name):
        why = "must match the service account name if specified"
        raise errors.invalid(_KIND, _GROUP, name, [fields.invalid("metadata.name", metadata["name"], why)])
    account = _metadata(api, "serviceaccounts", namespace, name)
    if metadata.get("uid", account.uid) not in ("", account.uid):
        why = (
            f"the UID in the token request ({metadata['uid']}) does not match the UID of the service account "
            f"({account.uid})"
        )
        raise errors.conflict(_KIND, _GROUP, name, why)
    now = api.now()
    metadata |= {"name": name, "namespace": namespace, "uid": account.uid, "creationTimestamp": wire_time(now)}
    spec["audiences"] = spec.get("audiences") or list(tokens.AUDIENCES)
    spec.setdefault("expirationSeconds", _DEFAULT_S)
    spec.setdefault("boundObjectRef", None)
    causes = list(_causes(spec))
    if causes:
        raise errors.invalid(_KIND, _GROUP, "", causes)
    bound = _bound(api, namespace, name, spec["boundObjectRef"])
    lifetime_s = spec["expirationSeconds"]
    said = tokens.claims(
        account, bound, audiences=spec["audiences"], lifetime_s=lifetime_s, now=now, token_id=api.new_uid()
    )
    ends = wire_time(now + timedelta(seconds=lifetime_s))
    status = {"token": api.authority.token(said), "expirationTimestamp": ends}
    return {"kind": _KIND, "apiVersion": _API, "metadata": metadata, "spec": spec, "status": status}


def _decoded(api: Api, raw: JsonObject) -> JsonObject:
    if raw.get("kind", _KIND) != _KIND or raw.get("apiVersion", _API) != _API:
        raise errors.bad_request(
            f"the API version in the data ({raw.get('apiVersion')}, Kind={raw.get('kind')}) does not match the "
            f"expected API version ({_API}, Kind={_KIND})"
        )
    raw = {"apiVersion": _API, "kind": _KIND, "metadata": {}, "spec": {}, **raw}
    for problem in schemas.validate(raw, schemas.load(api.version)):
        if problem.kind == "type":
            path = ".".join(map(str, problem.path))
            text = f'{_KIND} in version "v1" cannot be handled as a {_KIND}: {path}: {problem.message}'
            raise errors.bad_request(text)
    return {**raw, "metadata": raw["metadata"] or {}, "spec": raw["spec"] or {}}


def _causes(spec: JsonObject) -> Iterator[Cause]:
    seconds = spec["expirationSeconds"]
    path = "spec.expirationSeconds"
    if seconds < tokens.SHORTEST_S:
        yield fields.invalid(path, seconds, "may not specify a duration less than 10 minutes")
    if seconds > tokens.LONGEST_S:
        yield fields.invalid(path, seconds, "may not specify a duration larger than 2^32 seconds")


def _bound(api: Api, namespace: str, account: str, reference: JsonObject | None) -> Bound:
    if reference is None:
        return Bound()
    version, kind = reference.get("apiVersion", ""), reference.get("kind", "")
    if version not in ("v1", "") or kind not in ("Pod", "Secret", "Node"):
        group, _, at = version.rpartition("/")
        raise errors.bad_request(f"cannot bind token to object of type {group}/{at}, Kind={kind}")
    name, plural = reference.get("name", ""), f"{kind.lower()}s"
    found = _metadata(api, plural, "" if kind == "Node" else namespace, name)
    bound = Bound(**{kind.lower(): Reference(name, found.uid)})
    if kind == "Pod":
        bound = Bound(pod=bound.pod, node=_node_of(api, namespace, name, account))
    wanted = reference.get("uid", "")
    if wanted and wanted != found.uid:
        why = (
            f"the UID in the bound object reference ({wanted}) does not match the UID in record. The object might have "
            "been deleted and then recreated"
        )
        raise errors.conflict(kind, "", name, why)
    return bound


def _node_of(api: Api, namespace: str, pod: str, account: str) -> Reference | None:
    """Where a pod runs. Raises `StatusError` (400) if it runs as somebody else."""
    stored = api.store.get("/pods", namespace, pod)
    assert stored is not None, "it was found just now"
    spec = stored.raw.get("spec") or {}
    if spec.get("serviceAccountName") != account:
        raise errors.bad_request(
            f'cannot bind token for serviceaccount "{account}" to pod running with different serviceaccount name.'
        )
    node = spec.get("nodeName")
    if not node:
        return None
    there = api.store.get("/nodes", "", node)
    return Reference(node, "" if there is None else there.raw["metadata"]["uid"])


def _metadata(api: Api, plural: str, namespace: str, name: str) -> ObjectMeta:
    stored = api.store.get(f"/{plural}", namespace, name)
    if stored is None:
        raise errors.not_found(plural, "", name)
    return parse_as(ObjectMeta, stored.raw["metadata"])
