"""The command line: `seatrial VERB`. One file per verb, imported only when it is asked for.

A verb's module has `SUMMARY`, `EXAMPLES`, `add_arguments(parser)` and `run(arguments) -> exit code`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Protocol, cast

VERBS = {
    "up": "check, build and run a system on the embedded cluster, wait until it is up",
    "down": "stop the embedded cluster and remove all it put into this machine",
    "status": "show nodes, Deployments and what is not ready",
    "logs": "print what containers have written",
    "kubeconfig": "print the path of the cluster's kubeconfig",
    "check": "prove that a system will roll out and stay available, or show how it will not",
    "replay": "make a counterexample again on the embedded cluster",
    "explain": "tell what a property means and what verdicts assume",
    "graph": "show what refers to what and who needs whom, with evidence; as a picture, too",
    "build": "build OCI images from Dockerfiles and Cargo projects",
    "image": "list, import, export and remove images",
}


class Verb(Protocol):
    """What the module of a verb offers."""

    SUMMARY: str
    EXAMPLES: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace) -> int: ...


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] not in VERBS:
        return _overview(words)
    verb = cast("Verb", importlib.import_module(f"seatrial.cli.{words[0]}"))
    parser = argparse.ArgumentParser(
        prog=f"seatrial {words[0]}",
        description=verb.SUMMARY,
        epilog=verb.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_arguments(parser)
    try:
        return verb.run(parser.parse_args(words[1:]))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) has seen enough; what Python still holds for it must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _overview(words: list[str]) -> int:
    """`seatrial`, `--help`, `--version`, or a verb that does not exist."""
    parser = argparse.ArgumentParser(
        prog="seatrial",
        description="A sea trial for cloud-native systems.",
        epilog="verbs:\n" + "\n".join(f"  {name:<11} {summary}" for name, summary in VERBS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    parser.add_argument("verb", nargs="?", choices=VERBS, metavar="VERB", help="see below; `seatrial VERB --help`")
    if parser.parse_args(words).version:
        from importlib.metadata import version

        print(f"seatrial {version('seatrial')}")
        return 0
    parser.print_help()
    return 0 if not words else 2
