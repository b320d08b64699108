"""The report in the forms that other tools read: what they take from it is there, whatever the texts hold."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

from seatrial.check.system import Place
from seatrial.check.verdicts import Answer, Edit, Repair, Report, Step, Verdict
from seatrial.cli import reports

HOSTILE = 'a "quoted" <b>name</b>, 100%: | `code` \x01\n::error::two lines'


def verdict(answer: Answer, message: str = "it never ends", **more: object) -> Verdict:
    fields: dict[str, object] = {
        "property": "rollout/converges",
        "subject": "Deployment default/web",
        "verdict": answer,
        "message": message,
        "method": "exploration",
    }
    return Verdict(**{**fields, **more})  # type: ignore[arg-type]


REFUTED = verdict(
    Answer.REFUTED,
    places=(Place("web.yaml", 9, 3, "spec.replicas"), Place("nodes.yaml", 1, 1, "")),
    trace=(Step("User", "installs web"), Step("Nobody", "can do anything more")),
    repairs=(Repair((Edit("web.yaml", 9, "spec.replicas", 2),), Answer.PROVED),),
)
ALL = (
    REFUTED,
    verdict(Answer.UNKNOWN, "the budget ran out", property="rollout/available"),
    verdict(Answer.REFUTED, waived="soon (web.yaml:3)", property="schedule/fits"),
    verdict(Answer.PROVED, property="rollout/rollback"),
)


def report(*verdicts: Verdict) -> Report:
    return Report(kubernetes="1.37", verdicts=verdicts, assumptions=())


def test_sarif_has_results_rules_places_stories_and_suppressions() -> None:
    log = json.loads(reports.render("sarif", report(*ALL)))
    (run,) = log["runs"]
    assert log["version"] == "2.1.0"
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == ["rollout/converges", "rollout/available", "schedule/fits"]
    first, second, third = run["results"]
    assert all(rules[result["ruleIndex"]] == result["ruleId"] for result in run["results"])
    assert [(r["kind"], r["level"]) for r in run["results"]] == [("fail", "error"), ("open", "none"), ("fail", "error")]
    physical = first["locations"][0]["physicalLocation"]
    assert physical["artifactLocation"]["uri"] == "web.yaml"
    assert physical["region"] == {"startLine": 9, "startColumn": 3}
    assert len(first["relatedLocations"]) == 1
    steps = first["codeFlows"][0]["threadFlows"][0]["locations"]
    assert steps[0]["location"]["message"]["text"] == "User: installs web"
    assert "suppressions" not in second
    assert third["suppressions"] == [{"kind": "inSource", "justification": "soon (web.yaml:3)"}]


def test_the_fingerprint_stays_when_lines_move_and_changes_with_the_field() -> None:
    moved = verdict(
        Answer.REFUTED, "other words", places=(Place("web.yaml", 90, 1, "spec.replicas"), REFUTED.places[1])
    )
    other = verdict(Answer.REFUTED, places=(Place("web.yaml", 9, 3, "spec.strategy"),))
    assert moved.identity() == REFUTED.identity() != other.identity()


def test_junit_counts_failures_errors_and_skipped() -> None:
    root = ElementTree.fromstring(reports.render("junit", report(*ALL, verdict(Answer.REFUTED, HOSTILE))))
    counts = {
        suite.get("name"): tuple(suite.get(key) for key in ("tests", "failures", "errors", "skipped")) for suite in root
    }
    assert counts == {
        "rollout/converges": ("2", "2", "0", "0"),
        "rollout/available": ("1", "0", "1", "0"),
        "schedule/fits": ("1", "0", "0", "1"),
        "rollout/rollback": ("1", "0", "0", "0"),
    }
    failure = root.find("testsuite/testcase/failure")
    assert failure is not None
    assert failure.text is not None
    assert "1. User    installs web" in failure.text


def test_github_commands_stay_on_their_lines() -> None:
    lines = reports.render("github", report(*ALL, verdict(Answer.REFUTED, HOSTILE))).split("\n")
    assert [line.split(" ")[0] for line in lines] == ["::error", "::warning", "::notice", "::error"]
    assert "file=web.yaml,line=9,col=3" in lines[0]
    assert lines[0].endswith("%0Arepair: spec.replicas: 2 (web.yaml)")
    assert "100%25" in lines[3]
    assert lines[3].endswith("%0A::error::two lines")


def test_markdown_says_what_counts_first_and_escapes_the_rest() -> None:
    text = reports.render("markdown", report(*ALL, verdict(Answer.REFUTED, HOSTILE)))
    assert text.startswith("### seatrial check: **1 unknown**, **2 refuted**, 1 proved, 1 waived")
    assert "❌ **rollout/converges** Deployment default/web: it never ends `web.yaml:9`" in text
    assert "\\<b\\>name\\</b\\>, 100%: \\| \\`code\\`" in text
    assert not re.search(r"^::", text, re.M)


def test_a_report_without_verdicts_has_no_results() -> None:
    assert json.loads(reports.render("sarif", report()))["runs"][0]["results"] == []
    assert len(ElementTree.fromstring(reports.render("junit", report()))) == 0
    assert reports.render("github", report()) == ""
    assert reports.render("markdown", report()).startswith("### seatrial check: 0 proved")
