"""Repairs are written into files as a person would: nothing but the field changes, whatever the style of the file."""

from __future__ import annotations

import difflib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.check import edits
from seatrial.check.edits import REMOVED, Change
from seatrial.check.system import Entry, Path
from seatrial.project import documents
from seatrial.project.rewriting import CannotEditError, rewritten

BLOCK = """\
# The shop's front.
apiVersion: apps/v1   # since 1.9
kind: Deployment
metadata:
  name: web
  labels: {app: "web", tier: 'front'}
spec:
  replicas: 3 # one for each zone

  # What finds the pods.
  selector:
    matchLabels:
      app: web
  template:
    spec:
      containers:
      - name: web
        image: "web:1"
        args: ["-v"]
      - image: side:1
        name: sidecar
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  ports:
  - port: 80
"""
CONTAINERS: Path = ("spec", "template", "spec", "containers")


def entry(text: str, kind: str = "Deployment") -> Entry:
    written = [document.value for document in documents.parse(text)]
    found = [each for value in written for each in (value.get("items", [value]) if isinstance(value, dict) else [])]
    raw = next(each for each in found if each["kind"] == kind)
    return edits.entry(raw, "1.37", "web.yaml", {})[0]


def edit(text: str, path: Path, value: Any, kind: str = "Deployment") -> list[str]:
    """The lines that went (`-`) and came (`+`)."""
    after = rewritten(text, [Change(entry(text, kind), path, value)])
    lines = difflib.unified_diff(text.split("\n"), after.split("\n"), n=0, lineterm="")
    return [line for line in lines if line[:3] not in ("---", "+++") and line[:1] in "-+"]


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (
            ("spec", "replicas"),
            2,
            ["-  replicas: 3 # one for each zone", "+  replicas: 2 # one for each zone"],
        ),
        (
            ("spec", "strategy", "rollingUpdate", "maxSurge"),
            "25%",
            ["+  strategy:", "+    rollingUpdate:", "+      maxSurge: 25%"],
        ),
        (
            (*CONTAINERS, 0, "image"),
            "web:2",
            ['-        image: "web:1"', '+        image: "web:2"'],
        ),
        ((*CONTAINERS, 1, "tty"), True, ["+        tty: true"]),
        (
            ("metadata", "labels", "tier"),
            "it's",
            ["-  labels: {app: \"web\", tier: 'front'}", "+  labels: {app: \"web\", tier: 'it''s'}"],
        ),
        (
            ("metadata", "labels", "zone"),
            "a",
            ["-  labels: {app: \"web\", tier: 'front'}", "+  labels: {zone: a, app: \"web\", tier: 'front'}"],
        ),
        (
            (*CONTAINERS, 0, "args"),
            ["-q"],
            ['-        args: ["-v"]', '+        args: ["-q"]'],
        ),
        (
            (*CONTAINERS, 0, "args"),
            REMOVED,
            ['-        args: ["-v"]'],
        ),
        (
            ("spec", "selector"),
            REMOVED,
            ["-  selector:", "-    matchLabels:", "-      app: web"],
        ),
        (
            ("metadata", "annotations", "note"),
            "yes",
            ["+  annotations:", "+    note: 'yes'"],
        ),
    ],
)
def test_only_the_field_changes(path: Path, value: Any, expected: list[str]) -> None:
    assert edit(BLOCK, path, value) == expected


def test_the_object_meant_is_edited_among_several() -> None:
    assert edit(BLOCK, ("spec", "type"), "NodePort", "Service") == ["+  type: NodePort"]


def test_line_ends_and_letters_of_all_kinds_stay() -> None:
    text = BLOCK.replace("The shop's front.", "Für das Café 🚢").replace("\n", "\r\n")
    after = rewritten(text, [Change(entry(text), ("spec", "strategy", "type"), "Recreate")])
    assert after.replace("  strategy:\r\n    type: Recreate\r\n", "") == text


def test_json_stays_json() -> None:
    text = '{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": []}}\n'
    after = rewritten(text, [Change(entry(text, "Service"), ("spec", "type"), "NodePort")])
    assert after == text.replace('"spec": {', '"spec": {"type": "NodePort", ')


def test_an_item_of_a_list_object_is_edited_where_it_stands() -> None:
    text = (
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {name: web}\n  spec: {}\n"
    )
    assert edit(text, ("spec", "type"), "NodePort", "Service") == ["-  spec: {}", "+  spec: {type: NodePort}"]


def test_one_more_object_is_a_document_at_the_end() -> None:
    service = entry(BLOCK, "Service")
    more = {**service.written, "metadata": {"name": "other"}}
    after = rewritten(BLOCK, [Change(service, (), more)])
    assert after.startswith(BLOCK + "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: other\n")


ANCHORED = """\
apiVersion: v1
kind: Service
metadata:
  name: web
  labels: &labels
    app: web
spec:
  selector: *labels
  externalName: |
    web
"""


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        (("spec", "selector", "app"), "shop", "spec.selector is an alias"),
        (("metadata", "labels", "app"), "shop", "the edit would change more than it should"),
        (("spec", "externalName"), "shop", "the value is a block of text"),
        (("metadata", "labels"), {}, "the value is a block of lines"),
        (("metadata", "labels", "app"), REMOVED, "the field is the only one of its mapping"),
    ],
)
def test_what_cannot_be_edited_alone_is_left(path: Path, value: Any, why: str) -> None:
    with pytest.raises(CannotEditError, match=why):
        rewritten(ANCHORED, [Change(entry(ANCHORED, "Service"), path, value)])


NAMES = st.sampled_from(["spec", "replicas", "a", "b-c", "on", "12", "x y", "ü"])
SCALARS = st.one_of(st.integers(-5, 99), st.booleans(), st.text("ab 0:#'\"\\-é\n", max_size=6), st.none())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=8,
)


@given(spec=st.dictionaries(NAMES, VALUES, min_size=1, max_size=4), data=st.data(), flow=st.booleans())
def test_an_edit_makes_just_the_change_or_none(spec: dict[str, Any], data: st.DataObject, flow: bool) -> None:
    import yaml

    raw = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x"}, "spec": spec}
    text = yaml.safe_dump(raw, sort_keys=False, default_flow_style=flow, allow_unicode=True)
    (document,) = documents.parse(text)
    paths = [path for path in document.positions if path[:1] == ("spec",)] + [("spec", "fresh", "deep")]
    path = data.draw(st.sampled_from(sorted(paths, key=str)))
    value = data.draw(st.one_of(SCALARS, st.just(REMOVED)))
    if len(path) == 1 and value is REMOVED:
        return
    thing = Entry(document.value, document.value, None, "x.yaml", document.positions)
    try:
        after = rewritten(text, [Change(thing, path, value)])
    except (CannotEditError, LookupError):
        return
    (changed,) = documents.parse(after)
    assert changed.value == edits.with_value(document.value, path, value)
