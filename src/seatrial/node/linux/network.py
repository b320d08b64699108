"""The pods' network: one bridge, a veth pair for each pod, Services and the way out in one nftables table.

A pod's address is a /32 and its only neighbour is the gateway, so that every packet between pods is routed: translated
answers always pass the translation, whether or not br_netfilter is loaded, and no reply takes a short cut. Where
br_netfilter is on, translated packets may be bridged back out of the port they came in by: ports are in hairpin mode.
The table is replaced as a whole in one transaction. Rejected: pyroute2, whose import
alone (217 ms) costs as much as the whole set-up of a dozen pods with `ip -batch` (13 ms each).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seatrial.control.reach import ServiceRule
from seatrial.node.linux.machine import IP_FORWARD, Addresses, Machine
from seatrial.node.linux.process import run


class Network:
    """The network of one cluster on this machine."""

    def __init__(self, machine: Machine, addresses: Addresses) -> None:
        self.machine = machine
        self.addresses = addresses
        self._loaded = ""

    async def set_up(self, nodes: int = 1) -> None:
        """Make the bridge with the gateway's and the nodes' addresses, and the table without Services. Idempotent."""
        bridge = self.machine.bridge
        if not _link_exists(bridge):
            await run(("ip", "link", "add", bridge, "type", "bridge"))
        lines = [f"address replace {self.addresses.gateway}/16 dev {bridge}"]
        lines += [f"address replace {self.addresses.node(index)}/32 dev {bridge}" for index in range(1, nodes)]
        lines.append(f"link set {bridge} up")
        await run(("ip", "-batch", "-"), given="\n".join(lines) + "\n")
        before = self.machine.run / "ip_forward"
        if not before.exists():
            before.parent.mkdir(parents=True, exist_ok=True)
            before.write_text(IP_FORWARD.read_text())
        IP_FORWARD.write_text("1")
        own = Path("/proc/sys/net/ipv4/conf", bridge)
        (own / "route_localnet").write_text("1")  # NodePorts on 127.0.0.1; the table keeps pods from using it
        (own / "send_redirects").write_text("0")
        await self.apply(())

    async def apply(self, rules: Sequence[ServiceRule]) -> None:
        """Make the table say exactly `rules`."""
        text = table(self.machine.table, self.machine.bridge, self.addresses, rules)
        if text != self._loaded:
            await run(("nft", "-f", "-"), given=text)
            self._loaded = text

    async def attach(self, namespace: Path, ip: str) -> None:
        """Give the network namespace at `namespace` its address and its way to the gateway."""
        bridge, gateway = self.machine.bridge, self.addresses.gateway
        link = self.link(ip)
        if _link_exists(link):
            await run(("ip", "link", "delete", link))
        outside = (
            f"link add {link} type veth peer name eth0 address {_mac(ip)} netns {namespace}\n"
            f"link set {link} master {bridge}\n"
            f"link set {link} type bridge_slave hairpin on\n"
            f"link set {link} up\n"
        )
        await run(("ip", "-batch", "-"), given=outside)
        inside = (
            f"link set lo up\nlink set eth0 up\naddress add {ip}/32 dev eth0\n"
            f"route add {gateway} dev eth0 scope link\nroute add default via {gateway} dev eth0\n"
        )
        await run(("nsenter", f"--net={namespace}", "ip", "-batch", "-"), given=inside)

    async def detach(self, ip: str) -> None:
        link = self.link(ip)
        if _link_exists(link):
            await run(("ip", "link", "delete", link))

    def link(self, ip: str) -> str:
        """The name of the outer end of a pod's veth pair: 15 characters, all that Linux allows."""
        third, fourth = ip.split(".")[2:]
        return f"{self.machine.bridge}-{int(third):02x}{int(fourth):02x}"


def _mac(ip: str) -> str:
    """A pod's Ethernet address follows from its IP, so that who knew the IP's last owner finds the next one."""
    return ":".join(["02", "00", *(f"{int(part):02x}" for part in ip.split("."))])


