"""Custom resources and the definitions that make their kinds known.

Rules: a definition is usually brought by the platform; but one of the same group without the kind, or without the
version, and a group or kind that is a letter off are defects. A kind that Kubernetes does not have in a group of
its own is `schema/valid`'s matter.
"""

from __future__ import annotations

from typing import Final

from seatrial.check.references import near
from seatrial.check.references.found import Found
from seatrial.check.references.inventory import items, kind_of, own_groups
from seatrial.check.system import Entry

_THEN: Final = "the API server does not know the object (no matches for kind)"


def look(found: Found, entries: tuple[Entry, ...]) -> None:
    groups: dict[str, dict[str, Entry]] = {}
    for target in found.inventory.names("CustomResourceDefinition", "").values():
        if target.entry is not None:
            spec = target.entry.admitted.get("spec") or {}
            kind = str((spec.get("names") or {}).get("kind"))
            groups.setdefault(str(spec.get("group")), {})[kind] = target.entry
    for entry in entries:
        kind, api_version = entry.key.kind, entry.api_version
        group, _, version = api_version.rpartition("/")
        if not is_custom(api_version, kind):
            continue
        found.count += 1
        definition = groups.get(group, {}).get(kind)
        if definition is not None:
            found.link(entry, ("kind",), definition)
            served = [
                str(each.get("name"))
                for each in items(definition.admitted.get("spec") or {}, "versions")
                if each.get("served", True)
            ]
            if version not in served:
                message = f"{_THEN}: the definition of {kind} serves {', '.join(served) or 'none'}, not {version}"
                found.defect(entry, message, ("apiVersion",), (definition.place("spec", "versions"),))
        elif candidate := near.meant(kind, groups.get(group, {})):
            message = f"{_THEN}: {group} has no kind {kind}; probably {candidate} is meant"
            found.defect(entry, message, ("kind",), (groups[group][candidate].place("spec", "names", "kind"),))
        elif candidate := near.meant(group, [each for each, kinds in groups.items() if kind in kinds]):
            message = f"{_THEN}: there is no group {group}; probably {candidate} is meant"
            found.defect(entry, message, ("apiVersion",), (groups[candidate][kind].place("spec", "group"),))
        else:
            what = f"CustomResourceDefinition of {kind} ({group})"
            found.expect(entry, what, "the platform, or whoever installs the operator", _THEN, ("kind",))


def is_custom(api_version: str, kind: str) -> bool:
    """Whether only a definition can make the kind known: its group is none of those that Kubernetes serves itself."""
    group = api_version.rpartition("/")[0]
    return "." in group and group not in own_groups() and "." in kind_of(api_version, kind)
