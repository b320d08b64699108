"""`seatrial build`: a directory with a Dockerfile, or a Rust project without one, becomes an image of the store."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from seatrial.cli import state

SUMMARY = "build the image of a directory: its Dockerfile, or its Rust project without one"
EXAMPLES = """\
  seatrial build shop/web                          the image web:latest
  seatrial build shop/web --tag shop/web:1.0       under another name
  seatrial build . --target tools                  a stage, and only what it needs
  seatrial build . --build-arg VERSION=1.2         a value for ARG VERSION"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, metavar="DIR", help="what has the Dockerfile or the Cargo.toml")
    parser.add_argument("--tag", metavar="NAME", help="the name of the image (the name of the directory)")
    parser.add_argument("--target", default="", metavar="STAGE", help="the stage of the Dockerfile (the last one)")
    parser.add_argument(
        "--build-arg", action="append", default=[], metavar="NAME=VALUE", help="a value for an ARG of the Dockerfile"
    )
    state.add_argument(parser)


def run(args: argparse.Namespace) -> int:
    from seatrial import image

    arguments: dict[str, str] = {}
    for given in args.build_arg:
        name, equals, value = given.partition("=")
        if not name or not equals:
            print(f"seatrial: cannot read --build-arg {given!r}; write NAME=VALUE", file=sys.stderr)
            return 3
        arguments[name] = value
    directory: Path = args.directory
    tag = args.tag or directory.resolve().name.lower()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that mounts and containers are removed
    store = image.Store(state.directory(args) / "images")
    try:
        built = image.build(
            directory,
            tag=tag,
            store=store,
            target=args.target,
            build_args=arguments,
            progress=lambda line: print(line, file=sys.stderr, flush=True),
        )
    except image.ImageError as error:
        print(f"seatrial: {error}", file=sys.stderr)
        return 1
    size = store.size(built) / 1e6
    print(f"{tag}  {built.digest}  {size:.1f} MB in {len(built.layers)} layers")
    return 0
