"""What kube-apiserver 1.37 said about who may do what, recorded, against `control.access`."""

from __future__ import annotations

from tests.conformance import access


def test_answers_reasons_and_refused_escalations_are_those_of_kube_apiserver() -> None:
    worlds = access.recorded()
    assert sum(len(said["answers"]) for _, said in worlds) >= 2000
    assert sum(bool(refusal) for _, said in worlds for refusal in said["refusals"]) >= 200
    assert [line for given, said in worlds for line in access.differences(given, said)] == []
