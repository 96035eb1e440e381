"""Four organisations that share nothing but files found a chain, and it runs."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from live import ORGS, assent, assent_here

from chain.cli.consortium import stop_consortium
from chain.cli.init import org_ports
from chain.cli.layout import OrgFolder, open_consortium
from chain.primitives.keyfile import load_key
from chain.primitives.settings import split_address

pytestmark = pytest.mark.functional
COMPUTING = ORGS[:3]


def typed(*words: str | Path, cwd: Path, alone: bool = True) -> str:
    """Run a command in a host's folder, `alone` in a process of its own; return what it prints."""
    done = assent(*words, cwd=cwd) if alone else assent_here(*words, cwd=cwd)
    assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
    return done.stdout


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """One folder a host, all of whose processes end with the test."""
    made = {org: tmp_path / f"host-of-{org}" for org in ORGS}
    for host in made.values():
        host.mkdir()
    try:
        yield made
    finally:
        for org, host in made.items():
            if (host / org / "node.toml").exists():
                list(stop_consortium(open_consortium(host / org)))


def send(name: str, hosts: Mapping[str, Path], sender: str) -> None:
    """Bring a file of one host to all others: all that they share."""
    for org, host in hosts.items():
        if org != sender:
            shutil.copy(hosts[sender] / name, host)


def found(hosts: Mapping[str, Path], places: Mapping[str, tuple[str, str]]) -> None:
    """Take four hosts from nothing to a draft that all have signed; the first has a process a command."""
    for org, host in hosts.items():
        node, agent = places[org]
        more = ["--agent-address", agent] if org in COMPUTING else []
        words = ("found", "request", org, "--founding", "union", "--address", node, *more)
        typed(*words, cwd=host, alone=org == ORGS[0])
        shutil.copy(host / org / f"{org}.card.json", host)
        send(f"{org}.card.json", hosts, org)
    drafts = set()
    for number, (org, host) in enumerate(hosts.items()):
        cards = [f"{other}.card.json" for other in [*ORGS[number:], *ORGS[:number]]]
        typed("found", "combine", *cards, cwd=host, alone=not number)
        drafts.add((host / "founding.json").read_bytes())
        typed("found", "check", "founding.json", "--as", org, cwd=host, alone=not number)
        typed("found", "sign", "founding.json", "--as", org, cwd=host, alone=not number)
        shutil.copy(host / org / f"{org}.signature.json", host)
        send(f"{org}.signature.json", hosts, org)
    assert len(drafts) == 1, "each host made the same draft, in whatever order"


def secrets_of(org: OrgFolder) -> list[bytes]:
    """Return the private keys of an organisation, as they could stand in a file."""
    seeds = [load_key(path).seed for path in sorted((org.path / "keys").glob("*.key"))]
    return [form for seed in seeds for form in (seed, seed.hex().encode())]


def assert_no_secret_of_another(hosts: Mapping[str, Path]) -> None:
    """Look into every file of every host for every private key of the others."""
    for org, host in hosts.items():
        strange = [s for other in ORGS if other != org for s in secrets_of(OrgFolder(hosts[other] / other))]
        assert len(strange) >= 2 * (2 + 3 + 3)
        for path in host.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                assert not any(secret in content for secret in strange), path


