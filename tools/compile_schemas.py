"""Compile the published Kubernetes schemas into the package data of `seatrial.kube.schemas`.

The source is the PyPI package `kubernetes-validate`: 108 MB of JSON schemas, one directory for each minor version.
Most definitions do not change between versions, and their descriptions hardly do, so everything of one definition
name (its variants over all versions) is one small compressed block: `definitions.bin` holds the structure,
`descriptions.bin` the texts, `index.json` says where. Blocks share a preset dictionary, so that small ones compress
well while a kind can still be read without its neighbours.

Run from the repository after updating the package:  .venv/bin/python tools/compile_schemas.py
"""

from __future__ import annotations

import importlib.util
import json
import re
import zlib
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "src/seatrial/kube/schemas/compiled"
ROOT = re.compile(r"^#/\$defs/")
DICTIONARY_SIZE = 32768  # zlib looks back no further


def main() -> None:
    versions = source_versions()
    structures: dict[str, list[str]] = {}
    texts: dict[str, list[str]] = {}
    use: dict[str, list[list[int]]] = {}
    kinds: dict[str, str] = {}
    for number, (_, path) in enumerate(versions):
        for name, definition in json.loads(path.read_text())["$defs"].items():
            for each in definition.get("x-kubernetes-group-version-kind", ()):
                if {"apiVersion", "kind"} <= set(definition.get("properties", ())) and ".meta.v1." not in name:
                    api_version = f"{each['group']}/{each['version']}".removeprefix("/")
                    kinds[f"{api_version}:{each['kind']}"] = name
            text = compact(descriptions(definition))
            structure = compact(structure_of(definition))
            variants = use.setdefault(name, [[-1] * len(versions), [-1] * len(versions)])
            variants[0][number] = place(structures.setdefault(name, []), structure)
            variants[1][number] = place(texts.setdefault(name, []), text)
    TARGET.mkdir(parents=True, exist_ok=True)
    index: dict[str, Any] = {"versions": [version for version, _ in versions], "kinds": dict(sorted(kinds.items()))}
    names = sorted(use)
    places = []
    for title, blocks in (("definitions", structures), ("descriptions", texts)):
        dictionary = common_text([f"[{','.join(blocks[name])}]" for name in names])
        body = bytearray(dictionary)
        spans = {}
        for name in names:
            compressor = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zdict=dictionary)
            block = compressor.compress(f"[{','.join(blocks[name])}]".encode()) + compressor.flush()
            spans[name] = [len(body), len(block)]
            body += block
        (TARGET / f"{title}.bin").write_bytes(body)
        index[title] = len(dictionary)
        places.append(spans)
    index["names"] = {
        name: [*places[0][name], *places[1][name], runs(use[name][0]), runs(use[name][1])] for name in names
    }
    (TARGET / "index.bin").write_bytes(zlib.compress(compact(index).encode(), 9))
    for file in sorted(TARGET.iterdir()):
        print(f"{file.stat().st_size:>9} {file.name}")


def source_versions() -> list[tuple[str, Path]]:
    """The minor versions the installed package carries, oldest first."""
    found = importlib.util.find_spec("kubernetes_validate")
    if found is None or found.origin is None:
        raise SystemExit("kubernetes-validate is not installed: pip install --group dev .")
    directories = (Path(found.origin).parent / "kubernetes-json-schema").glob("v*-local")
    paths = {d.name.removeprefix("v").rsplit(".", 1)[0]: d / "_definitions.json" for d in directories}
    return sorted(paths.items(), key=lambda item: tuple(map(int, item[0].split("."))))


def structure_of(schema: Any, *, top: bool = True) -> Any:
    """The schema without descriptions; nullability goes too, since Kubernetes reads null as absent everywhere."""
    if not isinstance(schema, dict):
        return schema
    result: dict[str, Any] = {}
    for key, value in schema.items():
        match key:
            case "description" | "$schema":
                continue
            case "properties":
                result[key] = {
                    name: structure_of(
                        {k: v for k, v in each.items() if not (top and k == "enum" and name in {"apiVersion", "kind"})},
                        top=False,
                    )
                    for name, each in value.items()
                }
            case "items" | "additionalProperties":
                result[key] = structure_of(value, top=False)
            case "oneOf":
                result[key] = [structure_of(each, top=False) for each in value]
            case "type":
                plain = [each for each in value if each != "null"] if isinstance(value, list) else [value]
                result[key] = plain[0] if len(plain) == 1 else plain
            case "$ref":
                result[key] = ROOT.sub("", value)
            case _:
                result[key] = value
    return result


def descriptions(definition: dict[str, Any]) -> dict[str, str]:
    """The texts of a definition (under the empty name) and of its fields."""
    texts = {
        name: each["description"] for name, each in definition.get("properties", {}).items() if "description" in each
    }
    return ({"": definition["description"]} if "description" in definition else {}) | texts


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def place(variants: list[str], variant: str) -> int:
    if variant not in variants:
        variants.append(variant)
    return variants.index(variant)


def runs(numbers: list[int]) -> str:
    """One character for each version: which variant it has, a point for none."""
    return "".join("." if number < 0 else "0123456789abcdefghijklmnopqrstuvwxyz"[number] for number in numbers)


def common_text(blocks: list[str]) -> bytes:
    """What many blocks have in common, most common last, as zlib wants a preset dictionary."""
    counts: dict[str, int] = {}
    for block in blocks:
        for piece in set(re.findall(r'"[^"]+":(?:\{[^{}]*\}|"(?:[^"\\]|\\.)*")|[^"]{24,200}?[.,}\]]', block)):
            counts[piece] = counts.get(piece, 0) + 1
    worth = sorted((p for p, n in counts.items() if n > 1), key=lambda p: (counts[p] - 1) * len(p), reverse=True)
    chosen: list[str] = []
    size = 0
    for piece in worth:
        if size + len(piece.encode()) > DICTIONARY_SIZE:
            break
        chosen.append(piece)
        size += len(piece.encode())
    return "".join(reversed(chosen)).encode()


if __name__ == "__main__":
    main()
