"""Label selectors, as `metav1` spells them."""

from __future__ import annotations

from collections.abc import Mapping

from seatrial.kube.objects.base import Value


class LabelSelectorRequirement(Value, frozen=True):
    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class LabelSelector(Value, frozen=True):
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()
    match_labels: Mapping[str, str] = {}
