"""Compile the field table that `seatrial.kube.protobuf` decodes by, from the published Go modules.

    go mod download k8s.io/api@v0.37.0 k8s.io/apimachinery@v0.37.0
    python tools/compile_protobuf.py "$(go env GOMODCACHE)/k8s.io" v0.37.0

`generated.proto` has numbers, names and types; the Go structs beside it tell two more facts that the wire needs: which
fields are embedded (their fields belong to the parent in JSON) and which are pointers (a zero is a value, not absence).
"""

from __future__ import annotations

import json
import re
import sys
import zlib
from pathlib import Path

OUTPUT = Path(__file__).parents[1] / "src/seatrial/kube/protobuf.json.z"
MESSAGE = re.compile(r"^message (\w+) \{\n(.*?)^\}", re.M | re.S)
FIELD = re.compile(r"^  (?:(optional|repeated|required) )?(map<\w+, ?[.\w]+>|[.\w]+) (\w+) = (\d+);", re.M)
STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.M | re.S)
GO_FIELD = re.compile(r"^\s+(?:(\w+)\s+)?(\*?)([\w.\[\]*]+)\s+`json:\"([^\"]*)\"\s+protobuf:\"\w+,(\d+)", re.M)
SCALARS = {"string", "bytes", "bool", "int32", "int64", "uint32", "uint64", "double", "float"}


def main(modules: Path, version: str) -> None:
    messages: dict[str, list[list[object]]] = {}
    for module in ("api", "apimachinery"):
        for proto in sorted((modules / f"{module}@{version}").rglob("generated.proto")):
            package_of(proto, messages)
    table = {"version": version, "messages": messages}
    OUTPUT.write_bytes(zlib.compress(json.dumps(table, separators=(",", ":"), sort_keys=True).encode(), 9))
    print(f"{len(messages)} messages, {OUTPUT.stat().st_size} bytes: {OUTPUT}")


def package_of(proto: Path, messages: dict[str, list[list[object]]]) -> None:
    text = re.sub(r"^\s*//.*\n", "", proto.read_text(), flags=re.M)
    found = re.search(r"^package (\S+);", text, re.M)
    if found is None:
        raise SystemExit(f"{proto}: no package statement; is this a Kubernetes module?")
    package = found[1]
    embedded, pointers = go_facts(proto.parent)
    for message, body in MESSAGE.findall(text):
        fields: list[list[object]] = []
        for label, kind, name, number in FIELD.findall(body):
            shape = "repeated" if label == "repeated" else "single"
            if kind.startswith("map<"):
                shape, kind = "map", kind[4:-1].split(",")[1].strip()
            if kind not in SCALARS:
                kind = kind.removeprefix(".") if kind.startswith(".") else f"{package}.{kind}"
            flags = "e" * ((message, int(number)) in embedded) + "p" * ((message, int(number)) in pointers)
            fields.append([int(number), name, kind, shape[0], flags])
        messages[f"{package}.{message}"] = fields


def go_facts(directory: Path) -> tuple[set[tuple[str, int]], set[tuple[str, int]]]:
    embedded, pointers = set(), set()
    for source in directory.glob("*.go"):
        if source.name.startswith(("generated", "zz_")):
            continue
        for struct, body in STRUCT.findall(source.read_text()):
            for name, star, _, tag, number in GO_FIELD.findall(body):
                key = (struct, int(number))
                if tag.startswith(",") or (not name and not tag):
                    embedded.add(key)
                if star:
                    pointers.add(key)
    return embedded, pointers


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2])
