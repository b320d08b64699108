"""The `--state` option that the cluster's verbs share."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="where the cluster's state is (default: SEATRIAL_STATE, or /var/lib/seatrial for root)",
    )


def directory(arguments: argparse.Namespace) -> Path:
    from seatrial.cluster import process

    given: Path = arguments.state or process.default_state()
    return given.absolute()


def running(arguments: argparse.Namespace) -> Path | None:
    """The kubeconfig of the running cluster; None, after saying so, if none runs."""
    from seatrial.cluster import process

    where = directory(arguments)
    if process.ready(where):
        return process.kubeconfig(where)
    print(f"seatrial: no cluster runs on {where}. Start one with `seatrial up DIR`.", file=sys.stderr)
    return None
