"""A client talks by TLS to a node that it knows alone, and proves who asks to that node alone."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from chain.api.methods.access import AccessMethods
from chain.api.metrics import Metrics
from chain.api.params import Nothing, SessionRequest
from chain.api.port_tls import rpc_tls
from chain.api.principals import AccessScope, KnownPrincipals
from chain.api.rpc import Method
from chain.api.server import RpcServer
from chain.api.sessions import MemberSessions
from chain.api.streams import Streams
from chain.api.tokens import Token, TokenFile, save_tokens, secret_hash
from chain.client.access import NodeAccess, UnknownNode
from chain.client.answers import OtherScheme, RpcError
from chain.client.client import Client
from chain.client.options import open_session
from chain.config import RpcSection
from chain.ledger.genesis import save_genesis
from chain.ledger.testing import ToyChain, toy_genesis, toy_key
from chain.primitives.errors import ConfigError
from chain.primitives.keyfile import save_key
from chain.primitives.tls import open_context
from privcompute.config import load_agent_config, node_access

NOW_MS = 1_700_000_000_000
KEY = toy_key("bank-node")


@dataclass
class Node:
    """A node's port by TLS, with principals and one method."""

    chain: ToyChain
    server: RpcServer
    sessions: MemberSessions
    served: int = 0

    @property
    def url(self) -> str:
        return f"https://{self.server.address}"


@asynccontextmanager
async def a_node(
    folder: Path, pair: tuple[Path, Path] | None = None, listen: str = "127.0.0.1:0", node: str = "bank-node"
) -> AsyncIterator[Node]:
    """Serve as a node of the toy chain, whose certificate is its key's, or from a pair of files."""
    chain = ToyChain()
    chain.add(chain.govern(["bank-node", "bureau-node", "registry-node", "regulator-node"]))
    key = toy_key(node)
    context, certificate = rpc_tls(pair, key, NOW_MS)
    sessions = MemberSessions(chain.ledger, key.public, "own", lambda: NOW_MS)
    sessions.certificate = sha256(certificate).digest()
    token = Token(
        name="ci", secret_sha256=secret_hash("secret").hex(), scopes=("read",), created=0, expires=NOW_MS + 1
    )
    save_tokens(folder / "tokens.json", (token,))
    principals = KnownPrincipals(TokenFile(folder / "tokens.json"), "root", sessions, lambda: NOW_MS)
    holder: list[Node] = []

    async def info(_: Nothing) -> Any:
        holder[0].served += 1
        return {"chainId": chain.genesis.chain_id.hex(), "chainName": "toy"}

    place: Any = type("Place", (), {"ledger": chain.ledger, "sessions": sessions})
    access = AccessMethods(place)
    methods = {
        "getNodeInfo": Method(AccessScope.READ, Nothing, info),
        "getPeers": Method(AccessScope.OPERATE, Nothing, info),
        "getChallenge": Method(AccessScope.OPEN, Nothing, access.challenge),
        "openSession": Method(AccessScope.OPEN, SessionRequest, access.session),
    }
    section = RpcSection(listen=listen, tls=True, principals=True)
    streams = Streams(chain.ledger)
    server = RpcServer(section, methods, streams, lambda: "", Metrics(), principals=principals, tls=context)
    await server.start()
    holder.append(Node(chain, server, sessions))
    try:
        yield holder[0]
    finally:
        await server.stop()


def by_token(**more: Any) -> NodeAccess:
    """Return what sends a token, to the node of bank's key unless something else is named."""
    return NodeAccess(token=lambda: "secret", **(more or {"nodes": frozenset({KEY.public})}))


async def test_a_founders_node_is_known_by_the_genesis_and_a_member_proves_its_key_to_it(
    tmp_path: Path,
) -> None:
    async with a_node(tmp_path) as node:
        opened: list[int] = []

        def key() -> Any:
            opened.append(1)
            return toy_key("bank")

        async with Client(node.url, node.chain.genesis, access=NodeAccess(key=key)) as client:
            assert (await client.request("getNodeInfo"))["chainName"] == "toy"
            await client.request("getPeers")
        assert opened == [1]
        assert len(node.sessions._sessions) == 1


async def test_events_come_by_tls_to_who_proved_a_key(tmp_path: Path) -> None:
    async with a_node(tmp_path) as node:
        chain = node.chain
        chain.add(chain.call("announce", {"subjects": ["s:1"]}))
        async with Client(node.url, chain.genesis, access=NodeAccess(key=lambda: toy_key("bank"))) as client:
            async for height, entries in client.stream({"subject": "s:1"}, 1):
                assert (height, len(entries)) == (3, 1)
                break


