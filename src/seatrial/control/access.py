"""Who may do what: role-based access control as a pure function of roles, bindings and one request.

`authorise` answers as kube-apiserver does with `--authorization-mode=RBAC`: members of system:masters may do
everything; everybody else may do what some rule of some role that is bound to them says. There are no rules that
forbid. A rule is about resources (group, resource or resource/subresource, verb, name) or about other URLs (path,
verb). Writing roles and bindings must not give anybody more than the writer has: `escalation` says what would be given
too much.

Semantics: https://kubernetes.io/docs/reference/access-authn-authz/rbac/ and upstream's RBAC authorizer. Bindings are
looked at by name, so that of several that allow a request the first by name is the reason (upstream: any).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from msgspec.structs import replace

from seatrial.kube.objects import ClusterRole, ClusterRoleBinding, Object, Role, RoleBinding
from seatrial.kube.objects.access import PolicyRule, RoleRef, Subject

MASTERS: Final = "system:masters"
ANONYMOUS: Final = "system:anonymous"
AUTHENTICATED: Final = "system:authenticated"
UNAUTHENTICATED: Final = "system:unauthenticated"
ACCOUNTS: Final = "system:serviceaccounts"
_ACCOUNT: Final = "system:serviceaccount:"
GROUP: Final = "rbac.authorization.k8s.io"
ALL: Final = "*"
FULL_AUTHORITY: Final = (
    PolicyRule(api_groups=(ALL,), resources=(ALL,), verbs=(ALL,)),
    PolicyRule(non_resource_ur_ls=(ALL,), verbs=(ALL,)),
)


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who asks, as authentication made them out."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


NOBODY: Final = User(ANONYMOUS, (UNAUTHENTICATED,))


def account_name(namespace: str, name: str) -> str:
    """The user name of a service account."""
    return f"{_ACCOUNT}{namespace}:{name}"


def account_of(user_name: str) -> tuple[str, str] | None:
    """Namespace and name, if the user is a service account."""
    namespace, colon, name = user_name.removeprefix(_ACCOUNT).partition(":")
    if not user_name.startswith(_ACCOUNT) or not colon or not namespace or not name or ":" in name:
        return None
    return namespace, name


def account_groups(namespace: str) -> tuple[str, ...]:
    return (ACCOUNTS, f"{ACCOUNTS}:{namespace}")


@dataclass(frozen=True, slots=True)
class Attributes:
    """What somebody wants to do: to a resource, or (without one) to the URL `path`."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def combined(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


class Policy(Protocol):
    """The roles and bindings of a cluster."""

    def cluster_role(self, name: str) -> ClusterRole | None: ...

    def role(self, namespace: str, name: str) -> Role | None: ...

    def cluster_role_bindings(self) -> Iterable[ClusterRoleBinding]:
        """All of them, by name."""

    def role_bindings(self, namespace: str) -> Iterable[RoleBinding]:
        """Those of one namespace, by name."""


class Given:
    """A policy that is these objects; others among them are ignored."""

    def __init__(self, objects: Iterable[Object]) -> None:
        found = sorted(objects, key=lambda obj: (obj.metadata.namespace, obj.metadata.name))
        self._cluster_roles = {obj.metadata.name: obj for obj in found if isinstance(obj, ClusterRole)}
        self._roles = {(obj.metadata.namespace, obj.metadata.name): obj for obj in found if isinstance(obj, Role)}
        self._cluster_bindings = tuple(obj for obj in found if isinstance(obj, ClusterRoleBinding))
        self._bindings = tuple(obj for obj in found if isinstance(obj, RoleBinding))

    def cluster_role(self, name: str) -> ClusterRole | None:
        return self._cluster_roles.get(name)

    def role(self, namespace: str, name: str) -> Role | None:
        return self._roles.get((namespace, name))

    def cluster_role_bindings(self) -> Iterable[ClusterRoleBinding]:
        return self._cluster_bindings

    def role_bindings(self, namespace: str) -> Iterable[RoleBinding]:
        return (binding for binding in self._bindings if binding.metadata.namespace == namespace)


@dataclass(frozen=True, slots=True)
class Answer:
    """`reason` is what upstream tells: which binding allows, or which roles could not be found."""

    allowed: bool
    reason: str = ""


class RoleMissingError(Exception):
    """A binding refers to a role that is not there; the message is upstream's.

    While a request is judged, upstream's message names the resource that the request is about instead of the role's.
    """

    def __init__(self, ref: RoleRef, resource: str) -> None:
        if ref.kind in ("ClusterRole", "Role"):
            message = f"{resource or ref.kind.lower()}.{GROUP} {_quoted(ref.name)} not found"
        else:
            message = f"unsupported role reference kind: {_quoted(ref.kind)}"
        super().__init__(message)
        self.role = ref.name


