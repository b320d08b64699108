"""What the admission of ServiceAccounts makes of a new pod: every pod has an account, and most have its token.

A pod without an account gets `default`; the account must be there. Unless pod or account say otherwise, a projected
volume `kube-api-access-xxxxx` is mounted into each container: a token, the authority to trust, the namespace. Pull
secrets are the account's where the pod has none. Semantics: upstream's admission plug-in ServiceAccount.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from seatrial.control.serviceaccount import DEFAULT, ROOT_CA
from seatrial.control.tokens import MOUNTED_S
from seatrial.kube.objects import JsonObject, ServiceAccount

MOUNT_PATH: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_VOLUME: Final = "kube-api-access-"
_MIRROR: Final = "kubernetes.io/config.mirror"
_ENFORCE: Final = "kubernetes.io/enforce-mountable-secrets"
_TRUE: Final = ("1", "t", "T", "TRUE", "true", "True")


class RefusedError(Exception):
    """The pod may not be created; the message is the plug-in's."""


def account_name(pod: JsonObject) -> str:
    """The account that a new pod runs as, whether or not that is there."""
    spec = pod.get("spec") or {}
    return str(spec.get("serviceAccountName") or spec.get("serviceAccount") or DEFAULT)


def admit(pod: JsonObject, account: ServiceAccount | None, suffix: Callable[[], str]) -> JsonObject:
    """The pod as it is stored. `account` is the one of `account_name`. Raises `RefusedError`."""
    metadata, spec = pod["metadata"], pod.get("spec") or {}
    if _MIRROR in (metadata.get("annotations") or {}):
        _check_mirror(spec)
        return pod
    name = account_name(pod)
    if account is None:
        why = f'serviceaccount "{name}" not found'
        raise RefusedError(f"error looking up service account {metadata.get('namespace', '')}/{name}: {why}")
    spec = {**spec, "serviceAccountName": name, "serviceAccount": name}
    wanted = spec.get("automountServiceAccountToken")
    if wanted is None:
        wanted = account.automount_service_account_token
    if wanted is not False:
        spec = _mounted(spec, suffix)
    if not spec.get("imagePullSecrets") and account.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": each.name} for each in account.image_pull_secrets]
    if account.metadata.annotations.get(_ENFORCE) in _TRUE:
        for problem in _unmountable(spec, account):
            raise RefusedError(problem)
    return {**pod, "spec": spec}


def _mounted(spec: JsonObject, suffix: Callable[[], str]) -> JsonObject:
    volumes = spec.get("volumes") or []
    given = next((each["name"] for each in volumes if str(each.get("name", "")).startswith(_VOLUME)), None)
    mount = {"name": given, "mountPath": MOUNT_PATH, "readOnly": True}
    changed = dict(spec)
    needed = False
    for part in ("initContainers", "containers"):
        containers = []
        for container in spec.get(part) or ():
            mounts = container.get("volumeMounts") or []
            if all(each.get("mountPath") != MOUNT_PATH for each in mounts):
                if mount["name"] is None:
                    mount["name"] = _VOLUME + suffix()
                container = {**container, "volumeMounts": [*mounts, dict(mount)]}
                needed = True
            containers.append(container)
        if containers:
            changed[part] = containers
    if given is None and needed:
        changed["volumes"] = [*volumes, {"name": mount["name"], "projected": _sources()}]
    return changed


def _sources() -> JsonObject:
    namespace = {"fieldPath": "metadata.namespace", "apiVersion": "v1"}
    return {
        "defaultMode": 0o644,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": MOUNTED_S, "path": "token"}},
            {"configMap": {"name": ROOT_CA, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": namespace}]}},
        ],
    }


def _check_mirror(spec: JsonObject) -> None:
    if spec.get("serviceAccountName"):
        raise RefusedError("a mirror pod may not reference service accounts")
    volumes = spec.get("volumes") or ()
    if any("secret" in volume for volume in volumes) or any(True for _ in _secret_uses(spec)):
        raise RefusedError("a mirror pod may not reference secrets")
    for volume in volumes:
        for source in (volume.get("projected") or {}).get("sources") or ():
            if "secret" in source:
                raise RefusedError("a mirror pod may not reference secrets")
            if "serviceAccountToken" in source:
                raise RefusedError("a mirror pod may not use ServiceAccountToken volume projections")


def _unmountable(spec: JsonObject, account: ServiceAccount) -> Iterator[str]:
    """Secrets that the pod uses and its account does not list, where the account asks for that to be enforced."""
    known = {each.name for each in account.secrets}
    end = f"is not allowed because service account {account.metadata.name} does not reference that"
    for volume in spec.get("volumes") or ():
        name = (volume.get("secret") or {}).get("secretName")
        if name is not None and name not in known:
            yield f'volume with secret.secretName="{name}" {end} secret'
    for where, name in _secret_uses(spec):
        if name not in known:
            yield f'{where} referencing secret.secretName="{name}" {end} secret'
    pulled = {each.name for each in account.image_pull_secrets}
    for index, each in enumerate(spec.get("imagePullSecrets") or ()):
        if each.get("name") not in pulled:
            yield f'imagePullSecrets[{index}].name="{each.get("name")}" {end} imagePullSecret'


def _secret_uses(spec: JsonObject) -> Iterator[tuple[str, str]]:
    for part, title in (("initContainers", "init container"), ("containers", "container")):
        for container in spec.get(part) or ():
            where = f"{title} {container.get('name')}"
            for variable in container.get("env") or ():
                reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
                if reference is not None:
                    yield f"{where} with envVar {variable.get('name')}", reference.get("name", "")
            for source in container.get("envFrom") or ():
                if source.get("secretRef") is not None:
                    yield f"{where} with envFrom", source["secretRef"].get("name", "")
