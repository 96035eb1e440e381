"""The driver alone: order of effects, deadlines, settings, and what it tells an operator."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from chain.primitives.certificate import Certificate, Epoch
from chain.primitives.codec import U64_MAX, encode
from chain.primitives.crypto import PrivateKey, digest
from chain.primitives.errors import ConfigError, DecodeError
from consensus.driver import Driver
from consensus.events import Candidate, Effects, Head, Turn
from consensus.messages import UNSIGNED, Checkpoint, Commit, Prepare, Proposal, Status, decode_message, sign
from consensus.rules import Rules
from consensus.settings import Timing
from consensus.votes import Evidence

CHAIN = digest("test/chain")


@dataclass
class World:
    """Store, transport and application of one driver, recording what is asked of them in order."""

    log: list[str] = field(default_factory=list)
    rows: dict[bytes, bytes] = field(default_factory=dict)
    requests: int = 0
    sent: list[bytes] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)

    def load(self) -> list[tuple[bytes, bytes]]:
        return sorted(self.rows.items())

    def get(self, key: bytes) -> bytes | None:
        return self.rows.get(key)

    def write(self, puts: Mapping[bytes, bytes], deletes: Sequence[bytes]) -> None:
        self.log.append("write")
        self.rows.update(puts)
        for key in deletes:
            self.rows.pop(key, None)

    def send(self, to: bytes, data: bytes) -> None:  # noqa: ARG002
        self.sent.append(data)

    def broadcast(self, data: bytes) -> None:
        self.log.append(type(decode_message(data)).__name__)
        self.sent.append(data)

    def pending(self) -> bool:
        return self.requests > 0

    def propose(self, turn: Turn) -> bytes | None:
        self.turns.append(turn)
        return b"payload %d" % turn.height

    def forward(self, primary: bytes, *, widely: bool) -> None:
        raise AssertionError((primary, widely))

    def check(self, candidate: Candidate) -> bool | None:
        self.log.append(f"check {candidate.height}")
        return True

    def deliver(self, height: int, payload: bytes) -> None:  # noqa: ARG002
        self.log.append(f"deliver {height}")

    def certified(self, certificate: Certificate) -> None:
        self.log.append(f"certified {certificate.height}")

    def certificate(self, height: int) -> Certificate | None:
        raise AssertionError(height)

    def behind(self, certificate: Certificate) -> None:
        self.log.append(f"behind {certificate.height}")

    def evidence(self, evidence: Evidence) -> None:
        raise AssertionError(evidence)

    def halted(self, reason: str) -> None:
        raise AssertionError(reason)


def build(n: int = 1, timing: Timing | None = None) -> tuple[Driver, World]:
    keys = [PrivateKey(digest("test/key", bytes([i]))) for i in range(n)]
    public = tuple(key.public for key in keys)
    rules, world = Rules(CHAIN, lambda _height: Epoch(0, public), lambda: U64_MAX, 8, 16), World()
    driver = Driver(
        rules=rules,
        signer=keys[0],
        timing=timing or Timing(),
        store=world,
        transport=world,
        application=world,
        head=Head(),
        first_start=True,
        nonce=bytes(16),
    )
    driver.start(0)
    world.log.clear()
    world.sent.clear()
    return driver, world


def test_votes_are_deleted_only_after_the_certificate_in_their_place_is_durable() -> None:
    """A step that certifies a height may write something else, and the power may fail in between."""
    driver, world = build()
    world.rows[b"a" + bytes(8)] = b"a vote"
    seen = list[bool]()
    world.certified = lambda _certificate: seen.append(b"a" + bytes(8) in world.rows)  # type: ignore[method-assign]
    certificate = Certificate(1, bytes(32), ())
    driver._perform(Effects(put={b"n": b"new"}, delete=[b"a" + bytes(8)], certified=[certificate]))
    assert seen == [True]
    driver._perform(Effects(put={b"n": b"newer"}))
    assert b"a" + bytes(8) not in world.rows


def test_a_certificate_is_durable_before_votes_in_the_window_that_it_opens() -> None:
    """Otherwise a power failure could leave a vote beyond the window, whose VIEW-CHANGE all would refuse."""
    driver, world = build()
    driver._perform(Effects(put={b"a": b"vote"}, certified=[Certificate(1, bytes(32), ())]))
    assert world.log == ["certified 1", "write"]


def test_effects_happen_in_order_durable_votes_first() -> None:
    """Write, send, deliver; the checkpoint follows execution, the certificate follows the checkpoint."""
    driver, world = build()
    world.requests = 1
    driver.requests_pending(1)
    world.requests = 0
    driver.executed(1, bytes(32), 5)
    kinds = (Proposal, Prepare, Commit, Checkpoint)
    first, second, third, fourth = (kind.__name__ for kind in kinds)
    assert world.log == ["write", first, second, third, "deliver 1", fourth, "certified 1"]


def test_an_application_may_call_back_from_inside_a_port() -> None:
    """Executing at once inside `deliver` is no recursion."""
    driver, world = build()

    def deliver(height: int, payload: bytes) -> None:  # noqa: ARG001
        world.requests -= 1
        driver.executed(height, bytes(32), 1)

    world.deliver = deliver
    world.requests = 3
    for now in range(1, 200, 20):
        driver.on_tick(now)
    assert driver.status(200)["height"] == 3


def test_proposals_keep_the_batch_interval_and_the_number_in_flight() -> None:
    """Load fills batches instead of making many small ones."""
    driver, world = build(4, Timing(batch_interval_ms=50, in_flight_max=3))
    world.requests = 1
    for now in range(1, 1_000):
        driver.on_tick(now)
    assert [turn.height for turn in world.turns] == [1, 2, 3]
    assert world.turns[2].parents == (b"payload 1", b"payload 2")


def test_the_next_deadline_is_never_passed_over() -> None:
    """Driving the driver by its deadlines alone, it suspects the primary neither early nor late."""
    driver, world = build(4, Timing(timeout_ms=2_000))
    now = 0
    for _ in range(30):
        assert driver.next_deadline() > now
        now = driver.next_deadline()
        driver.on_tick(now)
    assert now > 30 * 4_000, "idle: heartbeats only"
    assert {type(decode_message(data)) for data in world.sent} == {Status}


def test_bytes_that_are_no_message_raise_the_declared_error() -> None:
    """The node disconnects the peer; the replica is untouched."""
    driver, world = build(4)
    for data in (b"", b"\x91\xa3abc", bytes(100)):
        with pytest.raises(DecodeError):
            driver.on_message(bytes(32), data, 1)
    assert not world.log


@pytest.mark.parametrize(
    "settings",
    [
        {"timeout_ms": 0},
        {"timeout_ms": 5_000, "timeout_max_ms": 4_000},
        {"batch_interval_ms": 3_000},
        {"in_flight_max": 0},
        {"heartbeat_ms": 10**9},
    ],
)
def test_settings_out_of_range_are_refused_by_name(settings: dict[str, int]) -> None:
    """The text names the setting and its range."""
    with pytest.raises(ConfigError, match=next(reversed(settings))):
        Timing(**settings)


def test_status_says_in_words_what_is_missing_and_is_json_ready() -> None:
    """Phase, who is missing, since when."""
    driver, world = build(4)
    assert driver.status(10)["says"] == "idle: nothing to order"
    world.requests = 1
    driver.requests_pending(20)
    report = json.loads(json.dumps(driver.status(520)))
    assert report["says"] == "height 1: 1 prepares"
    assert len(report["missing"]) == 3
    assert report["since_ms"] == 500
    assert report["quorum"] == 3


def test_the_driver_tells_whether_a_message_could_change_anything() -> None:
    driver, _ = build(4)
    other = PrivateKey(digest("test/key", bytes([1])))

    def said(message: Prepare | Status) -> bool:
        return driver.on_message(other.public, encode(sign(message, other, CHAIN)), 10_000)

    assert said(Prepare(0, 1, bytes(32), other.public, UNSIGNED))
    assert not said(Prepare(0, 1, bytes(32), other.public, UNSIGNED)), "it is known"
    assert not said(Prepare(0, 10_000, bytes(32), other.public, UNSIGNED)), "its height is far off"
    status = Status(0, 0, True, None, 0, (), (), b"", b"", other.public, UNSIGNED)
    assert said(status)
    assert not said(status), "once in a while is enough"


def test_a_validator_that_follows_without_voting_is_noticed_and_nobody_while_blocks_come_by_sync() -> None:
    driver, _ = build(4)
    keys = [PrivateKey(digest("test/key", bytes([i]))) for i in range(4)]

    def hear(*senders: int) -> None:
        for i in senders:
            vote = Prepare(0, 1, bytes(32), keys[i].public, UNSIGNED)
            driver._notice(keys[i].public, vote)
            driver._notice(keys[i].public, Prepare(0, 1, bytes(32), keys[3].public, UNSIGNED))  # not its own

    hear(1, 2)
    driver._state.certificate = Certificate(40, bytes(32), ())
    assert driver.silent(16) == (), "too few votes for a quorum were heard: these heights were fetched"
    hear(1, 2)
    assert driver.silent(16) == (keys[3].public,)
    driver._notice(keys[3].public, Prepare(0, 41, bytes(32), keys[3].public, UNSIGNED))
    assert driver.silent(16) == ()