def _link_exists(name: str) -> bool:
    return Path("/sys/class/net", name).exists()


def table(name: str, bridge: str, addresses: Addresses, rules: Sequence[ServiceRule]) -> str:
    """The whole table as one transaction for `nft -f -`."""
    chains: list[str] = []
    by_address: list[str] = []
    by_port: list[str] = []
    hairpins: set[str] = set()
    refused_addresses: list[str] = []
    refused_ports: list[str] = []
    for number, rule in enumerate(rules):
        protocol = rule.protocol.lower()
        if protocol not in ("tcp", "udp"):
            continue
        targets = [f"{address} . {protocol} . {rule.port}" for address in rule.addresses]
        if not rule.backends:
            refused_addresses += targets
            refused_ports += [f"{protocol} . {rule.node_port}"] if rule.node_port else []
            continue
        chain = f"service-{number}"
        by_address += [f"{target} : goto {chain}" for target in targets]
        if rule.node_port:
            by_port.append(f"{protocol} . {rule.node_port} : goto {chain}")
        hairpins |= {f"{backend.ip} . {backend.ip}" for backend in rule.backends}
        chains.append(f"  chain {chain} {{ # {rule.service}:{rule.port_name or rule.port}\n{_spread(rule)}  }}\n")
    reject = ""
    if refused_addresses:
        reject += _refuse(f"ip daddr . meta l4proto . th dport {{ {', '.join(refused_addresses)} }}")
    if refused_ports:
        reject += _refuse(f"fib daddr type local meta l4proto . th dport {{ {', '.join(refused_ports)} }}")
    dispatch = ""
    if by_address:
        dispatch += f"    ip daddr . meta l4proto . th dport vmap {{ {', '.join(by_address)} }}\n"
    if by_port:
        dispatch += f"    fib daddr type local meta l4proto . th dport vmap {{ {', '.join(by_port)} }}\n"
    masquerade = ""
    if hairpins:
        masquerade = f"    ip saddr . ip daddr {{ {', '.join(sorted(hairpins))} }} snat to {addresses.gateway}\n"
    return (
        f"table ip {name}\ndelete table ip {name}\ntable ip {name} {{\n"
        + "".join(chains)
        + f"  chain services {{\n{dispatch}  }}\n"
        + f"  chain refused {{\n{reject}  }}\n"
        + "  chain prerouting { type nat hook prerouting priority dstnat; jump services\n  }\n"
        + "  chain output { type nat hook output priority -100; jump services\n  }\n"
        + "  chain postrouting { type nat hook postrouting priority srcnat;\n"
        + masquerade
        + f'    oifname "{bridge}" ip saddr 127.0.0.0/8 snat to {addresses.gateway}\n'
        + f"    ip saddr {addresses.network} ip daddr != {addresses.network} masquerade\n  }}\n"
        + "  chain loopback { type filter hook prerouting priority raw;\n"
        + f'    iifname "{bridge}" ip daddr 127.0.0.0/8 drop\n  }}\n'
        + "  chain refuse-input { type filter hook input priority filter; jump refused\n  }\n"
        + "  chain refuse-forward { type filter hook forward priority filter; jump refused\n  }\n"
        + "  chain refuse-output { type filter hook output priority filter; jump refused\n  }\n"
        + "}\n"
    )


def _spread(rule: ServiceRule) -> str:
    """Random choice among the backends; with ClientIP affinity a hash of the client, stable while they are the same."""
    backends = rule.backends
    protocol = rule.protocol.lower()
    if len(backends) == 1:
        return f"    meta l4proto {protocol} dnat to {backends[0].ip}:{backends[0].port}\n"
    choice = "jhash ip saddr" if rule.affinity_s else "numgen random"
    entries = ", ".join(f"{number} : {backend.ip} . {backend.port}" for number, backend in enumerate(backends))
    return f"    meta l4proto {protocol} dnat to {choice} mod {len(backends)} map {{ {entries} }}\n"


def _refuse(match: str) -> str:
    return f"    {match} meta l4proto tcp reject with tcp reset\n    {match} reject\n"
