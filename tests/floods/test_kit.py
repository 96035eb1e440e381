"""The kit of floods itself: what it sends is what it says, and its judge fails what it must fail."""

from __future__ import annotations

import json
import ssl
from typing import Any

import pytest
from cryptography import x509

from chain.network.spent import parts_of
from chain.primitives.crypto import PrivateKey
from chain.primitives.networks import network_of
from chain.primitives.tls import server_context
from tests.floods.catalogue import ATTACKS
from tests.floods.http import call, post, text_frame
from tests.floods.judge import judge_beside, line, misses, table
from tests.floods.leaves import LEAVES, context_of, fresh_leaf, leaf_context
from tests.floods.measure import Row
from tests.floods.naming import blames
from tests.floods.strangers import client_hello, crowd_address
from tests.floods.target import Target

KEYS = [PrivateKey(bytes([number] * 32)) for number in range(1, 4)]


def row(**changes: Any) -> Row:
    """Return the record of an attack that hurt nobody."""
    made = Row("tx-ids-max", "rpc", "member", ["bank"], ["bank", "registry"])
    made.calm_ms = {"bank": [20.0, 30.0], "registry": [20.0, 30.0]}
    made.under_ms = {"bank": [25.0, 90.0], "registry": [24.0, 80.0]}
    made.rss_mib, made.sockets, made.back_s = {"bank": 90.0}, [0, 10], 0.5
    made.ratio, made.must_be_named, made.named_s = 1.2, True, 0.5
    made.tallies = {"tx-ids-max": {"closed": 3, "refused": 1, "missed": []}}
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_an_attack_that_hurts_nobody_misses_no_bar() -> None:
    assert misses(row()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ratio": 3.1}, "latency"),
        ({"rss_mib": {"bank": 90.0, "bureau": 301.0}}, "301 MiB"),
        ({"named_s": None}, "never"),
        ({"named_s": 10.1}, "after 10.1 s"),
        ({"health_bad": {"503": 1}}, "/health"),
        ({"health_p95_ms": 1_001.0}, "/health"),
        ({"sockets": [2, 10]}, "WebSockets"),
        ({"back_s": None}, "no recovery"),
        ({"deaths": ["bank: exit code 1"]}, "ended by itself"),
        ({"facts": {"missed": "a job is running"}}, "a job"),
        ({"tallies": {"x": {"closed": 0, "refused": 0, "missed": ["served"]}}}, "served"),
    ],
)
def test_every_bar_is_missed_by_what_it_is_about(changes: dict[str, Any], said: str) -> None:
    found = misses(row(**changes))
    assert len(found) == 1
    assert said in found[0]


def test_a_control_misses_no_bar() -> None:
    assert misses(row(is_control=True, ratio=50.0)) == []


@pytest.mark.parametrize(("under_ms", "missed"), [(59.0, False), (61.0, True), (181.0, True)])
def test_all_attacks_are_held_against_calm_alone_and_say_what_their_control_took(
    under_ms: float, missed: bool
) -> None:
    """A machine that spinning processes use up as well is no excuse: the bar is of what clients meet."""
    control = row(name="control-spin-all", is_control=True, ratio=3.0)
    control.under_ms = {"bank": [60.0, 90.0], "registry": [58.0, 90.0]}
    for name in ("all", "pongs"):
        attacked = row(name=name, ratio=under_ms / 20.0)
        attacked.under_ms["bank"] = [under_ms, 900.0]
        judge_beside(attacked, [row(), control, attacked])
        assert attacked.control_ms == (60.0 if name == "all" else 0.0)
        assert bool(misses(attacked)) == missed


def test_without_its_control_all_attacks_have_the_bar_of_each() -> None:
    attacked = row(name="all", ratio=3.1)
    judge_beside(attacked, [attacked])
    assert len(misses(attacked)) == 1


def test_the_table_fits_eighty_columns() -> None:
    worst = row(name="silent-connections", ratio=1234.5, cpu_share=1.0, log_bytes_per_s=191_500.0)
    worst.under_ms = {"bank": [10_000.0, 10_000.0], "registry": [10_000.0, 10_000.0]}
    worst.rss_mib, worst.back_s, worst.named_s = {"bank": 2_409.0}, None, None
    assert max(map(len, table([worst]).splitlines())) <= 80
    assert len(line(worst)) <= 80


