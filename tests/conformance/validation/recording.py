"""The recording: which cases it holds, and how kube-apiserver was started for it."""

from __future__ import annotations

from typing import Final

from tests.conformance.recording import Recording
from tests.conformance.validation import cases

FIRST: Final = 1
NUMBER: Final = 20_000
_OFF: Final = (
    "ServiceAccount",
    "MutatingAdmissionWebhook",
    "ValidatingAdmissionWebhook",
    "ValidatingAdmissionPolicy",
    "MutatingAdmissionPolicy",
)
FLAGS: Final = [
    f"--disable-admission-plugins={','.join(_OFF)}",
    "--enable-priority-and-fairness=false",
    "--max-requests-inflight=0",
]
"""The good objects are there for those that replace them: webhooks, policies and flow schemas must not take effect."""
RECORDING: Final = Recording("validation", cases.invent)
