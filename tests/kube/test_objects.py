"""Typed views of what other API servers write."""

from __future__ import annotations

import msgspec
import pytest

from seatrial.kube.objects import EndpointSlice, JsonObject, parse

SLICE: JsonObject = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4"}


def test_null_is_absent() -> None:
    """Go writes a list without items as null, where the field is always written."""
    metadata = {"name": "a", "namespace": "b", "labels": None}
    read = parse({**SLICE, "metadata": metadata, "endpoints": None, "ports": None})
    assert isinstance(read, EndpointSlice)
    assert (read.metadata.name, read.metadata.labels, read.endpoints, read.ports) == ("a", {}, (), ())


def test_what_does_not_fit_is_still_refused_beside_a_null() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.endpoints"):
        parse({**SLICE, "metadata": {"name": "a", "labels": None}, "endpoints": 3})
