"""What must hold at every moment, looked at after every event of an honest machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chain.ledger.batch_executor import SKIPPED
from chain.node.core import NodeCore
from chain.node.execution_queue import WAITING_MAX
from chain.primitives.certificate import Certificate, check_certificate, fault_bound
from chain.primitives.errors import AssentError
from consensus.messages import Commit
from consensus.slow_primaries import GRACE_SHARE
from tests.simulation.chain_under_test import BOUNDS, SKEW_FACTOR, TIMEOUT_MAX_MS, TIMEOUTS_MS
from tests.simulation.clockwork import EPOCH_MS, START_MS, Violation
from tests.simulation.genuine import Genuine
from tests.simulation.said import Said
from tests.simulation.shortcuts import decode_message

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.machine import Machine


class Checks:
    """The whole cluster's memory of what was said, executed and promised."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.headers: dict[int, bytes] = {}
        """Height -> header hash that some honest machine executed."""
        self.payloads: dict[int, bytes | None] = {}
        self.ran: dict[bytes, int] = {}
        """Transaction -> height at which it ran."""
        self.told: dict[bytes, int] = {}
        """Transaction -> height at which some client was told that it is certified."""
        self._certified: dict[int, bytes] = {}
        self._grown: list[int] = []
        """Heights whose view is above that of the height below: primaries were replaced in between."""
        self.timely = False
        """Whether messages between correct nodes arrive in time: no correct primary may be charged then."""
        self.votes = Said(cluster)
        self._genuine = Genuine(cluster, self.votes)

    # --- votes ------------------------------------------------------------------------------------

    def said(self, machine: Machine, body: bytes) -> None:
        """Judge what an honest machine sends."""
        message = decode_message(body)
        self.votes.said(machine, message)
        if isinstance(message, Commit):
            self._genuine.commit_row(machine, message.height)

    def wiped(self, machine: Machine) -> None:
        """Keep what a machine that lost its disk can no longer know."""
        self.votes.wiped(machine)

    def now_and_then(self) -> None:
        """Check what is too costly to check after every event."""
        self.votes.fetchable()

    # --- ledgers ----------------------------------------------------------------------------------

    def booted(self, machine: Machine) -> None:
        """What a machine told before it crashed is there after it."""
        height = machine.ledger.certified_height
        if machine.honest and height < machine.settled_height:
            raise Violation(
                f"{machine} told clients of height {machine.settled_height}, after a crash it is at {height}"
            )
        machine.checked_height = min(machine.checked_height, machine.ledger.head.height)
        if machine.honest:
            self.votes.booted(machine)

    def look(self, machine: Machine, core: NodeCore) -> None:
        """Check what the last event changed."""
        ledger = core.ledger
        while machine.checked_height < ledger.head.height:
            machine.checked_height += 1
            self._executed(machine, core, machine.checked_height)
        if ledger.certified_height > machine.settled_height:
            for height in range(machine.settled_height + 1, ledger.certified_height + 1):
                self._settled(machine, core, height)
            machine.settled_height = ledger.certified_height
        self._genuine.look(machine, core)
        self._bounds(machine, core)

    def _executed(self, machine: Machine, core: NodeCore, height: int) -> None:
        """One batch per height, equal headers, nothing runs twice."""
        read = core.ledger.read
        if height < read.pruned.below().blocks and height < core.ledger.head.height:
            return  # a state took the place of these blocks
        header = core.ledger.head.header_hash if core.ledger.head.height == height else None
        if header is None:
            found = read.header(height + 1)
            header = found.parent if found is not None else b""
        known = self.headers.get(height)
        if height < read.pruned.below().blocks:
            if known != header:
                raise Violation(f"{machine} took a state of height {height} with another header")
            return
        payload = read.payload(height)
        if known is None:
            self.headers[height], self.payloads[height] = header, payload
            self._time(core, height)
            self._passed_over(core, height)
            for receipt in read.receipts(height):
                if receipt.status == SKIPPED:
                    continue
                if receipt.tx_id in self.ran:
                    first = self.ran[receipt.tx_id]
                    raise Violation(f"{receipt.tx_id.hex()[:16]} ran at {first} and again at {height}")
                self.ran[receipt.tx_id] = height
        elif payload != self.payloads[height]:
            raise Violation(f"{machine} executed another batch at height {height}")
        elif header != known:
            raise Violation(f"{machine} executed height {height} to another header")

    def _time(self, core: NodeCore, height: int) -> None:
        """Nobody moves the time of blocks further than skewed clocks and the allowed skew explain."""
        header, limit = core.ledger.read.header(height), self._cluster.shape.max_skew_ms
        latest = EPOCH_MS + self._cluster.now + (SKEW_FACTOR + 1) * limit + height
        if header is None or header.time > latest:
            raise Violation(f"the time of height {height} is {header and header.time}, at most {latest}")

    def _passed_over(self, core: NodeCore, height: int) -> None:
        """Who was replaced as primary leads again after so many heights; at most f do not lead."""
        ledger, shape = core.ledger, self._cluster.shape
        header, below = ledger.read.header(height), ledger.read.header(height - 1)
        if header is None or below is None:
            return  # a state took the place of the height below
        before = below.view if below.height >= ledger.epoch_at(height).first else 0
        if header.view > before:
            self._grown.append(height)
        coming = height + shape.window
        self._charged(core, coming)
        since = coming - shape.passed_over
        lately = any(since < grown + shape.window <= coming for grown in self._grown)
        validators = ledger.validator_keys_at(coming)
        leaders = core.driver._state.rules.leaders(coming)
        if len(leaders) < len(validators) - fault_bound(len(validators)):
            raise Violation(f"{len(leaders)} of {len(validators)} lead at height {coming}")
        if len(leaders) < len(validators) and not lately:
            raise Violation(f"a validator does not lead at height {coming}, though none was replaced lately")

    def _charged(self, core: NodeCore, height: int) -> None:
        """On a timely network no correct primary is charged."""
        passed_over = core.ledger.passed_over_at
        new = set(passed_over(height)) - set(passed_over(height - 1)) if self.timely else ()
        for key in new:
            if not self._cluster.is_liar(self._cluster.index[key]):
                raise Violation(
                    f"node {self._cluster.index[key]} is correct and passed over from {height} on"
                )

    def _settled(self, machine: Machine, core: NodeCore, height: int) -> None:
        """A certificate is a quorum's, over the header that everyone executed."""
        read = core.ledger.read
        if height < read.pruned.below().blocks:
            return  # a state took the place of this block
        for tx_id in read.decided_ids(height):
            position = read.position(tx_id)
            self.told.setdefault(tx_id, position[0] if position is not None else height)
        certificate = read.certificate(height)
        if certificate is None:
            return  # comes late: a height above is certified
        if self._certified.setdefault(height, certificate.header_hash) != certificate.header_hash:
            raise Violation(f"two headers of height {height} are certified")
        if certificate.header_hash != self.headers[height]:
            raise Violation(f"{machine}: the certificate of height {height} is over another header")
        self._quorum(machine, core, certificate)

    def _quorum(self, machine: Machine, core: NodeCore, certificate: Certificate) -> None:
        validators = core.ledger.validator_keys_at(certificate.height)
        n, signers = len(validators), len(certificate.signatures)
        where = f"{machine}, certificate of height {certificate.height}"
        if 2 * signers - n <= (n - 1) // 3:
            raise Violation(f"{where}: {signers} of {n} are too few to agree")
        try:
            check_certificate(certificate, core.ledger.chain_id, validators)
        except AssentError as error:
            raise Violation(f"{where}: {error}") from error

    # --- bounds -----------------------------------------------------------------------------------

    def _bounds(self, machine: Machine, core: NodeCore) -> None:
        state, bounds = core.driver._state, BOUNDS
        window, peers = state.rules.consensus_window, len(self._cluster.processes)
        sizes = {
            "view timeout": (core.driver._timers.timeout(), TIMEOUT_MAX_MS),
            "pool": (len(core.pool), bounds.max_transactions),
            "held": (len(core.pool._held), bounds.max_held),
            "slots": (len(state.slots), window),
            "retired": (len(state.retired), window),
            "future": (len(state.future), 6 * window * peers),
            "view changes": (len(state.view_changes), peers),
            "checkpoints": (len(state.checkpoints), 6 * window),  # 2W far below: certificates missed
            "execution": (len(core._executor), WAITING_MAX // 4),
            "wanted": (len(core.gossip._wanted), 4_096),
            "verifying": (len(core.gossip._verifying), 4_096),
            "blocks": (len(core.sync._buffer), 256),
        }
        views = (self._cluster.now - START_MS) // (TIMEOUTS_MS[0] // GRACE_SHARE) + 1
        if state.view > views:
            raise Violation(f"{machine} is in view {state.view}; timers explain at most {views}")
        for name, (size, limit) in sizes.items():
            if size > limit:
                raise Violation(f"{machine}: {size} in {name}, at most {limit}")

    # --- at the end -------------------------------------------------------------------------------

    def kept(self, machine: Machine) -> None:
        """What any client was told of is in this ledger, as far as it goes, at the height that was told."""
        read = machine.ledger.read
        held = read.pruned.below().blocks
        for tx_id, height in self.told.items():
            position = read.position(tx_id)
            if not held <= height <= machine.settled_height:
                continue
            if position is None or position[0] != height:
                raise Violation(f"{machine} lost {tx_id.hex()[:16]}, acknowledged at height {height}")
