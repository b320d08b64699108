"""`seatrial image`: list, import, export and remove the images of a state directory."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from seatrial.cli import state

if TYPE_CHECKING:
    from seatrial.image import Store

SUMMARY = "list, import, export and remove images"
EXAMPLES = """\
examples:
  seatrial image list
  docker save redis:7 | gzip > redis.tar.gz && seatrial image import redis.tar.gz
  debootstrap --variant=minbase trixie root && tar -C root -c . | seatrial image import --rootfs - --tag debian:13
  seatrial image export shop/web:1 web.tar --format docker && docker load -i web.tar
  seatrial image rm shop/web:1
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="what", required=True, metavar="list|import|export|rm")
    one = verbs.add_parser("list", help="names, digests and sizes")
    one.add_argument("--output", choices=("text", "json"), default="text", help="for people or for machines (text)")
    state.add_argument(one)
    one = verbs.add_parser("import", help="take in an OCI layout, an archive of images, or a root file system")
    one.add_argument("path", nargs="?", type=Path, metavar="PATH", help="an OCI layout, oci-archive or docker-archive")
    one.add_argument("--rootfs", metavar="TAR", help="a root file system instead; - reads it from standard input")
    one.add_argument("--tag", metavar="NAME", help="the name it gets (default: the names in the archive)")
    state.add_argument(one)
    one = verbs.add_parser("export", help="write an image as one archive")
    one.add_argument("name", metavar="NAME")
    one.add_argument("path", type=Path, metavar="PATH")
    one.add_argument("--format", choices=("oci", "docker"), default="oci", help="what reads it: skopeo, or docker load")
    state.add_argument(one)
    one = verbs.add_parser("rm", help="forget a name, and what no other name needs")
    one.add_argument("name", metavar="NAME")
    state.add_argument(one)


def run(arguments: argparse.Namespace) -> int:
    from seatrial.image import ImageError, Store

    store = Store(state.directory(arguments) / "images")
    try:
        return {"list": _list, "import": _import, "export": _export, "rm": _remove}[arguments.what](store, arguments)
    except ImageError as error:
        return _fail(str(error))


def _list(store: Store, arguments: argparse.Namespace) -> int:
    rows = [(name, digest, store.size(store.image(digest))) for name, digest in store.names().items()]
    if arguments.output == "json":
        import json

        print(json.dumps([{"name": name, "digest": digest, "bytes": size} for name, digest, size in rows], indent=2))
        return 0
    if not rows:
        print(f"no images in {store.path}; `seatrial build` and `seatrial image import` put some there")
        return 0
    width = max(len(name) for name, _, _ in rows)
    for name, digest, size in rows:
        print(f"{name:<{width}}  {digest.removeprefix('sha256:')[:12]}  {size / 1e6:8.2f} MB")
    return 0


def _import(store: Store, arguments: argparse.Namespace) -> int:
    from seatrial.image import oci

    if (arguments.path is None) == (arguments.rootfs is None):
        return _fail("give either PATH or --rootfs TAR", code=2)
    if arguments.path is not None:
        with store.writing():
            names = oci.import_archive(store, arguments.path, arguments.tag)
    elif arguments.tag is None:
        return _fail("a root file system has no name of its own; give it one: --tag NAME", code=2)
    else:
        if arguments.rootfs == "-":
            with store.writing():
                oci.import_rootfs(store, sys.stdin.buffer, arguments.tag)
        else:
            try:
                with Path(arguments.rootfs).open("rb") as tar, store.writing():
                    oci.import_rootfs(store, tar, arguments.tag)
            except OSError as error:
                return _fail(f"{arguments.rootfs}: {error.strerror}")
        names = (arguments.tag,)
    for name in names:
        print(f"imported {name}")
    return 0


def _export(store: Store, arguments: argparse.Namespace) -> int:
    from seatrial.image import oci

    oci.export(store, arguments.name, arguments.path, arguments.format)
    print(f"wrote {arguments.path} ({arguments.path.stat().st_size / 1e6:.2f} MB)")
    return 0


def _remove(store: Store, arguments: argparse.Namespace) -> int:
    store.remove(arguments.name)
    print(f"removed {arguments.name}")
    return 0


def _fail(message: str, code: int = 1) -> int:
    print(f"seatrial: {message}", file=sys.stderr)
    return code
