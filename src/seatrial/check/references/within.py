"""References within one object: names that a pod must have itself.

Rules: mounts, probes and hooks lead to volumes and ports of the same pod; a volume that nothing mounts, a mounted key
that its ConfigMap does not have, `$(NAME)` of a variable that is nowhere defined before, and two containers that listen
on one port are told here, since all of them are seen in one template.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final

from seatrial.check.references import near
from seatrial.check.references.edges import LOCALS, Local
from seatrial.check.references.found import Found
from seatrial.check.references.inventory import (
    GROUPS,
    Inventory,
    Steps,
    Template,
    items,
    steps,
    template_of,
    value_at,
    walk,
)
from seatrial.check.references.names import is_filled, keys_of
from seatrial.check.system import Entry, Path
from seatrial.kube.objects import JsonObject

_VARIABLE: Final = re.compile(r"(\$+)\(([A-Z][A-Z0-9_]*)\)")
"""`$(NAME)` as the kubelet expands it, in capitals only: a shell's `$(command)` looks the same."""
_MOUNTED_BY_OTHERS: Final = "sidecar.istio.io/"


def look(found: Found, entries: tuple[Entry, ...]) -> None:
    for entry in entries:
        template = template_of(found.inventory.kind(entry), entry)
        if template is None:
            continue
        claims = _claims(entry)
        for local, root, path in _locals():
            _local(found, template, local, root, path, claims)
        _unused_volumes(found, template)
        _sub_paths(found, template)
        _variables(found, template)


def _local(found: Found, template: Template, local: Local, root: Steps, path: Steps, claims: set[str]) -> None:
    for base, scope in walk(template.spec, root):
        known: set[str] | None = None
        for at, name in walk(scope, path):
            if not isinstance(name, str) or name.isdigit() or not name:
                continue
            if known is None:
                known = {
                    value for each in local.among for _, value in walk(scope, steps(each)) if isinstance(value, str)
                }
                if local.among[0].startswith("volumes"):
                    known |= claims
            found.count += 1
            if name in known:
                continue
            message = f"{local.then}: {name!r} is no {local.what}{near.told(name, known, known)}"
            found.defect(template.entry, message, (*template.at, "spec", *base, *at))


@cache
def _locals() -> tuple[tuple[Local, Steps, Steps], ...]:
    found = []
    for local in LOCALS:
        root, path = steps(local.root), steps(local.at)
        for group in GROUPS:
            if root and root[0] == "containers":
                found.append((local, (group, *root[1:]), path))
            elif path[0] == "containers":
                found.append((local, root, (group, *path[1:])))
            elif group == "containers":
                found.append((local, root, path))
    return tuple(found)


def _claims(entry: Entry) -> set[str]:
    claims = items(entry.admitted.get("spec") or {}, "volumeClaimTemplates")
    return {str((claim.get("metadata") or {}).get("name")) for claim in claims}


def _unused_volumes(found: Found, template: Template) -> None:
    """A volume that no container mounts is still made, and waited for, before the pod starts."""
    annotations = value_at(template.entry.admitted, (*template.at, "metadata", "annotations")) or {}
    if any(str(key).startswith(_MOUNTED_BY_OTHERS) for key in annotations):
        return
    mounted = {
        item.get("name")
        for _, container in template.containers()
        for field in ("volumeMounts", "volumeDevices")
        for item in items(container, field)
    }
    for index, volume in enumerate(items(template.spec, "volumes")):
        name = volume.get("name")
        found.count += 1
        if isinstance(name, str) and name not in mounted and not name.startswith("kube-api-access-"):
            message = f"no container sees what is in it: volume {name!r} is mounted by none"
            found.defect(template.entry, message, (*template.at, "spec", "volumes", index))


def _sub_paths(found: Found, template: Template) -> None:
    """A `subPath` into a ConfigMap or Secret is one of the files that the volume has."""
    volumes = {volume.get("name"): volume for volume in items(template.spec, "volumes")}
    for at, container in template.containers():
        for index, mount in enumerate(items(container, "volumeMounts")):
            path = mount.get("subPath")
            volume = volumes.get(mount.get("name"))
            if not isinstance(path, str) or volume is None:
                continue
            files = _files(found.inventory, template, volume)
            if files is None:
                continue
            found.count += 1
            first = path.strip("/")
            if not any(file == first or file.startswith(f"{first}/") for file in files):
                message = (
                    f"the container finds an empty directory at {mount.get('mountPath')}: volume {mount.get('name')!r}"
                    f" has no {path!r}{near.told(first, files)}"
                )
                found.defect(template.entry, message, (*at, "volumeMounts", index, "subPath"))


def _files(inventory: Inventory, template: Template, volume: JsonObject) -> frozenset[str] | None:
    """The files of a ConfigMap's or Secret's volume; None if it is another volume, or nobody knows."""
    for field, kind, name_field in (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName")):
        source = volume.get(field)
        if not isinstance(source, dict):
            continue
        if isinstance(source.get("items"), list):
            return frozenset(str(item.get("path")) for item in items(source, "items"))
        target = inventory.find(kind, template.namespace, str(source.get(name_field)))
        if target is None or target.entry is None:
            return None
        present = keys_of(target.entry)
        return None if not present and is_filled(inventory, target.entry) else present
    return None


def _variables(found: Found, template: Template) -> None:
    """`$(NAME)` in a command, its arguments or a later variable is replaced only if NAME is defined before."""
    for at, container in template.containers():
        known = _from_elsewhere(found.inventory, template, container)
        everything = {str(variable.get("name")) for variable in items(container, "env")}
        earlier: set[str] = set()
        for index, variable in enumerate(items(container, "env")):
            if known is not None:
                _expand(
                    found, template, variable.get("value"), (*at, "env", index, "value"), known | earlier, everything
                )
            earlier.add(str(variable.get("name")))
        if known is None:
            continue
        for field in ("command", "args"):
            words = container.get(field)
            for index, word in enumerate(words if isinstance(words, list) else ()):
                _expand(found, template, word, (*at, field, index), known | earlier, everything)


def _expand(found: Found, template: Template, text: Any, at: Path, known: set[str], everything: set[str]) -> None:
    if not isinstance(text, str) or "$(" not in text:
        return
    for dollars, name in _VARIABLE.findall(text):
        if len(dollars) % 2 == 0:  # $$(NAME) is meant to stay
            continue
        found.count += 1
        if name in known or _is_service_variable(found.inventory, template, name):
            continue
        candidate = near.meant(name, known)
        meant = f"; probably {candidate} is meant" if candidate else ""
        why = "is defined only after it" if name in everything else "is no variable of the container"
        found.defect(template.entry, f"$({name}) stays as it stands: {name} {why}{meant}", at)


def _from_elsewhere(inventory: Inventory, template: Template, container: JsonObject) -> set[str] | None:
    """The variables that whole ConfigMaps and Secrets give a container; None if one of them is not known."""
    known: set[str] = set()
    for source in items(container, "envFrom"):
        prefix = str(source.get("prefix") or "")
        for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            reference = source.get(field)
            if isinstance(reference, dict):
                target = inventory.find(kind, template.namespace, str(reference.get("name")))
                if target is None or target.entry is None:
                    return None
                known |= {prefix + key for key in keys_of(target.entry)}
    return known


def _is_service_variable(inventory: Inventory, template: Template, name: str) -> bool:
    """Whether it is one of those that the kubelet adds for each Service (`WEB_SERVICE_HOST`, `WEB_PORT`, ...)."""
    services = (*inventory.names("Service", template.namespace), "kubernetes")
    return any(name.startswith(service.upper().replace("-", "_") + "_") for service in services)
