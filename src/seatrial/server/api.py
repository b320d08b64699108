"""The Kubernetes API without sockets: requests in, objects or `StatusError` out, one change of the store per write.

Everything here is synchronous and runs in one thread, so each method is a transaction. Objects that are handed out
must not be modified. Clock, uids and name suffixes come from the caller, so that a run on virtual time can be replayed.

What a write goes through, in upstream's order: decoding checks (unknown fields), the namespace's life cycle,
defaulting (`control.admission`), identity and generation, validation, preconditions, the store. Semantics:
https://kubernetes.io/docs/reference/using-api/api-concepts/ and the registry strategies of kube-apiserver.

Server-side apply is refused with 415: answering it without field ownership would lose other writers' fields silently.
"""

from __future__ import annotations

import ipaddress
import random
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from seatrial.control import access, admission, autoscaling_v1
from seatrial.kube import patches, schemas, validation
from seatrial.kube.customresources import rules, shape
from seatrial.kube.objects import JsonObject
from seatrial.kube.schemas import Resource
from seatrial.kube.times import after
from seatrial.server import (
    bodies,
    certificates,
    customresources,
    errors,
    immutable,
    limits,
    measured,
    names,
    podsecurity,
    priorities,
    quotas,
    roles,
    runtimeclasses,
    storage,
    strategies,
)
from seatrial.server.authorisation import StoredPolicy
from seatrial.server.authority import Authority
from seatrial.server.customresources import CustomResources
from seatrial.server.errors import Cause
from seatrial.server.measured import Measurements
from seatrial.server.requests import (
    APPLY_PATCH,
    AS_USUAL,
    EVERYTHING,
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_PATCH,
    DeleteOptions,
    Filter,
    LogSource,
    Options,
    Page,
    decode_continue,
    encode_continue,
)
from seatrial.server.resources import Resources, group_version, load, storage_key
from seatrial.server.store import Change, Store
from seatrial.server.times import wire_time

SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # upstream's: no vowels, nothing that looks like another letter
_MAX_GENERATED_BASE = 58
_ORPHANING = {"Job", "ReplicationController"}
"""The kinds that keep this default of deletion from before garbage collection."""
_STATUS_ON_CREATE = {"Node"}
_CHARGED_ON_UPDATE = {"PersistentVolumeClaim", "Pod", "Service"}


def _random_suffix() -> str:
    return "".join(random.choices(SUFFIX_LETTERS, k=5))