async def test_a_token_is_sent_and_a_foreign_key_or_no_proof_gets_the_nodes_words(tmp_path: Path) -> None:
    async with a_node(tmp_path) as node:
        async with Client(node.url, node.chain.genesis, access=by_token()) as client:
            await client.request("getNodeInfo")
            with pytest.raises(RpcError, match=r"token:ci may read, and this needs 'operate'"):
                await client.request("getPeers")
        async with Client(node.url, node.chain.genesis) as client:
            with pytest.raises(RpcError, match="answers principals alone"):
                await client.request("getNodeInfo")
        foreign = NodeAccess(key=lambda: toy_key("bureau"))
        async with Client(node.url, node.chain.genesis, access=foreign) as client:
            with pytest.raises(RpcError, match=r"rpc\.members"):
                await client.request("getNodeInfo")


async def test_a_node_that_is_not_known_gets_nothing_and_its_key_is_told(tmp_path: Path) -> None:
    async with a_node(tmp_path, node="stranger-node") as node:
        genesis = node.chain.genesis
        async with Client(node.url, genesis, access=by_token()) as client:
            with pytest.raises(UnknownNode, match=rf"{toy_key('stranger-node').public.hex()}.*--pin KEY"):
                await client.request("getNodeInfo")
        assert node.served == 0
        named = by_token(nodes=frozenset({toy_key("stranger-node").public}))
        async with Client(node.url, genesis, access=named) as client:
            await client.request("getNodeInfo")


@pytest.mark.parametrize("named", [KEY.public, bytes(32)], ids=["bank", "nobody"])
async def test_a_node_that_is_named_is_taken_for_no_other_founders(tmp_path: Path, named: bytes) -> None:
    """A pin was put beside the genesis: whichever founder's key answered got the token."""
    async with a_node(tmp_path, node="bureau-node") as node:
        access = by_token(nodes=frozenset({named}))
        async with Client(node.url, node.chain.genesis, access=access) as client:
            for ask in (client.request("getNodeInfo"), client.page("/head")):
                with pytest.raises(
                    UnknownNode, match=rf"{toy_key('bureau-node').public.hex()}, not {named.hex()}"
                ):
                    await ask
        assert node.served == 0


async def test_a_token_is_not_sent_to_whichever_founders_node_answers(tmp_path: Path) -> None:
    """The genesis names all founders' nodes: each of their operators would have had bank's secret."""
    async with a_node(tmp_path) as node:
        async with Client(node.url, node.chain.genesis, access=NodeAccess(token=lambda: "secret")) as client:
            for ask in (client.request("getNodeInfo"), client.page("/head")):
                with pytest.raises(ConfigError, match=r"a token goes to the node that it is for.*--pin KEY"):
                    await ask
        assert node.served == 0


async def test_a_sessions_secret_is_not_sent_to_the_node_that_answers_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str | None] = []
    of = KnownPrincipals.of
    monkeypatch.setattr(KnownPrincipals, "of", lambda self, text: shown.append(text) or of(self, text))
    async with a_node(tmp_path) as first:
        listen, access = first.server.address, NodeAccess(key=lambda: toy_key("bank"))
        async with Client(first.url, first.chain.genesis, access=access) as client:
            await client.request("getPeers")
            secrets = set(shown) - {None}
            await first.server.stop()
            shown.clear()
            async with a_node(tmp_path, listen=listen, node="bureau-node"):
                await client.request("getPeers")  # by a session of its own
    assert len(secrets) == 1
    assert shown
    assert secrets.isdisjoint(shown)


def test_a_folders_own_node_is_known_by_its_own_keys_and_a_pin_or_authorities_alone_where_given(
    tmp_path: Path,
) -> None:
    """The folder's other keys and founders' were taken for its node's, and --pin was not looked at."""
    files = {
        "keys/node.key": "node",
        "keys/node.2.key": "spare",
        "next.key": "next",
        "keys/agent.key": "agent",
    }
    (tmp_path / "keys").mkdir()
    for name, seed in files.items():
        save_key(tmp_path / name, toy_key(seed))
    (tmp_path / "node.toml").write_text(
        '[files]\ngenesis = "genesis.json"\nkey = "keys/node.key"\n'
        '[rpc]\nlisten = "127.0.0.1:7001"\ntls = true\nprincipals = true\n'
    )
    save_genesis(tmp_path / "genesis.json", toy_genesis())
    own = frozenset(toy_key(name).public for name in ("node", "spare", "next"))
    pin, ca = toy_key("another").public, tmp_path / "ca.pem"
    for options, nodes, authorities in (
        ({}, own, None),
        ({"pin": pin.hex()}, {pin}, None),
        ({"ca": ca}, set(), ca),
        ({"pin": pin.hex(), "ca": ca}, {pin}, ca),
    ):
        for url in (None, "https://127.0.0.1:7001", "https://10.0.0.7:7001"):
            access = open_session(tmp_path, url, None, None, **options).access
            is_own = "10.0.0.7" not in (url or "")
            assert access.nodes == (nodes if is_own or options else set()), (options, url)
            assert access.ca == authorities
            assert access.token is None or is_own


