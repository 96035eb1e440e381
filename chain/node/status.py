"""What a node knows of itself, and in words why it does not move."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from chain.api.metrics import Metrics
from chain.network.manager import PeerManager
from chain.node.core import NodeCore
from chain.node.keys import Identity
from chain.node.membership import accepted, role_of
from chain.node.stall import Away, Coming, Facts, explain, stalled, waits
from chain.node.watch import SILENT_WINDOWS, TWIN_REMEDY, Seen, news, notes, views_passed
from chain.primitives.certificate import fault_bound, quorum
from chain.primitives.jsonvalue import to_json
from chain.primitives.possession import prove_possession
from chain.primitives.words import OUTSIDE
from consensus.evidence import read_evidence
from consensus.votes import Evidence

log = logging.getLogger("assent.node")

PACE_SAMPLES = 20
"""Of the certified height, OBSERVE_S apart: the pace is that of the last ten seconds."""


class NodeStatus:
    """Answers questions of operators; reads the parts of a node and changes none."""

    def __init__(
        self,
        key: bytes,
        core: NodeCore,
        peers: PeerManager,
        clock: Callable[[], int],
        data_dir: str,
        disk_free: Callable[[], int],
        not_taken: Callable[[], str] = str,
        keys: Callable[[], Iterable[bytes]] = tuple,
    ) -> None:
        """`clock` returns milliseconds of the monotonic clock, `disk_free` the bytes left for `data_dir`.

        `not_taken` says that no peer takes a key of this node, and what to do; else nothing. `keys` are the
        public keys that this node has and can open.
        """
        self.spare: Identity | None = None
        """The key that this node has ready to take its seat, where the votes of its key were lost."""
        self._not_taken, self._keys = not_taken, keys
        self._data_dir, self._disk_free = data_dir, disk_free
        self._heights: deque[tuple[int, int]] = deque(maxlen=PACE_SAMPLES)
        """(milliseconds, certified height), the latest."""
        self._key, self._core, self._peers, self._clock = key, core, peers, clock
        self._genesis, self._ledger, self._pool = core.ledger.genesis, core.ledger, core.pool
        self._sync, self._driver = core.sync, core.driver
        self._nodes = {node.public_key: node for node in self._genesis.validators}
        """Every node that was a member since the start, and the founders: for names."""
        self._told: dict[str, float] = {}
        self._seen = Seen()
        self._stood = (clock(), core.ledger.certified_height)
        """(milliseconds since when work waits, the certified height since then)."""
        self._stalled = False

    def name_of(self, key: bytes) -> str:
        """Return a node's name, or the start of its key when it has none."""
        if key not in self._nodes:
            self._nodes |= accepted(self._ledger)
        return self._nodes[key].name if key in self._nodes else key.hex()[:16]

    def _names(self, keys: Iterable[bytes]) -> list[str]:
        return [self.name_of(key) for key in keys]

    def consensus(self) -> dict[str, Any]:
        """Return what consensus is doing, whom it waits for, and in words why it does not move."""
        said = self._said()
        return said | {"stall": explain(self._facts(said))}

    def _said(self) -> dict[str, Any]:
        """Return what consensus says of itself, keys as names."""
        shown = self._driver.status(self._clock())
        shown["primary"] = self.name_of(bytes.fromhex(shown["primary"]))
        shown["passed_over"] = self._names(bytes.fromhex(key) for key in shown["passed_over"])
        shown["missing"] = self._names(bytes.fromhex(key) for key in shown["missing"])
        shown["asked"] = self._names(bytes.fromhex(key) for key in shown["asked"])
        shown["headers"] = {
            self.name_of(bytes.fromhex(key)): header for key, header in shown["headers"].items()
        }
        shown["heard_ms"] = {self.name_of(bytes.fromhex(key)): at for key, at in shown["heard_ms"].items()}
        shown["announced"] = self._announced()
        shown["refused"] = to_json(self._ledger.schedule.refusal())
        return shown

    def _announced(self) -> list[dict[str, Any]]:
        """Return the sets announced and not in force yet, with those of them that are not connected."""
        sets = self._ledger.schedule.coming(self._ledger.certified_height + 1)[1:]
        return [
            {
                "first": item.first,
                "validators": self._names(item.keys),
                "quorum": quorum(len(item.keys)),
                "away": self._names(self._away(item.keys)),
            }
            for item in sets
        ]

    def _away(self, validators: Iterable[bytes]) -> list[bytes]:
        here = {*self._peers.connected, self._key}
        return [key for key in validators if key not in here]

    @property
    def lost_votes(self) -> bool:
        """Whether this is a validator whose key's votes were lost: it gives none until its seat moves."""
        return self._core.votes and self._driver.lost_votes

    def _seat_moves(self) -> str:
        """Return the key, as hex, that the seat of this node moves to; empty when it stays."""
        name = self.name_of(self._key)
        for item in self._ledger.schedule.nodes():
            if item.node.name == name and item.node.public_key != self._key:
                return item.node.public_key.hex()
        return ""

    def _spare_seat(self, org: str) -> dict[str, Any]:
        """Return whether votes were lost, and the spare key with the proof that moves the seat to it."""
        if not self.lost_votes or self.spare is None:
            return {"lostVotes": self.lost_votes, "spareKey": "", "spareProof": "", "spareFile": ""}
        key = self.spare.key
        proof = prove_possession(key, self._genesis.chain_id, org)
        return {
            "lostVotes": True,
            "spareKey": key.public.hex(),
            "spareProof": proof.hex(),
            "spareFile": self.spare.file.name,
        }

    def info(self) -> dict[str, Any]:
        """Return the facts of one line of `assent status`."""
        consensus = self.consensus()
        org = self._nodes[self._key].org if self._key in self._nodes else ""
        return {
            "version": version("assent"),
            "chainId": self._genesis.chain_id.hex(),
            "chainName": self._genesis.chain_name,
            "key": self._key.hex(),
            "keys": sorted({self._key.hex(), *[key.hex() for key in self._keys()]}),
            **self._spare_seat(org),
            "seatMoves": self._seat_moves(),
            "name": self.name_of(self._key),
            "org": org,
            "role": role_of(self._ledger, self._key),
            "height": self._ledger.certified_height,
            "executed": self._ledger.head.height,
            "blocksFrom": self._ledger.read.pruned.below().blocks,
            "view": consensus["view"],
            "primary": consensus["primary"],
            "peers": len(self._peers.connected),
            "pool": len(self._pool),
            "phase": consensus["says"],
            "stall": consensus["stall"],
            "notes": notes(self._see(consensus), consensus["stall"]),
            "offences": [
                f"{self.name_of(peer.key)} ({peer.key.hex()[:16]}): {peer.offence}"
                for peer in self._peers.peers()
                if peer.offence
            ],
        }

    def peers(self) -> list[dict[str, Any]]:
        """Return one record a member; `votes` is false where a validator sent none for some windows.

        `twins` says where the processes are that use its key, if there are two.
        """
        silent = self._driver.silent(SILENT_WINDOWS * self._genesis.limits.consensus_window)
        twins = self._peers.twins
        return [
            {
                "name": self.name_of(peer.key),
                "key": peer.key.hex(),
                "address": peer.address,
                "connected": peer.connected,
                "votes": peer.key not in silent,
                "connectedSeconds": round(peer.connected_s, 1),
                "roundTripMs": peer.round_trip_ms,
                "queuedBytes": peer.queued_bytes,
                "drops": dict(peer.drops),
                "trouble": peer.trouble,
                "awaySeconds": round(peer.away_s, 1),
                "offence": peer.offence,
                "twins": twins.get(peer.key, ""),
                "spentSeconds": {kind: round(spent, 3) for kind, spent in peer.spent_s.items()},
                "unhandled": dict(peer.unhandled),
            }
            for peer in self._peers.peers()
        ]

    def evidence(self, after: str, most: int, most_bytes: int) -> list[dict[str, Any]]:
        """Return what convicts validators that contradicted themselves, checked again; messages as hex.

        Those behind `after` ("KEY/KIND") by key and kind: at most so many, and no further one once they have
        so many bytes of hex.
        """
        found: list[dict[str, Any]] = []
        size = 0
        for key, kind in self._driver.accused():
            if len(found) >= most or size >= most_bytes:
                break
            item = self._driver.evidence(key, kind) if f"{key.hex()}/{kind}" > after else None
            if item is None:
                continue
            found.append(self._contradiction(item))
            size += 2 * (len(item.first) + len(item.second))
        return found

    def _contradiction(self, evidence: Evidence) -> dict[str, Any]:
        said = read_evidence(evidence, self._ledger.chain_id)
        return {
            "accused": self.name_of(said.accused),
            "key": said.accused.hex(),
            "kind": said.kind,
            "slot": list(said.slot),
            "first": evidence.first.hex(),
            "second": evidence.second.hex(),
        }

    def sync(self) -> dict[str, Any]:
        """Return where catch-up stands."""
        report = self._sync.report()
        return {
            "height": report.height,
            "provedHeight": report.proved_height,
            "bufferedBlocks": report.buffered_blocks,
            "requests": report.requests,
            "sources": self._names(report.sources),
            "blocksPerSecond": round(self._pace(), 1),
            "snapshot": None
            if report.snapshot is None
            else {"height": report.snapshot[0], "share": round(report.snapshot[1], 4)},
            "trouble": report.trouble,
        }

    def why_not_ready(self) -> str:
        """Return why this node cannot serve yet, empty when it can."""
        facts = self._facts(self._said())
        behind = facts.proved > facts.certified + facts.consensus_window or facts.snapshot is not None
        cut_off = facts.is_validator and facts.validators - len(facts.away) < facts.quorum
        if facts.halted or facts.outside or facts.twin or behind or cut_off:
            return explain(facts)
        return stalled(facts)

    def _facts(self, said: dict[str, Any]) -> Facts:
        """Gather what `explain` needs; `said` is what `_said` returned."""
        core, ledger, report = self._core, self._ledger, self._sync.report()
        lacking, epoch = core.lacking(), ledger.epoch_at(ledger.certified_height + 1)
        away = [p for p in self._peers.peers() if not p.connected and p.key in epoch.validators]
        stranger = role_of(ledger, self._key) == OUTSIDE and report.proved_height <= report.height
        return Facts(
            name=self.name_of(self._key),
            validators=len(epoch.validators),
            quorum=quorum(len(epoch.validators)),
            since_height=epoch.first,
            is_validator=self._key in epoch.validators,
            outside=self._not_taken() or (self._outside() if stranger else ""),
            away=tuple([Away(self.name_of(p.key), p.address, p.away_s, p.trouble) for p in away]),
            twin=self._twin(epoch.validators),
            coming=self._coming(said["announced"]),
            certified=ledger.certified_height,
            executed=said["executed"],
            consensus_window=said["consensus_window"],
            view=said["view"],
            primary=said["primary"],
            phase=said["phase"],
            says=said["says"],
            missing=tuple(said["missing"]),
            asked=tuple(said["asked"]),
            seconds=said["since_ms"] / 1000,
            stood_s=(self._clock() - self._stood[0]) / 1000,
            pending=said["pending"],
            lacking=len(lacking),
            holders=tuple(self._names(core.gossip.holders(lacking))),
            headers=said["headers"],
            proved=report.proved_height,
            sources=tuple(self._names(report.sources)),
            blocks_per_s=self._pace(),
            snapshot=report.snapshot,
            sync_trouble=report.trouble,
            skews_ms={self.name_of(key): ahead for key, ahead in core.skews_ms.items()},
            skew_max_ms=ledger.schedule.limits_at(ledger.head.height + 1).max_clock_skew_ms,
            disk_free=self._disk_free(),
            data_dir=self._data_dir,
            moves=self._seat_moves() if self.lost_votes else "",
            halted=said["halted"],
            unfinished=core.unfinished,
        )

    def _twin(self, validators: Collection[bytes]) -> str:
        """Return where our key runs in another process too, once more than f validators say so."""
        said = {key: endpoints for key, endpoints in self._peers.own_twins.items() if key in validators}
        if len(said) <= fault_bound(len(validators)):
            return ""
        who, endpoints = ", ".join(self._names(said)), next(iter(said.values()))
        return f"the key of this node runs in another process too ({who}: {endpoints}); {TWIN_REMEDY}"

    @staticmethod
    def _coming(announced: list[dict[str, Any]]) -> Coming | None:
        """Return the first announced set that could not certify anything now."""
        for item in announced:
            if len(item["validators"]) - len(item["away"]) < item["quorum"]:
                return Coming(item["first"], item["quorum"], tuple(item["away"]))
        return None

    def _pace(self) -> float:
        """Return how fast the certified height grew lately, in blocks a second."""
        if len(self._heights) < 2:
            return 0.0
        (first_ms, first), (last_ms, last) = self._heights[0], self._heights[-1]
        return (last - first) * 1000 / max(1, last_ms - first_ms)

    def _outside(self) -> str:
        moved = [
            item.node.public_key.hex()[:16]
            for item in self._ledger.schedule.nodes()
            if self._key in self._nodes and item.node.name == self._nodes[self._key].name
        ]
        if moved:
            return (
                f"the seat of this node has moved to the key {moved[0]}…, which is not here: put its file "
                "where [files] next_key says"
            )
        if self._key not in self._nodes:
            return (
                f"no node of this chain has the key {self._key.hex()}: the members decide about it with "
                "`assent validator add`, or the ledger here is behind: name [network] introducers"
            )
        return (
            "this node is no longer a member: it serves what it has and follows nobody; the members take it "
            "in again with `assent validator add`"
        )

    def _see(self, said: dict[str, Any]) -> Seen:
        """Return what is told of consensus; `said` is what `_said` returned."""
        silent = set(self._driver.silent(SILENT_WINDOWS * said["consensus_window"]))
        return Seen(
            said["epoch"], said["view"], said["active"], said["primary"], tuple(said["passed_over"]),
            self.lost_votes, "" if self.spare is None else self.spare.file.name,
            tuple(self._names(key for key in self._peers.connected if key in silent)),
            {self.name_of(peer): endpoints for peer, endpoints in self._peers.twins.items()},
            {self.name_of(peer): endpoints for peer, endpoints in self._peers.own_twins.items()},
            self._seat_moves() if self.lost_votes else "", self._core.unpruned,
        )  # fmt: skip

    def _observe_consensus(self, metrics: Metrics) -> None:
        """Log what is new in consensus, once each, and write its gauges."""
        said = self._said()
        self._observe_stall(self._facts(said), metrics)
        before, self._seen = self._seen, self._see(said)
        for line in news(before, self._seen):
            log.warning("%s", line)
        metrics.lost_votes.set(self._seen.lost_votes)
        metrics.view_changes.inc(views_passed(before, self._seen))
        for name in {*before.passed_over, *self._seen.passed_over}:
            metrics.passed_over.labels(name).set(name in self._seen.passed_over)
        for name in {*before.silent, *self._seen.silent}:
            metrics.silent.labels(name).set(name in self._seen.silent)
        for name in {*before.twins, *self._seen.twins}:
            metrics.twins.labels(name).set(name in self._seen.twins)
        metrics.own_twins.set(len(self._seen.own_twins))
        metrics.pruning_stopped.set(bool(self._seen.unpruned))

    def _observe_stall(self, facts: Facts, metrics: Metrics) -> None:
        """Note since when work waits at one height, and say once that a stall begins or ends."""
        if facts.certified != self._stood[1] or not waits(facts):
            self._stood = (self._clock(), facts.certified)
            facts = replace(facts, stood_s=0.0)
        why = stalled(facts)
        if why and not self._stalled:
            log.error("stalled: %s", why)
        elif self._stalled and not why:
            log.warning("no longer stalled, at height %d", facts.certified)
        self._stalled = bool(why)
        metrics.stalled.set(self._stalled)

    def observe(self, metrics: Metrics) -> None:
        """Log what is new, and write the gauges and the counters that grew; call it every OBSERVE_S."""
        head = self._ledger.head
        self._heights.append((self._clock(), self._ledger.certified_height))
        self._observe_consensus(metrics)
        metrics.height.set(self._ledger.certified_height)
        metrics.disk_free.set(self._disk_free())
        metrics.view.set(self._seen.view)
        metrics.peers.set(len(self._peers.connected))
        metrics.pool.set(len(self._pool))
        self._count(metrics.transactions.labels("ok"), "ok", head.transactions - head.failed)
        self._count(metrics.transactions.labels("failed"), "failed", head.failed)
        for code, number in self._peers.disconnects.items():
            self._count(metrics.disconnects.labels(code), f"disconnect {code}", number)
        for code, number in self._core.admission.refusals.items():
            self._count(metrics.refused.labels(code), f"refusal {code}", number)
        for queue, number in self._core.drops().items():
            self._count(metrics.dropped.labels(queue), f"drop {queue}", number)
        self._observe_peers(metrics)

    def _observe_peers(self, metrics: Metrics) -> None:
        """Write what grew of each member."""
        drops: dict[str, int] = {}
        for peer in self._peers.peers():
            name = self.name_of(peer.key)
            for kind, number in peer.drops.items():
                drops[kind] = drops.get(kind, 0) + number
            for kind, spent in peer.spent_s.items():
                self._count(metrics.peer_seconds.labels(name, kind), f"spent {name} {kind}", spent)
            for kind, number in peer.unhandled.items():
                self._count(metrics.peer_unhandled.labels(name, kind), f"unhandled {name} {kind}", number)
            metrics.peer_refused.labels(name).set(peer.refused_s > 0)
        for kind, number in drops.items():
            self._count(metrics.dropped.labels(f"send_{kind}"), f"drop send_{kind}", number)

    def _count(self, counter: Any, name: str, total: float) -> None:
        counter.inc(max(0, total - self._told.get(name, 0)))
        self._told[name] = total
