"""The plan of a page: its bytes, its hash, and what follows from it alone.

Bytes of a plan are read as a peer's: every node is checked by the same table that checked it when it was
traced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Annotated

from chain.primitives.codec import Bound, Hash, decode, encode, record
from chain.primitives.crypto import digest
from chain.primitives.errors import DecodeError
from contracts.pages.charges import Charge, charges_of
from contracts.pages.cost import Cost, costs
from contracts.pages.faults import Unfit
from contracts.pages.graph import ColumnRead, Graph
from contracts.pages.labels import Labels
from contracts.pages.leakage import statement
from contracts.pages.limits import (
    ARGS_MAX,
    ATTRIBUTE_MAX,
    DATASETS_MAX,
    DEFAULT_PAGE_GAS,
    GAS_PLAN_ARG,
    GAS_PLAN_CHAR,
    GAS_PLAN_NODE,
    INPUTS_MAX,
    NAME_MAX,
    NODES_MAX,
    NUMBER_CHARS_MAX,
    PAGES,
    PLAN_BYTES_MAX,
    RELEASE_NAME_MAX,
    RELEASES_MAX,
    SIZE_MAX,
    TEXT_MAX,
    Gas,
)
from contracts.pages.membership import membership_of
from contracts.pages.noised import NoisedSum
from contracts.pages.numbers import read_number
from contracts.pages.paying import Payer
from contracts.pages.primitives import TABLE
from contracts.pages.profiles import profiles_of
from contracts.pages.releases import ColumnUse, DatasetRead, Derived, Release, ReleaseAsked, derive
from contracts.pages.types import KINDS

_Small = Annotated[int, Bound(0, NODES_MAX)]
_Name = Annotated[str, Bound(0, NAME_MAX)]
_Number = Annotated[str, Bound(0, NUMBER_CHARS_MAX)]
_Text = Annotated[str, Bound(0, 2 * TEXT_MAX)]
_TEXTS_MAX = 4_096


@record("plan-column", max_bytes=512)
class _ColumnWire:
    dataset: Annotated[int, Bound(0, DATASETS_MAX - 1)]
    column: Annotated[str, Bound(1, NAME_MAX)]
    kind: Annotated[str, Bound(1, 8)]
    categories: Annotated[int, Bound(0, SIZE_MAX)]
    bins: Annotated[int, Bound(0, SIZE_MAX)]
    low: _Number
    high: _Number
    averaged: bool


@record("plan-release", max_bytes=1_024)
class _ReleaseWire:
    value: _Small
    rows: Annotated[tuple[_Small, ...], Bound(0, 1)]
    receiver: _Name
    name: Annotated[str, Bound(0, RELEASE_NAME_MAX)]
    mechanism: Annotated[str, Bound(0, 8)]
    epsilon: _Text
    delta: _Text


@record("plan", max_bytes=PLAN_BYTES_MAX)
class _PlanWire:
    pages: Annotated[int, Bound(PAGES, PAGES)]
    page: Hash
    datasets: Annotated[tuple[Annotated[tuple[_Name, ...], Bound(2, 2)], ...], Bound(0, DATASETS_MAX)]
    columns: Annotated[tuple[_ColumnWire, ...], Bound(0, INPUTS_MAX)]
    texts: Annotated[tuple[Annotated[str, Bound(0, ATTRIBUTE_MAX)], ...], Bound(0, _TEXTS_MAX)]
    nodes: Annotated[
        tuple[Annotated[tuple[_Small, ...], Bound(2, 2 + ARGS_MAX + 2)], ...], Bound(0, NODES_MAX)
    ]
    """(primitive, number of values, how far back each value is, which text each attribute is)."""
    releases: Annotated[tuple[_ReleaseWire, ...], Bound(0, RELEASES_MAX)]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a page computes, and the facts that follow."""

    page_hash: bytes
    datasets: tuple[DatasetRead, ...]
    graph: Graph
    asked: tuple[ReleaseAsked, ...]
    data: bytes
    """Its canonical bytes."""
    hash: bytes
    uses: tuple[ColumnUse, ...]
    releases: tuple[Release, ...]
    noised: tuple[NoisedSum, ...]
    """The sums that get noise inside the computation, in order."""

    @property
    def leakage(self) -> str:
        """Who learns what, in words."""
        return statement(self.graph, self.datasets, Derived(self.releases, self.uses, self.noised))

    @property
    def charges(self) -> dict[str, Charge]:
        """What it takes from the account of each dataset, by its name."""
        return charges_of(self.graph, self.datasets, self.releases, self.uses, self.noised)

    @property
    def membership(self) -> dict[str, list[str]]:
        """Who learns which rows of each dataset, by its name, are joined."""
        return membership_of(self.graph, self.datasets, self.releases)

    @property
    def cost(self) -> tuple[Cost, ...]:
        """What it costs under each profile that can run it."""
        owners = [self.datasets[column.dataset].owner for column in self.graph.columns]
        noisy = [(atom.node, one.mechanism) for one in self.releases for atom in one.noise_on]
        return costs(self.graph, owners, self.profiles, noisy)

    @property
    def profiles(self) -> tuple[str, ...]:
        """The profiles that can run it."""
        return profiles_of(self.graph, self.datasets, self.releases)


