"""`seatrial explain`: what a property asks, formally and with a picture, and what a verdict may assume."""

from __future__ import annotations

import argparse
import difflib
import sys

SUMMARY = "tell what a property means, formally and with a picture, or what verdicts assume"
EXAMPLES = """\
  seatrial explain                      every property in a line
  seatrial explain rollout/converges    what it says, when it is asked, what a proof must have reached
  seatrial explain assumptions          what verdicts rest on, and what of it can be set"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="a property, or `assumptions`")


def run(args: argparse.Namespace) -> int:
    from seatrial.check import explanations, judge

    if args.name is None:
        print(explanations.overview())
        return 0
    if args.name == "assumptions":
        print(explanations.of_assumptions())
        return 0
    if args.name in judge.NAMES:
        print(explanations.of_property(next(each for each in explanations.properties() if each.name == args.name)))
        return 0
    known = explanations.assumptions()
    base = args.name.partition("=")[0]
    if base in known:
        meaning = known[base]
        print(f"{base}: {meaning if isinstance(meaning, str) else meaning.text.format(value=meaning.default)}")
        return 0
    close = difflib.get_close_matches(args.name, [*judge.NAMES, *known], n=1)
    hint = f"did you mean {close[0]}?" if close else "`seatrial explain` lists the properties"
    print(f"seatrial: nothing is called {args.name}; {hint}", file=sys.stderr)
    return 2
