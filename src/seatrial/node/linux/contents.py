"""What a pod's containers find in their files: volumes, which follow the objects that they show, names and resolvers.

Rules: what is missing is a `VolumeError` before anything runs; what goes missing later stays as it was, as the kubelet
leaves it. Which files a volume holds is decided in `control.sandbox`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from seatrial.control import sandbox as sandboxes
from seatrial.control.volumes import mounting
from seatrial.control.writes import ConflictError, RefusedError
from seatrial.kube.objects import ConfigMap, Node, PersistentVolume, Pod, Secret, Service
from seatrial.kube.objects.volumes import Volume
from seatrial.node.api import Change, ClusterObjects
from seatrial.node.dns import host_resolvers
from seatrial.node.linux import volumes
from seatrial.node.linux.records import Layout, PodState


@dataclass(frozen=True, slots=True)
class Lookup:
    cluster: ClusterObjects
    namespace: str

    def config_map(self, name: str) -> ConfigMap | None:
        return self.cluster.get(ConfigMap, self.namespace, name)

    def secret(self, name: str) -> Secret | None:
        return self.cluster.get(Secret, self.namespace, name)

    def services(self) -> Iterable[Service]:
        return self.cluster.all(Service)


class Contents:
    """For the pods of one node; `pods` are all that are known."""

    def __init__(
        self,
        cluster: ClusterObjects,
        layout: Layout,
        *,
        node_name: str,
        host_ip: str,
        gateway: str,
        domain: str,
        now: Callable[[], datetime],
        pods: Callable[[], Iterable[PodState]],
    ) -> None:
        self._cluster = cluster
        self._layout = layout
        self._node_name = node_name
        self._host_ip = host_ip
        self._gateway = gateway
        self._domain = domain
        self._now = now
        self._pods = pods

    def set_up_volumes(self, state: PodState, pod: Pod) -> None:
        group = pod.spec.security_context.fs_group if pod.spec.security_context else None
        view = self.view(state)
        bound = self._bound(pod)
        for volume in pod.spec.volumes:
            if mounting.is_claim(volume) and volume.name not in bound:
                continue  # no container uses it
            directory = self._layout.directory(state.uid) / "volumes" / volume.name
            name = bound[volume.name].metadata.name if volume.name in bound else volume.name
            try:
                files = self._volume_files(state, pod, volume, view)
                if volume.name in bound:
                    policy = pod.spec.security_context.fs_group_change_policy if pod.spec.security_context else None
                    directory = volumes.persistent(bound[volume.name], group, policy)
                elif files is None:
                    directory = volumes.set_up(volume, directory, group)
                else:
                    volumes.publish(directory, files, group)
            except (sandboxes.ConfigError, volumes.VolumeError) as error:
                raise volumes.VolumeError(f'MountVolume.SetUp failed for volume "{name}" : {error}') from error
            state.volumes[volume.name] = str(directory)
        state.claimed = tuple(volume.metadata.name for volume in bound.values())

    def _volume_files(
        self, state: PodState, pod: Pod, volume: Volume, view: sandboxes.NodeView
    ) -> dict[str, sandboxes.VolumeFile] | None:
        """Raises `ConfigError` for what is missing."""

        def token(audience: str, lifetime_s: int) -> str:
            held = state.tokens.get((audience, lifetime_s))
            if held is None or self._now() >= held.refresh_at:
                try:
                    held = self._cluster.token(pod, audience, lifetime_s)
                except (ConflictError, RefusedError) as error:
                    if held is None:
                        raise sandboxes.MissingObjectError(f"failed to fetch token: {error}") from error
                    return held.text  # as the kubelet: the old one for as long as there is no new one
                state.tokens[audience, lifetime_s] = held
            return held.text

        return sandboxes.volume_files(pod, volume, lookup=self.lookup(pod), node=view, token=token)

    def _bound(self, pod: Pod) -> dict[str, PersistentVolume]:
        """The volumes behind the pod's claims."""
        others = (state for uid, state in ((each.uid, each) for each in self._pods()) if uid != pod.metadata.uid)
        elsewhere = {name for state in others if state.sandbox is not None for name in state.claimed}
        found = mounting.look(pod, self._node_name, self._cluster, mounted_elsewhere=elsewhere)
        if not found.is_ready:
            raise volumes.VolumeError(found.refusal() or found.timed_out())
        return found.volumes

    def write_files(self, pod: Pod, ip: str) -> None:
        directory = self._layout.directory(pod.metadata.uid)
        directory.mkdir(parents=True, exist_ok=True)
        name = sandboxes.hostname(pod)
        full = f"{name}.{pod.spec.subdomain}.{pod.metadata.namespace}.svc.{self._domain} " if pod.spec.subdomain else ""
        if pod.spec.host_network:
            hosts = Path("/etc/hosts").read_text()
        else:
            hosts = (
                "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
                f"{ip}\t{full}{name}\n"
            )
        for alias in pod.spec.host_aliases:
            hosts += f"{alias.ip}\t{' '.join(alias.hostnames)}\n"
        (directory / "hosts").write_text(hosts)
        (directory / "resolv.conf").write_text(self._resolv_conf(pod))

    def _resolv_conf(self, pod: Pod) -> str:
        policy = pod.spec.dns_policy or "ClusterFirst"
        servers, searches = host_resolvers()
        options: list[str] = []
        if policy == "None":
            servers, searches = (), ()
        elif policy == "ClusterFirstWithHostNet" or (policy == "ClusterFirst" and not pod.spec.host_network):
            servers = (self._gateway,)
            own = (f"{pod.metadata.namespace}.svc.{self._domain}", f"svc.{self._domain}", self._domain)
            searches = (*own, *searches)
            options = ["ndots:5"]
        if pod.spec.dns_config is not None:
            servers = tuple(dict.fromkeys((*servers, *pod.spec.dns_config.nameservers)))
            searches = tuple(dict.fromkeys((*searches, *pod.spec.dns_config.searches)))
            for option in pod.spec.dns_config.options:
                options = [each for each in options if each.partition(":")[0] != option.name]
                options.append(f"{option.name}:{option.value}" if option.value else option.name)
        lines = [f"nameserver {server}" for server in servers]
        lines += [f"search {' '.join(searches)}"] if searches else []
        lines += [f"options {' '.join(options)}"] if options else []
        return "\n".join(lines) + "\n"

    def on_change(self, change: Change) -> None:
        """Volumes follow the objects that they show."""
        object_ = change.after
        if not isinstance(object_, ConfigMap | Secret | Pod):
            return
        for state in self._pods():
            pod = state.pod
            if pod is None or state.sandbox is None or pod.metadata.namespace != object_.metadata.namespace:
                continue
            if isinstance(object_, Pod):
                if object_.metadata.uid != state.uid or (
                    object_.metadata.labels == pod.metadata.labels
                    and object_.metadata.annotations == pod.metadata.annotations
                ):
                    continue
                state.pod = object_
            self._refresh_volumes(state)

    def _refresh_volumes(self, state: PodState) -> None:
        pod = state.pod
        assert pod is not None
        group = pod.spec.security_context.fs_group if pod.spec.security_context else None
        for volume in pod.spec.volumes:
            try:
                files = self._volume_files(state, pod, volume, self.view(state))
                if files is not None:
                    volumes.publish(Path(state.volumes[volume.name]), files, group)
            except (sandboxes.ConfigError, volumes.VolumeError):
                continue  # what is gone now stays as it was, as the kubelet leaves it

    def exchange_tokens(self) -> None:
        """Fetch mounted tokens anew whose time has come; after a restart, those of the pods that were adopted."""
        for state in self._pods():
            projects = state.pod is not None and any(volume.projected for volume in state.pod.spec.volumes)
            due = not state.tokens or any(self._now() >= token.refresh_at for token in state.tokens.values())
            if state.sandbox is not None and projects and due:
                self._refresh_volumes(state)

    def view(self, state: PodState) -> sandboxes.NodeView:
        node = self._cluster.get(Node, "", self._node_name)
        return sandboxes.NodeView(
            state.sandbox.ip if state.sandbox else state.ip,
            self._host_ip,
            node.status.allocatable if node is not None else None,
        )

    def lookup(self, pod: Pod) -> Lookup:
        return Lookup(self._cluster, pod.metadata.namespace)


def account_file(rootfs: Path, name: str) -> str:
    """`/etc/passwd` or `/etc/group` of the image; a symbolic link is not followed out of it."""
    file = rootfs / "etc" / name
    try:
        if not file.resolve().is_relative_to(rootfs.resolve()):
            return ""
        return file.read_text(errors="replace")
    except OSError:
        return ""


def make_inside(source: str, directories: Iterable[str]) -> None:
    """Make a subPath's directory; raises `ConfigError` if a symbolic link leads it out of its volume."""
    owner = max((each for each in directories if source.startswith(each + "/")), key=len, default=None)
    if owner is None:
        return
    if not Path(source).resolve().is_relative_to(Path(owner).resolve()):
        raise sandboxes.ConfigError(f"subPath {source.removeprefix(owner + '/')} leads out of its volume")
    if not Path(source).exists():
        Path(source).mkdir(parents=True)