def test_four_organisations_found_a_chain_and_run_it_with_names_and_ipv6_and_each_its_own_keys(
    hosts: dict[str, Path],
) -> None:
    listening = dict(zip(ORGS, org_ports(4, 0), strict=True))
    ports = {org: [split_address(address)[1] for address in listening[org]] for org in ORGS}
    six = has_ipv6()
    places = {org: (f"localhost:{ports[org][0]}", f"localhost:{ports[org][2]}") for org in ORGS}
    if six:
        places["bureau"] = (f"[::1]:{ports['bureau'][0]}", f"[::1]:{ports['bureau'][2]}")
    found(hosts, places)
    names = [f"{org}.signature.json" for org in ORGS]
    for org, host in hosts.items():
        node, rpc, agent = listening[org]
        own = [] if six and org == "bureau" else ["--listen", node]
        own += ["--rpc", rpc] + (["--agent-listen", agent] if org in COMPUTING and own else [])
        refused = assent_here("found", "install", "founding.json", *names[1:], "--as", org, *own, cwd=host)
        assert refused.returncode == 1
        assert "not signed by bank" in refused.stderr
        words = ("found", "install", "founding.json", *names, "--as", org, *own)
        typed(*words, cwd=host, alone=org == ORGS[0])
    with ThreadPoolExecutor(4) as together:
        list(together.map(lambda item: typed("start", item[0], cwd=item[1]), hosts.items()))
    for org, host in hosts.items():
        doctor = assent_here("doctor", org, "--json", cwd=host)
        wrong = [item for item in json.loads(doctor.stdout)["checks"] if item["verdict"] == "wrong"]
        assert wrong == [], doctor.stdout
    typed("key", "new", "more.key", cwd=hosts["bank"])
    said = typed("org", "add-key", "more.key", "--roles", "steward", "--as", "bank", cwd=hosts["bank"])
    assert "signs from height" in said
    told = json.loads(typed("org", "show", "bank", "--as", "bureau", "--json", cwd=hosts["bureau"]))
    assert len(told["keys"]) == 3
    assert told["nodes"][0]["address"] == places["bank"][0]
    assert_no_secret_of_another(hosts)
    for org, host in hosts.items():
        typed("stop", org, cwd=host)


NAMESPACES = """\
set -eu
for n in 1 2 3 4; do ip netns add "$1$n"; done
ip link add "$1br" type bridge; ip link set "$1br" up
for n in 1 2 3 4; do
    ip link add "$1v$n" type veth peer name "$1p$n" netns "$1$n"
    ip link set "$1v$n" master "$1br"; ip link set "$1v$n" up
    ip netns exec "$1$n" ip addr add "10.111.7.$n/24" dev "$1p$n"
    ip netns exec "$1$n" ip addr add "fd00:7::$n/64" dev "$1p$n" nodad
    ip netns exec "$1$n" ip link set lo up; ip netns exec "$1$n" ip link set "$1p$n" up
done
"""
NO_NAMESPACES = """\
for n in 1 2 3 4; do ip netns del "$1$n"; done
ip link del "$1br"
"""


@pytest.fixture
def namespaces() -> Iterator[list[str]]:
    """Four network namespaces on one bridge, as four hosts."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and the command ip")
    prefix = f"af{os.getpid() % 10_000}"
    try:
        made = subprocess.run(
            ["bash", "-c", NAMESPACES, "_", prefix], capture_output=True, text=True, check=False
        )
        if made.returncode:
            pytest.skip(f"this machine makes no network namespaces: {made.stderr.strip()}")
        yield [f"{prefix}{n}" for n in (1, 2, 3, 4)]
    finally:
        subprocess.run(["bash", "-c", NO_NAMESPACES, "_", prefix], capture_output=True, check=False)


def test_four_hosts_with_networks_of_their_own_found_a_chain_and_run_it(
    hosts: dict[str, Path], namespaces: list[str]
) -> None:
    """Each node listens on every address of its host, the third one on IPv6."""
    spaces = dict(zip(ORGS, namespaces, strict=True))
    places = {org: (f"10.111.7.{n}:30300", f"10.111.7.{n}:30302") for n, org in enumerate(ORGS, 1)}
    places["registry"] = ("[fd00:7::3]:30300", "[fd00:7::3]:30302")
    found(hosts, places)
    program = Path(sys.executable).with_name("assent")

    def inside(org: str, *words: str) -> str:
        line = ["ip", "netns", "exec", spaces[org], program, *words]
        done = subprocess.run(line, cwd=hosts[org], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
        return done.stdout

    for org in ORGS:
        inside(org, "found", "install", "founding.json", *[f"{o}.signature.json" for o in ORGS], "--as", org)
    with ThreadPoolExecutor(4) as together:
        list(together.map(lambda org: inside(org, "start", org), ORGS))
    inside("registry", "key", "new", "more.key")
    inside("registry", "org", "add-key", "more.key", "--roles", "steward", "--as", "registry")
    assert len(json.loads(inside("bank", "org", "show", "registry", "--as", "bank", "--json"))["keys"]) == 3
    assert_no_secret_of_another(hosts)
    for org in ORGS:
        inside(org, "stop", org)