class Api:
    """The objects of one cluster."""

    def __init__(
        self,
        store: Store,
        *,
        version: str = "1.37",
        service_cidr: str = "10.96.0.0/16",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_uid: Callable[[], str] = lambda: str(uuid.uuid4()),
        suffix: Callable[[], str] = _random_suffix,
        logs: LogSource | None = None,
        measurements: Measurements | None = None,
        port: int = 6443,
        authority: Authority | None = None,
        disabled_plugins: Collection[str] = (),
    ) -> None:
        """`disabled_plugins` are admission plug-ins, by upstream's names; ServiceAccount can be done without."""
        self.store = store
        self.version = version
        self.minor = int(version.partition(".")[2])
        self.authority = authority or Authority()
        self.policy: access.Policy = StoredPolicy(store)
        self.disabled_plugins = frozenset(disabled_plugins)
        self._measurements = measurements
        self._builtin = (*load(version), *(measured.RESOURCES if measurements is not None else ()))
        self.custom: CustomResources
        """What the stored CustomResourceDefinitions serve; `resources` is all that is served."""
        self.resources: Resources
        self._serve_definitions()
        store.subscribe(self._on_change)
        self.logs = logs
        self.on_request: Callable[[str, Resource, str, str], None] = lambda *_: None
        """Called first with verb, resource, namespace and name; may refuse the request by raising `StatusError`."""
        self.pod_webhook: Callable[[JsonObject], JsonObject] = lambda pod: pod
        """What a program beside the API server makes of each new pod, as a mutating webhook would."""
        self.network = ipaddress.IPv4Network(service_cidr)
        self._now = now
        self.new_uid = new_uid
        self.suffix = suffix
        for name in SYSTEM_NAMESPACES:
            if store.get("/namespaces", "", name) is None:
                self.create(self.kind("v1", "Namespace"), "", {"metadata": {"name": name}})
        if store.get("/services", "default", "kubernetes") is None:
            ports = [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}]
            labels = {"component": "apiserver", "provider": "kubernetes"}
            service = {
                "metadata": {"name": "kubernetes", "labels": labels},
                "spec": {"clusterIP": str(self.network[1]), "ports": ports},
            }
            self.create(self.kind("v1", "Service"), "default", service)
        classes = self.kind("scheduling.k8s.io/v1", "PriorityClass")
        for each in priorities.SYSTEM_CLASSES:
            if store.get(storage_key(classes), "", each["metadata"]["name"]) is None:
                self.create(classes, "", each)
        roles.bootstrap(self)

    def _on_change(self, change: Change) -> None:
        if change.resource == customresources.KEY:
            self._serve_definitions()

    def _serve_definitions(self) -> None:
        self.custom = CustomResources(stored.raw for stored in self.store.all(customresources.KEY).values())
        self.resources = Resources((*self._builtin, *self.custom.resources))

    def kind(self, api_version: str, kind: str) -> Resource:
        """The resource of a kind. Raises `StatusError` (404) for one that is not served."""
        found = self.resources.kind(api_version, kind)
        if found is None:
            raise errors.failure(404, "NotFound", f'no matches for kind "{kind}" in version "{api_version}"')
        return found

    def now(self) -> datetime:
        return self._now().astimezone(UTC)

    def subscribe(self, callback: Callable[[JsonObject | None, JsonObject | None, int], None]) -> Callable[[], None]:
        """Call `callback(before, after, revision)` for each later change, in order; returns how to stop that."""

        def on_change(change: Change) -> None:
            before = None if change.before is None else change.before.raw
            callback(before, None if change.after is None else change.after.raw, change.revision)

        return self.store.subscribe(on_change)

    # Reading

    def get(self, resource: Resource, namespace: str, name: str) -> JsonObject:
        self.on_request("get", resource, namespace, name)
        return self.served(resource, self._existing(resource, namespace, name))

    def list(self, resource: Resource, which: Filter = EVERYTHING, *, limit: int = 0, continue_token: str = "") -> Page:
        self.on_request("list", resource, which.namespace, "")
        selects = self.predicate(resource, which)
        if self._measurements is not None and resource.group == measured.GROUP:
            found = sorted(measured.all_of(resource, self._measurements).items())
            return Page([raw for _, raw in found if selects(raw)], self.store.revision)
        stored = self.store.all(storage_key(resource))
        revision, start = self.store.revision, None
        if continue_token:
            revision, start = decode_continue(continue_token)
            then = self.store.at(storage_key(resource), revision)
            if then is None:
                raise errors.expired(
                    "The provided continue parameter is too old to display a consistent list result. You can start a "
                    "new list without the continue parameter, or use the continue token in this response to retrieve "
                    "the remainder of the results.",
                    encode_continue(self.store.revision, start),
                )
            stored = then
        items: list[JsonObject] = []
        names = sorted(stored)
        for position, key in enumerate(names):
            if start is not None and key <= start:
                continue
            raw = stored[key].raw
            if not selects(raw):
                continue
            if limit and len(items) == limit:
                remaining = None if which.labels or which.fields or which.namespace else len(names) - position
                last = items[-1]["metadata"]
                token = encode_continue(revision, (last.get("namespace", ""), last["name"]))
                return Page(items, revision, token, remaining)
            items.append(self.served(resource, raw))
        return Page(items, revision)

    def predicate(self, resource: Resource, which: Filter) -> Callable[[JsonObject], bool]:
        """Which stored objects of a resource are meant. Raises `StatusError` (400)."""
        custom = self.custom.of(resource)
        if custom is not None:
            custom.check_fields(which)
        return which.predicate()

    # Writing

    def create(self, resource: Resource, namespace: str, raw: JsonObject, options: Options | None = None) -> JsonObject:
        options = options or Options()
        self.on_request("create", resource, namespace, _name_in(raw))
        raw = self._decoded(resource, raw, options)
        metadata = {key: value for key, value in raw["metadata"].items() if key not in _SERVER_METADATA}
        if resource.namespaced:
            if (metadata.get("namespace") or namespace) != namespace:
                raise errors.bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
            metadata["namespace"] = namespace
        else:
            metadata.pop("namespace", None)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"][:_MAX_GENERATED_BASE] + self.suffix()
        versioned = bool(raw["metadata"].get("resourceVersion"))
        metadata["uid"] = self.new_uid()
        metadata["creationTimestamp"] = wire_time(self.now())
        if strategies.has_generation(resource) and (resource.kind != "Pod" or self.minor >= 33):
            metadata["generation"] = 1
        raw = {**raw, "metadata": metadata}
        if "status" in resource.subresources and resource.native not in _STATUS_ON_CREATE:
            raw["status"] = {}
            if resource.custom:
                del raw["status"]
        custom = self.custom.of(resource)
        if custom is not None and custom.definition.is_terminating:
            why = "create not allowed while custom resource definition is terminating"
            raise errors.forbidden(resource.plural, resource.group, metadata.get("name", ""), why)
        if not self._has_rules(resource):
            names.check(resource, metadata)
            names.check_finalizers(resource, metadata, None)
        if resource.namespaced:
            self._check_namespace(resource, namespace, metadata.get("name", ""))
        raw = strategies.prepare(self, resource, raw, None, options)
        roles.check(self, resource, raw, None, options.user)
        self._validate(resource, raw, None, options)
        if resource.native == "Pod":
            runtimeclasses.check(self, raw)
        podsecurity.admit(self, resource, raw, None, options)
        limits.check(self, resource, raw)
        if versioned:
            raise errors.bad_request("resourceVersion should not be set on objects to be created")
        quotas.charge(self, resource, raw, None, dry_run=options.dry_run)
        there = self.store.get(storage_key(resource), metadata.get("namespace", ""), metadata["name"])
        if there is not None:
            going = "deletionTimestamp" in there.raw["metadata"]
            raise errors.already_exists(resource.plural, resource.group, metadata["name"], going=going)
        return self._put(resource, raw, options)

    def update(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        raw: JsonObject,
        options: Options | None = None,
        *,
        subresource: str = "",
    ) -> JsonObject:
        """Replace an object, its status (`subresource="status"`) or its scale.

        409 if `resourceVersion` is not current.
        """
        self.on_request("update", resource, namespace, name)
        return self._update(resource, namespace, name, raw, options or Options(), subresource)

    def _update(
        self, resource: Resource, namespace: str, name: str, raw: JsonObject, options: Options, subresource: str
    ) -> JsonObject:
        before = self._existing(resource, namespace, name)
        if subresource == "scale":
            return self._set_scale(resource, before, raw, options)
        raw = self._decoded(resource, raw, options)
        sent = raw["metadata"].get("name") or ""
        if not sent:
            why = f"the name of the object ({name} based on URL) was undeterminable: name must be provided"
            raise errors.bad_request(why)
        if sent != name:
            raise errors.bad_request(f"the name of the object ({sent}) does not match the name on the URL ({name})")
        conditional = resource.custom or customresources.is_definition(resource)
        if conditional and not raw["metadata"].get("resourceVersion"):
            raise errors.invalid(resource.plural, resource.group, name, customresources.without_version())
        self._check_unchanged(resource, before, raw["metadata"])
        after = self._merged(resource, before, raw, subresource)
        if certificates.is_request(resource):
            after = certificates.updated(
                self, before, {**after, "status": raw.get("status")}, subresource, options.user
            )
        if subresource == "finalize":
            after = {**before, "spec": raw.get("spec", {})}
            if before["metadata"].get("deletionTimestamp") and not after["spec"].get("finalizers"):
                return self._remove(resource, after, dry_run=options.dry_run)
        return self._replace(resource, before, after, replace(options, subresource=subresource))

    def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: object,
        content_type: str = MERGE_PATCH,
        options: Options | None = None,
        *,
        subresource: str = "",
    ) -> JsonObject:
        """Apply a JSON, merge or strategic merge patch; a `resourceVersion` in it is a precondition."""
        options = options or Options()
        self.on_request("patch", resource, namespace, name)
        before = self._existing(resource, namespace, name)
        base = self.scale(resource, namespace, name) if subresource == "scale" else self.served(resource, before)
        try:
            if content_type == JSON_PATCH:
                after = patches.json_patch(base, patch)  # type: ignore[arg-type]  # checked by json_patch
            elif not isinstance(patch, dict):
                raise errors.bad_request("the patch must be a JSON object")
            elif content_type == MERGE_PATCH or subresource == "scale":
                after = patches.merge_patch(base, patch)
            elif content_type == STRATEGIC_PATCH:
                node = schemas.load(self.version).kind(group_version(resource), resource.kind)
                if resource.custom:
                    raise errors.unsupported_media_type(
                        "the body of the request was in an unknown format - accepted media types include: "
                        f"{', '.join((*customresources.PATCHES, APPLY_PATCH))}"
                    )
                if node is None:
                    raise errors.unsupported_media_type(
                        f"strategic merge patch is not supported for {resource.kind}, which has no schema here: "
                        f"use {MERGE_PATCH}"
                    )
                after = patches.strategic_merge(base, patch, node)
            else:
                raise errors.unsupported_media_type(
                    "the body of the request was in an unknown format - accepted media types include: "
                    f"{JSON_PATCH}, {MERGE_PATCH}, {STRATEGIC_PATCH} (server-side apply, {APPLY_PATCH}, "
                    "is not served: use `kubectl apply` without --server-side)"
                )
        except patches.PatchError as error:
            if content_type == JSON_PATCH:
                raise errors.failure(
                    422, "Invalid", f"the server rejected our request due to an error in our request: {error}"
                ) from error
            raise errors.bad_request(str(error)) from error
        if not isinstance(after, dict) or not isinstance(after.get("metadata"), dict):
            raise errors.bad_request("the patched object has no metadata")
        return self._update(resource, namespace, name, after, replace(options, patched=after), subresource)

    def bind(self, pod_namespace: str, pod_name: str, node_name: str, *, dry_run: bool = False) -> JsonObject:
        """Assign a pod to a node: the `binding` subresource."""
        resource = self.kind("v1", "Pod")
        self.on_request("bind", resource, pod_namespace, pod_name)
        before = self._existing(resource, pod_namespace, pod_name)
        if before["metadata"].get("deletionTimestamp"):
            raise errors.conflict(
                "pods", "", pod_name, f"pod {pod_name} is being deleted, cannot be assigned to a host"
            )
        if before["spec"].get("nodeName"):
            current = before["spec"]["nodeName"]
            raise errors.conflict("pods", "", pod_name, f'pod {pod_name} is already assigned to node "{current}"')
        condition = {
            "type": "PodScheduled",
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": wire_time(self.now()),
        }
        status = before.get("status", {})
        others = [item for item in status.get("conditions") or () if item["type"] != "PodScheduled"]
        after = {
            **before,
            "spec": {**before["spec"], "nodeName": node_name},
            "status": {**status, "conditions": [*others, condition]},
        }
        return self._put(resource, strategies.of_its_node(self, after), Options(dry_run=dry_run))

    def delete(self, resource: Resource, namespace: str, name: str, options: DeleteOptions = AS_USUAL) -> JsonObject:
        """Delete at once, or mark as being deleted when finalizers, a namespace's content or a pod's grace require it.

        Returns the object as it was left: `metadata.deletionTimestamp` is set if it is still there.
        """
        self.on_request("delete", resource, namespace, name)
        before = self._existing(resource, namespace, name)
        metadata = before["metadata"]
        for wanted, current, what in (
            (options.uid, metadata["uid"], "UID"),
            (options.resource_version, metadata["resourceVersion"], "ResourceVersion"),
        ):
            if wanted is not None and wanted != current:
                why = f"Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {current}"
                raise errors.conflict(resource.plural, resource.group, name, why)
        if resource.native == "Namespace" and name in SYSTEM_NAMESPACES[:3]:
            raise errors.forbidden(resource.plural, "", name, "this namespace may not be deleted")
        if resource.native == "PriorityClass" and name in priorities.SYSTEM_NAMES:
            why = "this is a system priority class and cannot be deleted"
            raise errors.forbidden(resource.plural, resource.group, name, why)
        if strategies.is_under_way(resource, before, options):
            return self.served(resource, before)
        grace_s = strategies.grace_s(resource, before, options)
        finalizers = list(metadata.get("finalizers") or ())
        policies = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}
        propagation = options.propagation
        if not propagation and resource.native in _ORPHANING and not set(finalizers) & set(policies.values()):
            propagation = "Orphan"
        for policy, finalizer in policies.items():
            if propagation:
                finalizers = [item for item in finalizers if item != finalizer]
            if propagation == policy:
                finalizers.append(finalizer)
        if customresources.is_definition(resource) and not metadata.get("deletionTimestamp"):
            marked = customresources.marked_for_deletion(
                {**before, "metadata": {**metadata, "finalizers": finalizers}}, wire_time(self.now())
            )
            return self._put(resource, marked, Options(dry_run=options.dry_run))
        waits = bool(finalizers) or (resource.native == "Namespace" and before.get("spec", {}).get("finalizers"))
        if not grace_s and not waits:
            return self._remove(resource, before, dry_run=options.dry_run)
        after = self._marked(before, grace_s, finalizers)
        if resource.native == "Namespace":
            after["status"] = {**after.get("status", {}), "phase": "Terminating"}
        if after == before:
            return self.served(resource, before)
        return self._put(resource, after, Options(dry_run=options.dry_run))

    def delete_collection(self, resource: Resource, which: Filter, options: DeleteOptions = AS_USUAL) -> Page:
        page = self.list(resource, which)
        for item in page.items:
            self.delete(resource, item["metadata"].get("namespace", ""), item["metadata"]["name"], options)
        return replace(page, revision=self.store.revision)

    def scale(self, resource: Resource, namespace: str, name: str) -> JsonObject:
        """The autoscaling/v1 Scale of a workload."""
        raw = self._existing(resource, namespace, name)
        custom = self.custom.of(resource)
        if custom is not None:
            return custom.scaled(raw)
        metadata = {key: raw["metadata"][key] for key in _SCALE_METADATA if key in raw["metadata"]}
        selector = raw["spec"].get("selector") or {}
        status = {"replicas": raw.get("status", {}).get("replicas", 0), "selector": _selector_text(selector)}
        return {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": metadata,
            "spec": {"replicas": raw["spec"].get("replicas", 0)},
            "status": {key: value for key, value in status.items() if value != ""},
        }

    # The steps of a write

    def _existing(self, resource: Resource, namespace: str, name: str) -> JsonObject:
        if self._measurements is not None and resource.group == measured.GROUP:
            raw = measured.all_of(resource, self._measurements).get((namespace, name))
            if raw is None:
                raise errors.not_found(resource.plural, resource.group, name)
            return raw
        stored = self.store.get(storage_key(resource), namespace if resource.namespaced else "", name)
        if stored is None:
            raise errors.not_found(resource.plural, resource.group, name)
        return stored.raw

    def served(self, resource: Resource, raw: JsonObject) -> JsonObject:
        """A stored object in the version asked for."""
        version = group_version(resource)
        custom = self.custom.of(resource)
        if custom is not None:
            return custom.shown(raw)
        if customresources.is_definition(resource):
            return customresources.told(raw)
        if raw["apiVersion"] == version:
            return raw
        return autoscaling_v1.shown(raw) if version == autoscaling_v1.V1 else {**raw, "apiVersion": version}

    def _decoded(self, resource: Resource, raw: JsonObject, options: Options) -> JsonObject:
        """`raw` with its kind checked and its unknown fields reported as `fieldValidation` says."""
        version, kind = group_version(resource), resource.kind
        custom = self.custom.of(resource)
        if custom is None and (raw.get("kind", kind) != kind or raw.get("apiVersion", version) != version):
            raise errors.bad_request(
                f"the API version in the data ({raw.get('apiVersion')}, Kind={raw.get('kind')}) does not match the "
                f"expected API version ({version}, Kind={kind})"
            )
        raw = {"apiVersion": version, "kind": kind, **raw}
        if raw.get("metadata") is None:
            raw["metadata"] = {}
        if not isinstance(raw["metadata"], dict):
            raise errors.bad_request(f"{kind}: metadata must be an object")
        if options.trusted:
            return raw
        if custom is not None:
            return custom.decoded(raw, options)
        if customresources.is_definition(resource):
            customresources.check_shape(raw)
        if resource.native in _WITH_BYTES:
            raw = bodies.with_bytes(raw, _WITH_BYTES[resource.native])
        problems = schemas.validate(raw, schemas.load(self.version))
        for problem in problems:
            if problem.kind == "type":
                path = ".".join(map(str, problem.path))
                raise errors.bad_request(
                    f'{kind} in version "{resource.version}" cannot be handled as a {kind}: {path}: {problem.message}'
                )
        if options.field_validation != "Ignore":
            texts = [f'unknown field "{_path_text(item.path)}"' for item in problems if item.kind == "unknown"]
            texts += [f'duplicate field "{path}"' for path in options.duplicates if not _is_free(resource, path)]
            if texts and options.field_validation == "Strict":
                raise errors.bad_request(
                    f'{kind} in version "{resource.version}" cannot be handled as a {kind}: strict decoding error: '
                    + ", ".join(texts)
                )
            options.warnings += texts
        if version == autoscaling_v1.V1:
            metadata = raw["metadata"]
            before = self.store.get(storage_key(resource), metadata.get("namespace", ""), metadata.get("name", ""))
            return autoscaling_v1.stored(raw, None if before is None else before.raw)
        return raw

    def _check_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        stored = self.store.get("/namespaces", "", namespace)
        if stored is None:
            raise errors.not_found("namespaces", "", namespace)
        if stored.raw["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            cause = Cause("NamespaceTerminating", "metadata.namespace", f"namespace {namespace} is being terminated")
            raise errors.forbidden(resource.plural, resource.group, name, why, [cause])

    def _check_unchanged(self, resource: Resource, before: JsonObject, sent: JsonObject) -> None:
        current = before["metadata"]
        if sent.get("resourceVersion") not in (None, "", "0", current["resourceVersion"]):
            why = "the object has been modified; please apply your changes to the latest version and try again"
            raise errors.conflict(resource.plural, resource.group, current["name"], why)
        if sent.get("uid", current["uid"]) not in ("", current["uid"]):
            why = f"Precondition failed: UID in precondition: {sent['uid']}, UID in object meta: {current['uid']}"
            raise errors.conflict(resource.plural, resource.group, current["name"], why)

    def _merged(self, resource: Resource, before: JsonObject, raw: JsonObject, subresource: str) -> JsonObject:
        """What of `raw` the request may write, over `before`."""
        kept = {key: before["metadata"][key] for key in _SERVER_METADATA if key in before["metadata"]}
        if subresource in immutable.POD_PARTS:
            return {**before, "spec": immutable.with_pod_part(before.get("spec", {}), raw.get("spec", {}), subresource)}
        if subresource:
            after = {**before, "status": raw.get("status", {})}
            if resource.custom and "status" not in raw:
                del after["status"]
            if subresource == "status" and resource.native in ("Pod", "Node"):
                texts = {key: raw["metadata"].get(key, {}) for key in ("labels", "annotations")}
                after["metadata"] = {**before["metadata"], **{key: value for key, value in texts.items() if value}}
            return after
        sent = {key: value for key, value in raw["metadata"].items() if key not in _SERVER_METADATA}
        if before["metadata"].get("namespace"):
            sent["namespace"] = before["metadata"]["namespace"]
        after = {**raw, "metadata": {**sent, "name": before["metadata"]["name"], **kept}}
        if "status" in resource.subresources:
            after.pop("status", None)
            if "status" in before:
                after["status"] = before["status"]
        return after

    def _replace(self, resource: Resource, before: JsonObject, after: JsonObject, options: Options) -> JsonObject:
        if options.trusted and not resource.custom and _differs_in_status_only(before, after):
            after = self._with_status(after)
        else:
            after = strategies.prepare(self, resource, after, before, options)
            roles.check(self, resource, after, before, options.user)
        metadata = after["metadata"]
        custom = self.custom.of(resource)
        counts = (
            custom.generation_counts(before, after)
            if custom is not None
            else strategies.generation_counts(resource.native, before, after, options)
        )
        if "generation" in metadata and counts:
            after = {**after, "metadata": {**metadata, "generation": metadata["generation"] + 1}}
        self._validate(resource, after, before, options)
        podsecurity.admit(self, resource, after, before, options)
        if resource.native == "PersistentVolumeClaim" and after.get("spec") != before.get("spec"):
            storage.check_growth(self, resource, after, before)
        if not self._has_rules(resource):
            names.check_finalizers(resource, metadata, before["metadata"])
        if metadata.get("deletionTimestamp"):
            done = not metadata.get("finalizers") and not metadata.get("deletionGracePeriodSeconds")
            if done and not (resource.native == "Namespace" and after.get("spec", {}).get("finalizers")):
                removed = self._remove(resource, after, dry_run=options.dry_run)["metadata"]
                version = {"resourceVersion": removed["resourceVersion"]}
                return self.served(resource, {**after, "metadata": {**metadata, **version}})
        if strategies.changes_nothing(resource, before, after):
            return self.served(resource, before)
        if after.get("spec") != before.get("spec") and resource.native in _CHARGED_ON_UPDATE:
            if resource.native != "Pod" or options.subresource == "resize":
                limits.check(self, resource, after)
            quotas.charge(self, resource, after, before, dry_run=options.dry_run)
        return self._put(resource, after, options)

    def _with_status(self, raw: JsonObject) -> JsonObject:
        """`raw` after a trusted write of its status: nothing else may want defaults."""
        if not raw.get("status"):
            return raw
        part = {"apiVersion": raw["apiVersion"], "kind": raw["kind"], "status": raw["status"]}
        return {**raw, "status": admission.admit(part, version=self.version)["status"]}

    def _validate(self, resource: Resource, raw: JsonObject, before: JsonObject | None, options: Options) -> None:
        """Raises 422. What a status lacks is zero, as in upstream's decoding: a new object's status is empty."""
        name = raw["metadata"].get("name", "")
        if found := self._custom_causes(resource, raw, before, options):
            raise errors.invalid(resource.kind, resource.group, name, found)
        if resource.custom or customresources.is_definition(resource):
            return
        covered = self._has_rules(resource)
        causes = [
            Cause(
                "FieldValueRequired" if item.kind == "required" else "FieldValueInvalid",
                _path_text(item.path),
                "Required value" if item.kind == "required" else item.message,
            )
            for item in (() if options.trusted or covered else schemas.validate(raw, schemas.load(self.version)))
            if item.kind not in ("unknown", "duplicate", "type")
            and (item.kind, item.path[:1]) != ("required", ("status",))
        ]
        allowed = None
        if before is not None and options.subresource in immutable.POD_PARTS:
            part = immutable.with_pod_part(before.get("spec", {}), raw.get("spec", {}), options.subresource)
            allowed = {**before, "spec": part}
        causes += validation.faults(
            resource.native, raw, before, namespaced=resource.namespaced, minor=self.minor, allowed=allowed
        )
        if before is not None and options.subresource == "resize":
            causes += immutable.resize_causes(before, raw)
        if causes:
            raise errors.invalid(resource.kind, resource.group, name, causes)

    def _has_rules(self, resource: Resource) -> bool:
        """Whether its kind is one whose fields have rules here, metadata among them."""
        return validation.rules(resource.native) is not None

    def _custom_causes(
        self, resource: Resource, raw: JsonObject, before: JsonObject | None, options: Options
    ) -> Sequence[Cause]:
        """Why a custom resource, or a definition of one, is refused; what is said about those that are not."""
        custom = self.custom.of(resource)
        if custom is not None:
            options.warnings += custom.warnings(raw, before) if not options.subresource else ()
            return custom.faults(raw, before, options.subresource, self.minor)
        if not customresources.is_definition(resource) or options.subresource:
            return []
        found = rules.definition_faults(raw, before)
        options.warnings += rules.warnings(raw, before, minor=self.minor) if not found else ()
        return found

    def _set_scale(self, resource: Resource, before: JsonObject, raw: JsonObject, options: Options) -> JsonObject:
        self._check_unchanged(resource, before, raw.get("metadata") or {})
        replicas = (raw.get("spec") or {}).get("replicas", 0)
        custom = self.custom.of(resource)
        if not isinstance(replicas, int) or (replicas < 0 and custom is None):
            message = f"Invalid value: {replicas}: must be greater than or equal to 0"
            cause = Cause("FieldValueInvalid", "spec.replicas", message)
            raise errors.invalid("Scale", "autoscaling", before["metadata"]["name"], [cause])
        if custom is not None:
            after = custom.resized(before, replicas)
        else:
            after = {**before, "spec": {**before["spec"], "replicas": replicas}}
        self._replace(resource, before, after, options)
        return self.scale(resource, before["metadata"].get("namespace", ""), before["metadata"]["name"])

    def _marked(self, raw: JsonObject, grace_s: int, finalizers: Sequence[str]) -> JsonObject:
        metadata = dict(raw["metadata"])
        if finalizers:
            metadata["finalizers"] = [*finalizers]
        else:
            metadata.pop("finalizers", None)
        if not metadata.get("deletionTimestamp"):
            if "generation" in metadata:
                metadata["generation"] += 1
            metadata["deletionTimestamp"] = wire_time(after(self.now(), grace_s))
            if raw["kind"] != "Namespace":
                metadata["deletionGracePeriodSeconds"] = grace_s
        elif grace_s < metadata.get("deletionGracePeriodSeconds", 0):
            metadata |= strategies.sooner(metadata, grace_s, self.now())
        return {**raw, "metadata": metadata}

    def _put(self, resource: Resource, raw: JsonObject, options: Options) -> JsonObject:
        custom = self.custom.of(resource)
        if custom is not None:
            raw = custom.stored(raw)
        elif customresources.is_definition(resource):
            raw = shape.settled(raw)
        if options.dry_run:
            return self.served(resource, raw)
        metadata = raw["metadata"]
        written = self.store.put(storage_key(resource), metadata.get("namespace", ""), metadata["name"], raw)
        return self.served(resource, written)

    def _remove(self, resource: Resource, raw: JsonObject, *, dry_run: bool) -> JsonObject:
        if dry_run:
            return raw
        metadata = raw["metadata"]
        return self.store.remove(storage_key(resource), metadata.get("namespace", ""), metadata["name"])


_SERVER_METADATA = (
    "uid",
    "creationTimestamp",
    "resourceVersion",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
)
_SCALE_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def _is_free(resource: Resource, path: str) -> bool:
    """Whether a field is part of something that upstream keeps as it is written, without looking into it."""
    return path.startswith("data.") if resource.native == "ControllerRevision" else ".opaque.parameters." in path


_WITH_BYTES = {"ConfigMap": "binaryData", "Secret": "data"}


def _name_in(raw: JsonObject) -> str:
    """The name in a document that has not been looked at yet."""
    metadata = raw.get("metadata")
    return str(metadata.get("name", "")) if isinstance(metadata, dict) else ""


def _path_text(path: tuple[str | int, ...]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _differs_in_status_only(before: JsonObject, after: JsonObject) -> bool:
    return "spec" in before and after.get("spec") is before["spec"] and after["metadata"] == before["metadata"]


def _selector_text(selector: JsonObject) -> str:
    if not selector.keys() & {"matchLabels", "matchExpressions"}:
        return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for item in selector.get("matchExpressions") or ():
        values = ",".join(item.get("values") or ())
        words = {"In": f"{item['key']} in ({values})", "NotIn": f"{item['key']} notin ({values})"}
        parts.append(words.get(item["operator"], ("!" if item["operator"] == "DoesNotExist" else "") + item["key"]))
    return ",".join(parts)