async def test_a_client_that_met_one_node_looks_anew_when_another_has_its_address(tmp_path: Path) -> None:
    async with a_node(tmp_path) as first:
        genesis, listen = first.chain.genesis, first.server.address
        either = frozenset({KEY.public, toy_key("bureau-node").public})
        async with Client(first.url, genesis, access=by_token(nodes=either)) as client:
            await client.request("getNodeInfo")
            await first.server.stop()
            async with a_node(tmp_path, listen=listen, node="bureau-node") as second:
                await client.request("getNodeInfo")  # its spare key's
                assert second.served == 1
            async with a_node(tmp_path, listen=listen, node="stranger-node") as third:
                with pytest.raises(UnknownNode):
                    await client.request("getNodeInfo")
                assert third.served == 0


async def refuses_all(client: Client, said: str) -> None:
    for ask in (client.request("getNodeInfo"), client.page("/health"), anext(client.follow(from_height=1))):
        with pytest.raises(OtherScheme, match=said):
            await ask


async def test_a_port_that_speaks_plainly_says_what_to_write_for_its_address(tmp_path: Path) -> None:
    async with a_node(tmp_path) as node:
        plain = RpcServer(
            RpcSection(listen="127.0.0.1:0"), {}, Streams(node.chain.ledger), lambda: "", Metrics()
        )
        await plain.start()
        try:
            said = f"https://{plain.address}: .* speaks no TLS: write http://{plain.address} if"
            for access in (by_token(), NodeAccess(shown=b"a certificate")):
                async with Client(f"https://{plain.address}", access=access) as client:
                    await refuses_all(client, said)
        finally:
            await plain.stop()


async def test_a_port_of_tls_that_is_asked_in_the_clear_says_what_to_write(tmp_path: Path) -> None:
    """It closed the connection, and the client said that the node is busy, four times asked."""
    async with a_node(tmp_path) as node:
        said = f"http://{node.server.address}: this port speaks TLS: write {node.url} if"
        async with Client(node.url.replace("https", "http"), access=by_token()) as client:
            await refuses_all(client, said)


async def test_a_secret_goes_to_another_host_by_tls_alone() -> None:
    client = Client("http://ledger.example:1", access=by_token())
    with pytest.raises(ConfigError, match="sent by TLS alone"):
        await client._introduce()


# --- certificates from files ---------------------------------------------------------------------


def a_pair(folder: Path, name: str, days: int = 365, begin: int = -1, key: Any = None) -> tuple[Path, Path]:
    """Write a certificate for 127.0.0.1, signed by itself, and its key."""
    hashed = hashes.SHA256() if key is None else None
    key = key or ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.fromtimestamp(NOW_MS / 1_000, datetime.UTC)
    title = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(title)
        .issuer_name(title)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now + datetime.timedelta(days=begin))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashed)
    )
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].touch(mode=0o600)
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return paths


async def test_a_certificate_from_files_is_known_by_its_authority_or_as_it_stands(tmp_path: Path) -> None:
    pair = a_pair(tmp_path, "own", days=40_000, begin=-9_000)
    async with a_node(tmp_path, pair) as node:
        genesis = node.chain.genesis
        for access in (
            by_token(ca=pair[0]),
            NodeAccess(key=lambda: toy_key("bank"), ca=pair[0]),
            by_token(shown=ssl.PEM_cert_to_DER_cert(pair[0].read_text())),
        ):
            async with Client(node.url, genesis, access=access) as client:
                await client.request("getNodeInfo")
        other = a_pair(tmp_path, "other", days=40_000, begin=-9_000)[0]
        for access, said in (
            (by_token(), "no node's own; name the file of its authority"),
            (by_token(ca=other), "does not hold by"),
            (
                by_token(shown=ssl.PEM_cert_to_DER_cert(other.read_text())),
                "another certificate than its files",
            ),
        ):
            async with Client(node.url, genesis, access=access) as client:
                with pytest.raises(UnknownNode, match=said):
                    await client.request("getNodeInfo")
        async with Client(node.url, access=by_token(ca=tmp_path / "none.pem")) as client:
            with pytest.raises(ConfigError, match=r"--ca .*none\.pem"):
                await client.request("getNodeInfo")