def complete(
    page_hash: bytes,
    initiator: str,
    datasets: Sequence[DatasetRead],
    graph: Graph,
    asked: Sequence[ReleaseAsked],
    payer: Payer,
) -> Plan:
    """Return the plan of a graph with all that follows from it; raise Unfit for a release that cannot be."""
    owners = [datasets[column.dataset].owner for column in graph.columns]
    labels = Labels(graph, owners, payer)
    derived: Derived = derive(graph, labels, datasets, asked, payer, initiator)
    data = _encoded(page_hash, datasets, graph, asked)
    return Plan(
        page_hash,
        tuple(datasets),
        graph,
        tuple(asked),
        data,
        digest("assent/pages/plan", data),
        derived.uses,
        derived.releases,
        derived.noised,
    )


def _encoded(
    page_hash: bytes, datasets: Sequence[DatasetRead], graph: Graph, asked: Sequence[ReleaseAsked]
) -> bytes:
    texts: dict[str, int] = {}
    nodes = []
    for node in range(len(graph)):
        back = tuple([node - arg for arg in graph.args[node]])
        words = tuple([texts.setdefault(text, len(texts)) for text in graph.attrs[node]])
        nodes.append((graph.primitives[node].number, len(back), *back, *words))
    if len(texts) > _TEXTS_MAX:
        raise Unfit("PLAN_SIZE", f"more than {_TEXTS_MAX} different constants", "fewer, or repeat(n)")
    columns = tuple([_ColumnWire(*astuple(one)) for one in graph.columns])
    releases = tuple(
        [
            _ReleaseWire(
                one.value,
                () if one.rows is None else (one.rows,),
                one.receiver,
                one.name,
                one.mechanism,
                one.epsilon,
                one.delta,
            )
            for one in asked
        ]
    )
    pairs = tuple([(each.name, each.owner) for each in datasets])
    wire = _PlanWire(PAGES, page_hash, pairs, columns, tuple(texts), tuple(nodes), releases)
    return encode(wire)


def decode_plan(data: bytes, payer: Payer | None = None, initiator: str = "") -> Plan:
    """Read a plan from bytes of anybody; raise DecodeError, or OutOfGas when the payer has too little.

    `initiator` is who asks for it, which the bytes do not say: the computation is the same for all.
    """
    payer = payer or Gas(DEFAULT_PAGE_GAS)
    payer.charge(len(data))
    wire = decode(_PlanWire, data)
    columns = [ColumnRead(*astuple(one)) for one in wire.columns]
    if any(each.dataset >= len(wire.datasets) or each.kind not in KINDS[:-1] for each in columns):
        raise DecodeError("plan: a column of no dataset, or of no kind")
    if not all(map(_has_domain, columns)):
        raise DecodeError("plan: a column whose domain is none")
    graph = Graph(TABLE, columns, len(wire.datasets))
    try:
        for numbers in wire.nodes:
            payer.charge(GAS_PLAN_NODE + GAS_PLAN_ARG * len(numbers))
            _read_node(graph, numbers, wire.texts, payer)
        if graph.open:
            raise DecodeError("plan: a loop does not end")
        datasets = [DatasetRead(*pair) for pair in wire.datasets]
        asked = [
            ReleaseAsked(
                one.value,
                one.rows[0] if one.rows else None,
                one.receiver,
                one.name,
                one.mechanism,
                one.epsilon,
                one.delta,
            )
            for one in wire.releases
        ]
        plan = complete(wire.page, initiator, datasets, graph, asked, payer)
    except Unfit as unfit:
        raise DecodeError(f"plan: node {len(graph)}: {unfit.rule}: {unfit.reason}"[:300]) from None
    if plan.data != data:
        raise DecodeError("plan: not the canonical bytes")
    return plan


def _has_domain(read: ColumnRead) -> bool:
    """Tell whether bounds of a column are two numbers in their order, or none."""
    if read.low == read.high == "":
        return True
    try:
        return read_number(read.low) <= read_number(read.high)
    except Unfit:
        return False


def _read_node(graph: Graph, numbers: tuple[int, ...], texts: tuple[str, ...], payer: Payer) -> None:
    count = numbers[1]
    here, back, words = len(graph), numbers[2 : 2 + count], numbers[2 + count :]
    if len(back) != count or any(word >= len(texts) for word in words):
        raise DecodeError("plan: a node with other parts than it says")
    attrs = tuple([texts[word] for word in words])
    payer.charge(GAS_PLAN_CHAR * sum(map(len, attrs)))
    graph.add(numbers[0], tuple([here - one for one in back]), attrs)
