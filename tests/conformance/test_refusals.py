"""What kube-apiserver 1.37 said of specs that nobody may write, recorded, against the API here."""

from __future__ import annotations

from tests.conformance import refusals

OTHER_WORDS = {
    'DaemonSet selector="<drop>"': "the schema calls it required, too",
    'ReplicationController template="<drop>"': "defaults make a template without containers of it",
    'HorizontalPodAutoscaler maxReplicas="<drop>"': "the same two causes in the other order",
    'Node taints=[{"key": "a"}]': "under spec, where the field is",
}


def test_what_kube_apiserver_refuses_is_refused_in_its_words_and_nothing_else() -> None:
    """What cannot be decoded (400) is only compared by its code: ours says what to write instead of which Go type."""
    upstream, ours = refusals.recorded(), refusals.told_by_ours()
    assert upstream.keys() == ours.keys(), "record anew after changing the cases"
    assert {name: text[:3] for name, text in ours.items()} == {name: text[:3] for name, text in upstream.items()}
    told = {name: text for name, text in upstream.items() if not text.startswith("400")}
    assert refusals.differences({name: text for name, text in told.items() if name not in OTHER_WORDS}, ours) == []
    assert sum(bool(text) for text in told.values()) >= 200
