"""Who somebody may ask as, instead of himself (`kubectl --as`): upstream's modes of impersonation, one after the other.

Since 1.36 a request may be made as a node, a service account or another user by those who may do so for this very
kind of request (`impersonate-on:MODE:VERB` on the resource and `impersonate:MODE` on the identity); the older way
needs `impersonate` on each part of the identity and then allows everything. The first mode that allows counts; the
refusal of the first mode that applies is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from seatrial.control.access import (
    ANONYMOUS,
    AUTHENTICATED,
    MASTERS,
    UNAUTHENTICATED,
    Attributes,
    Policy,
    User,
    account_groups,
    account_of,
    authorise,
)

CONSTRAINED_SINCE: Final = 36
_NODE: Final = "system:node:"
_DOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_GROUP: Final = "authentication.k8s.io"
_NODE_NAME: Final = "authentication.kubernetes.io/node-name"


class ForbiddenError(Exception):
    """`asked` is what may not be done, `reason` why if there is more to say."""

    def __init__(self, asked: Attributes, reason: str = "") -> None:
        super().__init__(reason)
        self.asked = asked
        self.reason = reason


def impersonated(policy: Policy, asker: User, wanted: User, asked: Attributes, minor: int) -> User:
    """The user that `asker` becomes for a request that is about `asked`. Raises `ForbiddenError`."""
    first: ForbiddenError | None = None
    for mode in _modes(asker, wanted, minor):
        try:
            if mode:
                _check(policy, asker, replace(asked, verb=f"impersonate-on:{mode}:{asked.verb}"))
            return _identity(policy, asker, wanted, mode)
        except ForbiddenError as error:
            first = first or error
    assert first is not None, "the older way always applies"
    raise first


def _modes(asker: User, wanted: User, minor: int) -> Iterator[str]:
    """The modes that apply; the older way, which has no name, is last."""
    if minor >= CONSTRAINED_SINCE:
        node = wanted.name.removeprefix(_NODE) if wanted.name.startswith(_NODE) else ""
        account = account_of(wanted.name)
        only_name = not (wanted.groups or wanted.uid or wanted.extra)
        if node and only_name:
            if account_of(asker.name) and asker.extra.get(_NODE_NAME) == (node,):
                yield "associated-node"
            yield "arbitrary-node"
        if account and only_name:
            yield "serviceaccount"
        if not node and not account:
            yield "user-info"
    yield ""


def _identity(policy: Policy, asker: User, wanted: User, mode: str) -> User:
    verb = f"impersonate:{mode}" if mode else "impersonate"
    group = _GROUP if mode else ""
    groups = wanted.groups
    name = Attributes(verb, group, "users", name=wanted.name)
    account = account_of(wanted.name)
    if mode.endswith("node"):
        node = "*" if mode == "associated-node" else wanted.name.removeprefix(_NODE)
        name = Attributes(verb, group, "nodes", name=node)
        groups = ("system:nodes",)
    elif account is not None:
        name = Attributes(verb, group, "serviceaccounts", namespace=account[0], name=account[1])
        groups = groups or account_groups(account[0])
    _check(policy, asker, name)
    if wanted.uid:
        _check(policy, asker, Attributes(verb, _GROUP, "uids", name=wanted.uid))
    _check_groups(policy, asker, wanted, Attributes(verb, group, "groups"), constrained=bool(mode))
    if mode:
        _check_extra(wanted, Attributes(verb, _GROUP, "userextras"))
    for key, values in wanted.extra.items():
        for value in values:
            _check(policy, asker, Attributes(verb, _GROUP, "userextras", key, name=value))
    if wanted.name == ANONYMOUS:
        groups = groups if UNAUTHENTICATED in groups else (*groups, UNAUTHENTICATED)
    elif not {AUTHENTICATED, UNAUTHENTICATED} & set(groups):
        groups = (*groups, AUTHENTICATED)
    return replace(wanted, groups=groups)


def _check_groups(policy: Policy, asker: User, wanted: User, asked: Attributes, *, constrained: bool) -> None:
    if constrained and "" in wanted.groups:
        raise ForbiddenError(asked, "impersonating the empty string group is not allowed")
    if constrained and MASTERS in wanted.groups:
        raise ForbiddenError(replace(asked, name=MASTERS), "impersonating the system:masters group is not allowed")
    for each in wanted.groups:
        _check(policy, asker, replace(asked, name=each))


def _check_extra(wanted: User, asked: Attributes) -> None:
    for key, values in wanted.extra.items():
        if not key:
            raise ForbiddenError(asked, "impersonating the empty string key in extra is not allowed")
        domain, slash, path = key.partition("/")
        if not (slash and path and _DOMAIN.fullmatch(domain)):
            why = 'must be a domain-prefixed path (such as "acme.io/foo")'
            raise ForbiddenError(asked, f"impersonating an invalid key in extra is not allowed: extra.key: {why}")
        if key != key.lower():
            raise ForbiddenError(asked, f'impersonating a non-lowercase key in extra is not allowed: "{key}"')
        if "" in values:
            raise ForbiddenError(asked, "impersonating the empty string value in extra is not allowed")


def _check(policy: Policy, asker: User, asked: Attributes) -> None:
    answer = authorise(policy, asker, asked)
    if not answer.allowed:
        raise ForbiddenError(asked, answer.reason)