async def test_where_authorities_and_a_pin_are_given_both_must_hold(tmp_path: Path) -> None:
    """The pin was not looked at."""
    pair = a_pair(tmp_path, "own", 40_000, -9_000, Ed25519PrivateKey.from_private_bytes(KEY.seed))
    other = a_pair(tmp_path, "other", 40_000, -9_000)
    for shown, pin, said in (
        (pair, KEY.public, ""),
        (pair, bytes(32), "not the one of --pin"),
        (other, KEY.public, "does not hold an Ed25519 key, and --pin names one"),
    ):
        async with a_node(tmp_path, shown) as node:
            access = by_token(ca=shown[0], nodes=frozenset({pin}))
            async with Client(node.url, node.chain.genesis, access=access) as client:
                if not said:
                    await client.request("getNodeInfo")
                    continue
                with pytest.raises(UnknownNode, match=said):
                    await client.request("getNodeInfo")
            assert node.served == 0


async def test_an_agent_knows_its_node_by_the_key_or_the_authority_that_is_set(tmp_path: Path) -> None:
    """Its own key says who asks."""
    (tmp_path / "agent").mkdir()
    save_key(tmp_path / "agent.key", toy_key("bank"))
    pair = a_pair(tmp_path, "own", days=40_000, begin=-9_000)
    stranger = toy_key("stranger-node").public.hex()
    written = 'organisation = "bank"\n{}[files]\nkey = "agent.key"\ndata_dir = "agent"\n'
    for name, shown, setting in (
        ("stranger-node", None, f'node_key = "{stranger}"\n'),
        ("bank-node", pair, 'node_ca = "own.pem"\n'),
    ):
        async with a_node(tmp_path, shown, node=name) as node:
            node.chain.add(node.chain.govern([name]))
            for more, known in ((setting, True), ("", False)):
                (tmp_path / "agent.toml").write_text(written.format(more))
                access = node_access(*load_agent_config(tmp_path / "agent.toml"))
                if "node_key" in more:
                    assert access.nodes == {bytes.fromhex(stranger)}
                async with Client(node.url, node.chain.genesis, access=access) as client:
                    if known:
                        assert (await client.request("getNodeInfo"))["chainName"] == "toy"
                        continue
                    with pytest.raises(UnknownNode):
                        await client.request("getNodeInfo")


def test_a_certificate_or_key_that_cannot_be_used_is_named_with_what_to_do(tmp_path: Path) -> None:
    good, foreign = a_pair(tmp_path, "good"), a_pair(tmp_path, "foreign")
    damaged, loose = tmp_path / "damaged.pem", tmp_path / "loose.key"
    damaged.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    damaged.chmod(0o600)
    loose.write_bytes(good[1].read_bytes())
    loose.chmod(0o644)
    for pair, said in (
        ((tmp_path / "none.pem", good[1]), r"files\.rpc_certificate = .*none\.pem: cannot be read"),
        ((damaged, good[1]), r"files\.rpc_certificate = .*damaged\.pem: no certificate in PEM"),
        ((a_pair(tmp_path, "old", days=0)[0], good[1]), r"valid from .* and it is 2023-11-14"),
        ((a_pair(tmp_path, "young", begin=1)[0], good[1]), r"valid from .* and it is 2023-11-14"),
        ((good[0], tmp_path / "none.key"), r"files\.rpc_key = .*none\.key: cannot be read"),
        ((good[0], loose), r"files\.rpc_key = .*mode 0644.*chmod 600"),
        ((good[0], foreign[1]), r"files\.rpc_key = .*foreign\.key: the key of another certificate"),
        ((good[0], damaged), r"files\.rpc_key = .*damaged\.pem: no private key in PEM"),
    ):
        with pytest.raises(ConfigError, match=said):
            rpc_tls(pair, KEY, NOW_MS)


def test_a_certificate_that_ends_soon_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rpc_tls(a_pair(tmp_path, "brief", days=20), KEY, NOW_MS)
    assert "ends in 20 days: renew it" in caplog.text


def test_the_certificate_of_a_key_is_the_same_at_each_start() -> None:
    assert open_context(KEY)[1] == open_context(KEY)[1]


async def test_a_page_of_a_node_is_asked_for_with_no_secret_in_the_clear(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The token went along with `/head` to any http:// address, as it does not with calls."""
    sent: list[str] = []
    monkeypatch.setattr(aiohttp.ClientSession, "get", lambda *_, **__: sent.append("a request"))
    async with Client("http://192.0.2.7:1", access=NodeAccess(token=lambda: "assent_secret")) as node:
        with pytest.raises(ConfigError, match="sent by TLS alone"):
            await node.page("/head")
    assert sent == []