def authorise(policy: Policy, user: User, asked: Attributes) -> Answer:
    """May `user` do what is asked?"""
    if MASTERS in user.groups:
        return Answer(True)
    problems: list[str] = []
    for binding, subject, rules in _bound(policy, user, asked.namespace, problems.append):
        if any(allows(rule, asked) for rule in rules):
            return Answer(True, f"RBAC: allowed by {_described(binding, subject)}")
    return Answer(False, f"rbac: RBAC: {_aggregate(problems)}" if problems else "")


def rules_for(policy: Policy, user: User, namespace: str, writing: str = "") -> tuple[tuple[PolicyRule, ...], str]:
    """All rules that `user` has in `namespace`, and what could not be found out.

    `writing` is the resource that is being written, if the question is about that.
    """
    problems: list[str] = []
    bound = _bound(policy, user, namespace, problems.append, writing)
    return tuple(rule for _, _, rules in bound for rule in rules), _aggregate(problems)


def allows(rule: PolicyRule, asked: Attributes) -> bool:
    """Does one rule allow what is asked?"""
    if not (ALL in rule.verbs or asked.verb in rule.verbs):
        return False
    if not asked.resource:
        return any(_url_covers(url, asked.path) for url in rule.non_resource_ur_ls)
    return (
        (ALL in rule.api_groups or asked.group in rule.api_groups)
        and (
            ALL in rule.resources
            or asked.combined in rule.resources
            or (bool(asked.subresource) and f"*/{asked.subresource}" in rule.resources)
        )
        and (not rule.resource_names or asked.name in rule.resource_names)
    )


def refusal(user: User, asked: Attributes, reason: str) -> str:
    """How upstream says that `user` may not."""
    text = f"User {_quoted(user.name)} cannot {asked.verb} "
    if not asked.resource:
        text += f"path {_quoted(asked.path)}"
    else:
        text += f"resource {_quoted(asked.combined)} in API group {_quoted(asked.group)} "
        text += f"in the namespace {_quoted(asked.namespace)}" if asked.namespace else "at the cluster scope"
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"{text}: {reason}" if reason else text


# --- writing roles and bindings ---


def escalation(policy: Policy, user: User, written: Object, before: Object | None = None) -> str:
    """Why `user` must not write this role or binding, given that they may write roles and bindings; empty if they may.

    Raises `RoleMissingError` when a binding's role is not there, whose permissions then cannot be judged.
    """
    if MASTERS in user.groups:
        return ""
    if isinstance(written, ClusterRole | Role):
        return _role_escalation(policy, user, written, before)
    assert isinstance(written, ClusterRoleBinding | RoleBinding), f"a {written.kind} gives nobody permissions"
    ref, namespace = written.role_ref, written.metadata.namespace
    referred = {"ClusterRole": "clusterroles", "Role": "roles"}.get(ref.kind)
    bind = Attributes("bind", ref.api_group, referred or "", namespace=namespace, name=ref.name)
    if referred and authorise(policy, user, bind).allowed:
        return ""
    writing = _plural(written)
    return _missing(policy, user, namespace, _rules(policy, ref, namespace, writing), writing)


def _role_escalation(policy: Policy, user: User, role: ClusterRole | Role, before: Object | None) -> str:
    writing = _plural(role)
    # The name is that of the URL, which a create does not have.
    name = role.metadata.name if before is not None else ""
    namespace = role.metadata.namespace
    asked = Attributes("escalate", GROUP, writing, namespace=namespace, name=name)
    if authorise(policy, user, asked).allowed:
        return ""
    missing = _missing(policy, user, namespace, role.rules, writing)
    if missing or isinstance(role, Role):
        return missing
    aggregates = any(
        isinstance(each, ClusterRole) and each.aggregation_rule and each.aggregation_rule.cluster_role_selectors
        for each in (role, before)
    )
    if aggregates and _missing(policy, user, "", FULL_AUTHORITY, writing):
        return "must have cluster-admin privileges to use the aggregationRule"
    return ""


def _plural(written: Object) -> str:
    return f"{written.kind.lower()}s"


def _missing(policy: Policy, user: User, namespace: str, wanted: Iterable[PolicyRule], writing: str) -> str:
    """What of `wanted` the user does not have, in upstream's words."""
    own, problem = rules_for(policy, user, namespace, writing)
    lacking = uncovered(own, wanted)
    if not lacking:
        return ""
    groups = " ".join(_quoted(group) for group in user.groups)
    described = "\n".join(sorted({_compact(rule) for rule in _merged(lacking)}))
    text = f"user {_quoted(user.name)} (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:"
    return f"{text}\n{described}" + (f"; resolution errors: [{problem}]" if problem else "")


def uncovered(own: Iterable[PolicyRule], wanted: Iterable[PolicyRule]) -> tuple[PolicyRule, ...]:
    """The smallest parts of `wanted` (one verb, one resource, one name) that no rule in `own` covers."""
    own = tuple(own)
    return tuple(part for rule in wanted for part in _parts(rule) if not any(_covers(each, part) for each in own))


