"""The `--state` option that the cluster's verbs share."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable
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


def reaching(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """A verb that ends in a message when the control process goes away while it asks."""

    @functools.wraps(run)
    def reached(arguments: argparse.Namespace) -> int:
        from seatrial.deploy.client import ApiError, UnreachableError

        try:
            return run(arguments)
        except (ApiError, UnreachableError) as error:
            log = directory(arguments) / "cluster" / "log"
            print(f"seatrial: {error}\nSee {log}; `seatrial up` starts the cluster anew.", file=sys.stderr)
            return 1

    return reached


def running(arguments: argparse.Namespace) -> Path | None:
    """The kubeconfig of the running cluster; None, after saying so, if none runs."""
    from seatrial.cluster import process

    where = directory(arguments)
    if process.ready(where):
        return process.kubeconfig(where)
    print(f"seatrial: no cluster runs on {where}. Start one with `seatrial up DIR`.", file=sys.stderr)
    return None
