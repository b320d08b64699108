"""Pods made from templates, as all workload controllers make them, and the hash that tells templates apart."""

from __future__ import annotations

from typing import Final

from seatrial.control.ownership import controller_reference
from seatrial.kube.objects import Object, ObjectMeta, Pod, PodTemplateSpec, canonical

_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
"""Upstream's letters for names made of hashes: no vowels, no letters that look like digits."""


def pod_from(owner: Object, template: PodTemplateSpec) -> Pod:
    """The pod that `owner`, its controller, asks for; its name is left to the API."""
    meta = ObjectMeta(
        generate_name=f"{owner.metadata.name}-",
        namespace=owner.metadata.namespace,
        labels=template.metadata.labels,
        annotations=template.metadata.annotations,
        finalizers=template.metadata.finalizers,
        owner_references=(controller_reference(owner),),
    )
    return Pod(metadata=meta, spec=template.spec)


def template_hash(template: PodTemplateSpec, collision_count: int | None) -> str:
    """The value of pod-template-hash. Ours, not upstream's: FNV-1a over the canonical template, in its alphabet."""
    digest = 0x811C9DC5
    for byte in canonical(template) + (b"" if collision_count is None else collision_count.to_bytes(8, "little")):
        digest = ((digest ^ byte) * 0x01000193) & 0xFFFFFFFF
    return spelled(digest)


def spelled(digest: int) -> str:
    """A number in letters that spell no words (upstream's `SafeEncodeString` of its decimal digits)."""
    return "".join(_ALPHABET[ord(digit) % len(_ALPHABET)] for digit in str(digest))