@pytest.mark.parametrize(
    ("text", "blamed"),
    [
        ("disconnected from aabb at 127.0.0.66:1: frame of unknown kind 99", True),
        ("aabb (127.0.0.1:30300) is refused for 30 s, time 1 of late: sends forged transactions", True),
        ("connected to aabb at 127.0.0.1:1", False),
        ("disconnected from aabb at 127.0.0.1:1: closed by the peer: the node stops", False),
        ("no connection with aabb (127.0.0.1:1): connection refused: the node is not running", False),
        ("disconnected from ccdd at 127.0.0.66:1: frame of unknown kind 99", False),
    ],
)
def test_a_line_names_an_attacker_only_when_it_blames_it(text: str, blamed: bool) -> None:
    assert blames(text, ("aabb", "regulator-node")) is blamed


def test_a_websocket_frame_unmasks_to_its_message() -> None:
    for size in (1, 200, 70_000):
        frame = text_frame(call("getGenesis", 7, filler="x" * size))
        short = frame[1] & 0x7F
        at = {126: 4, 127: 10}.get(short, 2)
        length = int.from_bytes(frame[2:at], "big") if at > 2 else short
        mask, masked = frame[at : at + 4], frame[at + 4 :]
        assert len(masked) == length
        plain = bytes(byte ^ mask[number % 4] for number, byte in enumerate(masked))
        assert json.loads(plain)["id"] == 7


def test_headers_of_a_request_can_lie_about_its_body() -> None:
    assert b"Content-Length: 8388608\r\n" in post(b"", "h", Content_Length="8388608")


def test_a_target_survives_its_way_to_the_attacker() -> None:
    made = Target("g", {"a": "h:1"}, {"a": "h:2"}, {}, ("a",), {"member": "k"}, ("00",), "127.0.0.1", 1.5, 7)
    assert Target.decode(made.encode()) == made


def test_a_crowd_has_a_neighbourhood_for_each_stranger_and_none_of_others() -> None:
    addresses = [crowd_address(number) for number in range(65_024)]
    assert len({network_of(address) for address in addresses}) == len(addresses)
    assert len({parts_of(address)[1] for address in addresses}) == len(addresses)
    assert not any(address.startswith("127.0.0.") for address in addresses)


def test_a_stranger_begins_a_real_handshake() -> None:
    context, arrived = server_context(KEYS[0], [KEYS[1].public]), ssl.MemoryBIO()
    arrived.write(client_hello())
    answer = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(arrived, answer, server_side=True).do_handshake()
    assert len(answer.read()) > 500, "a certificate and a signature: what a handshake costs"


def test_every_attack_says_what_it_sends_and_where_it_ends() -> None:
    for name, attack in ATTACKS.items():
        assert attack.name == name
        assert attack.port in ("rpc", "peer", "agent"), name
        assert attack.sends, name
        assert attack.bound, name
        assert attack.__doc__, name


def handshake(client: ssl.SSLContext) -> bytes:
    """Return the leaf that a server which accepts the first key was shown; raise ssl.SSLError."""
    server = server_context(KEYS[1], [KEYS[0].public])
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    leaf = theirs.getpeercert(binary_form=True)
    assert leaf is not None
    return leaf


@pytest.mark.parametrize("kind", LEAVES)
def test_a_malformed_leaf_passes_openssl_and_not_a_stricter_reader(kind: str) -> None:
    leaf = handshake(leaf_context(KEYS[0], [KEYS[1].public], kind))
    with pytest.raises((ValueError, x509.InvalidVersion)):
        x509.load_der_x509_certificate(leaf).subject.rfc4514_string()


def test_a_leaf_of_a_fresh_key_passes_where_only_its_issuer_is_accepted() -> None:
    leaf = fresh_leaf(KEYS[0], KEYS[2].public)
    assert handshake(context_of(KEYS[2], [KEYS[1].public], leaf)) == leaf