def _parts(rule: PolicyRule) -> Iterator[PolicyRule]:
    names_apart: list[tuple[str, ...]] = [(name,) for name in rule.resource_names] or [()]
    for group in rule.api_groups:
        for resource in rule.resources:
            for verb in rule.verbs:
                for names in names_apart:
                    yield PolicyRule(api_groups=(group,), resources=(resource,), verbs=(verb,), resource_names=names)
    for url in rule.non_resource_ur_ls:
        for verb in rule.verbs:
            yield PolicyRule(non_resource_ur_ls=(url,), verbs=(verb,))


def _covers(own: PolicyRule, part: PolicyRule) -> bool:
    def all_in(have: tuple[str, ...], want: tuple[str, ...]) -> bool:
        return ALL in have or set(want) <= set(have)

    return (
        all_in(own.verbs, part.verbs)
        and all_in(own.api_groups, part.api_groups)
        and (
            all_in(own.resources, part.resources)
            or all(
                "/" in resource and f"*/{resource.partition('/')[2]}" in own.resources
                for resource in part.resources
                if resource not in own.resources
            )
        )
        and (
            not own.resource_names or (bool(part.resource_names) and set(part.resource_names) <= {*own.resource_names})
        )
        and all(any(_url_covers(have, url) for have in own.non_resource_ur_ls) for url in part.non_resource_ur_ls)
    )


def _url_covers(pattern: str, url: str) -> bool:
    return pattern in (ALL, url) or (pattern.endswith("*") and url.startswith(pattern.rstrip("*")))


def _merged(parts: Iterable[PolicyRule]) -> list[PolicyRule]:
    """Parts about the same resource, which differ in their verb, together again."""
    verbs: dict[PolicyRule, list[str]] = {}
    found: list[PolicyRule] = []
    for part in parts:
        if part.non_resource_ur_ls:
            found.append(part)
        else:
            verbs.setdefault(replace(part, verbs=()), []).extend(part.verbs)
    return found + [replace(about, verbs=tuple(each)) for about, each in verbs.items()]


def _compact(rule: PolicyRule) -> str:
    parts = (
        ("APIGroups", rule.api_groups),
        ("Resources", rule.resources),
        ("NonResourceURLs", rule.non_resource_ur_ls),
        ("ResourceNames", rule.resource_names),
        ("Verbs", rule.verbs),
    )
    return "{" + ", ".join(f"{name}:[{' '.join(map(_quoted, each))}]" for name, each in parts if each) + "}"


# --- bindings ---


def _bound(
    policy: Policy, user: User, namespace: str, problem: Callable[[str], None], writing: str = ""
) -> Iterator[tuple[ClusterRoleBinding | RoleBinding, Subject, tuple[PolicyRule, ...]]]:
    """The bindings that apply to `user`, with the subject and the rules; roles that are missing go to `problem`."""
    bindings: list[ClusterRoleBinding | RoleBinding] = [*policy.cluster_role_bindings()]
    if namespace:
        bindings += policy.role_bindings(namespace)
    for binding in bindings:
        at = binding.metadata.namespace
        subject = next((each for each in binding.subjects if _applies(each, user, at)), None)
        if subject is None:
            continue
        try:
            yield binding, subject, _rules(policy, binding.role_ref, at, writing)
        except RoleMissingError as error:
            problem(str(error))


def _rules(policy: Policy, ref: RoleRef, namespace: str, writing: str) -> tuple[PolicyRule, ...]:
    found: ClusterRole | Role | None = None
    if ref.kind == "ClusterRole":
        found = policy.cluster_role(ref.name)
    elif ref.kind == "Role":
        found = policy.role(namespace, ref.name)
    if found is None:
        raise RoleMissingError(ref, writing)
    return found.rules


def _applies(subject: Subject, user: User, namespace: str) -> bool:
    match subject.kind:
        case "User":
            return subject.name == user.name
        case "Group":
            return subject.name in user.groups
        case "ServiceAccount":
            at = subject.namespace or namespace
            return bool(at) and account_name(at, subject.name) == user.name
    return False


def _described(binding: ClusterRoleBinding | RoleBinding, subject: Subject) -> str:
    at = binding.metadata.namespace
    name = f"{binding.metadata.name}/{at}" if at else binding.metadata.name
    who = subject.name
    if subject.kind == "ServiceAccount":
        who = f"{subject.name}/{subject.namespace or at}"
    ref = binding.role_ref
    to = f"{ref.kind} {_quoted(ref.name)} to {subject.kind} {_quoted(who)}"
    return f"{binding.kind} {_quoted(name)} of {to}"


def _aggregate(problems: list[str]) -> str:
    """Several errors as Go's aggregate prints them: without repetition, in brackets if there is more than one."""
    unlike = list(dict.fromkeys(problems))
    return f"[{', '.join(unlike)}]" if len(unlike) > 1 else "".join(unlike)


def _quoted(text: str) -> str:
    """As Go's `%q`, for the texts that occur in names."""
    return json.dumps(text, ensure_ascii=False)
