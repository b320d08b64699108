"""What each Kubernetes version knows: the fields of every built-in kind, and the resources that serve them.

The published OpenAPI schemas of several versions are package data (see `tools/compile_schemas.py`), compressed
definition by definition, so that looking at one kind of one version reads little. Descriptions lie in a file of
their own that only `kubectl explain` opens. `validate` reports what the API server would refuse or warn about before
it looks at meanings: unknown fields, wrong types, missing and repeated entries. Null counts as absent.
"""

from __future__ import annotations

from seatrial.kube.schemas.data import NEWEST, SchemaNode, Schemas, load, versions
from seatrial.kube.schemas.resources import Resource, is_custom, plurals, resources, scopes
from seatrial.kube.schemas.validation import Problem, compare, validate

__all__ = [
    "NEWEST",
    "Problem",
    "Resource",
    "SchemaNode",
    "Schemas",
    "compare",
    "is_custom",
    "load",
    "plurals",
    "resources",
    "scopes",
    "validate",
    "versions",
]
