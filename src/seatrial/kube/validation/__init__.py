"""What the API server refuses of an object beyond its schema: the rules of the fields of every built-in kind.

Pure: an object as it would be stored (decoded, defaulted) and what is there before, faults in upstream's words out. The
server answers with them, `seatrial check` finds their lines. A file per API group, imported when a kind of it comes.
"""

from __future__ import annotations

from seatrial.kube.faults import Fault
from seatrial.kube.objects import JsonObject
from seatrial.kube.validation import batch, bounds, network, rbac, storage, workloads


def faults(kind: str, raw: JsonObject, before: JsonObject | None = None) -> list[Fault]:
    """Why a write of this object is refused; nothing for kinds that are not built in."""
    found = [*workloads.workload(kind, raw, before)]
    if before is None or before.get("spec") != raw.get("spec"):
        found += workloads.sizes(kind, raw)
        found += workloads.quota_scopes(raw) if kind == "ResourceQuota" else ()
    for group in (bounds, network, batch, rbac, storage):
        found += group.causes(kind, raw, before)
    return found
