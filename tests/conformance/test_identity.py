"""What kube-apiserver and kube-controller-manager 1.37 said about accounts, tokens, reviews and certificates."""

from __future__ import annotations

from pathlib import Path

from tests.conformance import identity


def test_the_conversation_is_upstreams_word_for_word(tmp_path: Path) -> None:
    theirs = identity.recorded()
    assert len(theirs) > 240
    assert identity.differences(theirs, identity.ours(tmp_path)) == []
