"""When a changed ConfigMap arrives, and where files expect what does not happen."""

from __future__ import annotations

from pathlib import Path

import pytest

from seatrial import project
from seatrial.check import judge

WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
ANNOTATIONS
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: IMAGE:1
          envFrom: [{configMapRef: {name: flags}}]
          volumeMounts: [{name: settings, mountPath: /etc/web SUBPATH}]
      volumes: [{name: settings, configMap: {name: settings}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: flags}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
IMMUTABLE
data: {a: b}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(annotation: str = "", image: str = "web", subpath: str = "", immutable: bool = False) -> list[str]:
    text = WEB.replace("ANNOTATIONS\n", f"  annotations: {{{annotation}}}\n" if annotation else "")
    text = text.replace("IMAGE", image).replace(" SUBPATH", f", subPath: {subpath}" if subpath else "")
    Path("system.yaml").write_text(text.replace("IMMUTABLE\n", "immutable: true\n" if immutable else ""))
    verdicts = judge.judge(project.load(["system.yaml"]), ["config/reaches"]).verdicts
    return [f"{v.verdict.value} {v.subject}: {v.message}" for v in verdicts]


def test_how_a_change_arrives_is_a_fact_and_no_fault() -> None:
    assert told() == [
        "proved ConfigMap default/flags: a change arrives in Deployment default/web with the next pod (a variable)",
        "proved ConfigMap default/settings: a change arrives in Deployment default/web live, within about a minute",
    ]
    assert told(subpath="a")[1].endswith("with the next pod (a subPath)")
    assert (
        told(immutable=True)[1]
        == "proved ConfigMap default/settings: it is immutable, and nothing expects it to change"
    )


@pytest.mark.parametrize(
    "annotation",
    [
        "'reloader.stakater.com/auto': 'true'",
        "'configmap.reloader.stakater.com/reload': 'settings'",
        "checksum/config: 'abc'",
    ],
)
def test_what_restarts_on_a_change_that_is_refused(annotation: str) -> None:
    assert all(each.startswith("proved") for each in told(annotation))
    (message,) = [each for each in told(annotation, immutable=True) if each.startswith("refuted")]
    assert "settings is immutable, so the API server refuses them" in message


def test_a_reloader_of_a_file_that_never_changes() -> None:
    assert all(each.startswith("proved") for each in told(image="jimmidyson/configmap-reload"))
    (message,) = [e for e in told(image="jimmidyson/configmap-reload", subpath="a") if e.startswith("refuted")]
    assert "through a subPath, which never changes" in message


def test_an_annotation_that_names_nothing_the_pods_use() -> None:
    found = told("'configmap.reloader.stakater.com/reload': 'setings'")
    assert "probably settings is meant" in found[0]
