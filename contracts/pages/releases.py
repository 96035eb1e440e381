"""What leaves a computation: the kind of each release, what it rests on, which uses of columns it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from contracts.pages.faults import Unfit
from contracts.pages.formulas import Formula, cells_of, whole
from contracts.pages.graph import Graph
from contracts.pages.labels import FIGURES, Atom, Label, Labels, bits_of, merged
from contracts.pages.limits import GAS_USE, NAME_MAX, RELEASE_NAME_MAX, RELEASES_MAX
from contracts.pages.mechanisms import DRAWN, check_noise
from contracts.pages.noised import NoisedSum, drawn_anew, noised_sums
from contracts.pages.paying import Payer
from contracts.pages.types import is_rows

USES = ("join", "encrypted", "compare", "noisy", "aggregate", "plain")
"""What is done with a column: `compare`, its comparisons with another owner's are counted with noise;
`noisy`, it has any part in a figure with noise; `aggregate`, in an exact count or sum.

Constraints of grants cover them as `grants.USES` says.
"""
COVERS: Mapping[str, tuple[str, ...]] = {
    "plain": USES,
    "join-only": ("join",),
    "exact-aggregate": ("aggregate", "noisy", "compare", "encrypted"),
    "aggregate-only": ("noisy", "compare", "encrypted"),
    "compare-only": ("compare", "encrypted"),
    "encrypted-only": ("encrypted",),
}
"""The uses that a constraint of a grant covers."""
STRICTEST = ("join-only", "encrypted-only", "compare-only", "aggregate-only", "exact-aggregate", "plain")
"""Constraints in the order in which the least one for given uses is looked for."""
NOISED = "noised"
"""The mechanism of a release that follows from sums with noise alone."""
SHARES = ""
"""The receiver of what stays shares."""
NEEDS: Mapping[str, Mapping[str, str]] = {
    "rows": {"row": "plain", "noised": "noisy", "match": "join"},
    "shares": {"row": "encrypted", "noised": "encrypted", "match": "join"},
    "exact": {
        "count": "aggregate",
        "tally": "plain",
        "sum": "aggregate",
        "figure": "plain",
        "noised": "noisy",
        "match": "join",
    },
    "noisy": {
        "count": "noisy",
        "tally": "compare",
        "sum": "noisy",
        "figure": "noisy",
        "noised": "noisy",
        "match": "join",
    },
}
"""The use that a release of each form needs of a column, by the way in which it stands in the value; `row` is
any way but `match` and `noised`, where single cells leave or all stays shares.

Who owns either column of a comparison may write limits into it that all rows pass or miss but one, so an
exact number of comparisons is a cell."""


@dataclass(frozen=True, slots=True)
class DatasetRead:
    """A dataset of a plan: the name of the page's parameter, and its owner as far as that is known."""

    name: str
    owner: str


@dataclass(frozen=True, slots=True)
class ReleaseAsked:
    """A release as the page asks for it."""

    value: int
    rows: int | None
    """The bits of the rows that count, for values by row of a table that has some."""
    receiver: str
    name: str
    mechanism: str
    """How noise is drawn, "" for none, NOISED where it is in the value already."""
    epsilon: str
    delta: str


@dataclass(frozen=True, slots=True)
class ColumnUse:
    """A use of a column that a release needs, and why."""

    dataset: str
    column: str
    use: str
    release: int
    way: str
    """How the column stands in what is released."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release and what follows of it."""

    receiver: str
    name: str
    kind: str
    """`rows`, `bits`, `membership`, `count`, `sum`, `figure` or `shares`."""
    mechanism: str
    epsilon: str
    delta: str
    cells: Formula
    """How many cells leave."""
    figures: Formula
    """How many figures the accounts of its columns are charged with."""
    rows: tuple[str, ...]
    """Names of the numbers of rows that it stands on."""
    keys: tuple[int, ...]
    """Columns that chose its groups."""
    columns: tuple[int, ...]
    """Columns whose values are in it, other than by sums with noise."""
    noised: tuple[int, ...]
    """Columns whose values are in it by sums that got noise inside the computation."""
    identifiers: tuple[int, ...]
    """Columns whose joined rows it rests on."""
    membership: bool
    """Whether it tells its receiver which rows are joined: by row, or by what the receiver itself chose."""
    noise_on: tuple[Atom, ...]
    """The sums and counts that noise is added to, in the order of the plan; the rest follows from them."""


@dataclass(frozen=True, slots=True)
class Derived:
    """The releases of a plan, the uses that they need, each once, and the sums that get noise within it."""

    releases: tuple[Release, ...]
    uses: tuple[ColumnUse, ...]
    noised: tuple[NoisedSum, ...] = ()


def derive(
    graph: Graph,
    labels: Labels,
    datasets: Sequence[DatasetRead],
    asked: Sequence[ReleaseAsked],
    payer: Payer,
    initiator: str = "",
) -> Derived:
    """Return what follows of each release; raise Unfit for one that no grant could allow.

    `initiator` is who asks for the computation, "" for nobody in particular.
    """
    if len(asked) > RELEASES_MAX:
        raise Unfit(
            "RELEASES", f"{len(asked)} releases, at most {RELEASES_MAX}", "stack([…]) releases several"
        )
    releases, uses = [], []
    inside = any(graph.name(node) == "noised" for node in range(len(graph)))
    for place, one in enumerate(asked):
        payer.charge(GAS_USE)
        _at_release(place, _check_asked, graph, one)
        held = [labels.of[one.value]] + ([] if one.rows is None else [labels.of[one.rows]])
        label = merged(held)
        by_row = graph.cells[one.value].by_row
        payer.charge(GAS_USE * _size(label))
        atoms = [labels.atoms[atom] for atom in bits_of(label.atoms)]
        if one.mechanism and label.noised:  # how many rows are joined is known to all, and stays as it is
            atoms = [atom for atom in atoms if atom.label.values]
        _at_release(place, _check_filled, graph, datasets, one, atoms)
        _at_release(place, _check_noise, graph, one, label, atoms)
        if inside and one.mechanism in DRAWN:
            _at_release(place, _check_drawn_once, graph, one, atoms, payer)
        own, raised = _chosen_by_one_of({one.receiver, initiator}, graph, datasets, one, by_row, label)
        told = label.match != 0 and (own or by_row) and one.receiver != SHARES
        releases.append(_release(graph, one, label, atoms, told))
        uses += [
            ColumnUse(
                datasets[graph.columns[column].dataset].name, graph.columns[column].column, use, place, way
            )
            for column, way, use in _needs(one, by_row, label, raised)
        ]
    return Derived(tuple(releases), tuple(uses), noised_sums(graph, labels))


def _size(label: Label) -> int:
    """Return how many uses, and sums and counts, a release with this label has: deriving it reads each."""
    ways: Sequence[int] = [getattr(label, way) for way in (*FIGURES, "noised")]
    uses = max(sum(way.bit_count() for way in ways), label.values.bit_count())
    return uses + label.match.bit_count() + label.atoms.bit_count()


def _at_release(place: int, check: Callable[..., None], *what: object) -> None:
    try:
        check(*what)
    except Unfit as unfit:
        unfit.release = place
        raise


def _check_asked(graph: Graph, asked: ReleaseAsked) -> None:
    """Refuse a release that is not well formed, whoever made it."""
    for node in (asked.value, *([] if asked.rows is None else [asked.rows])):
        if not 0 <= node < len(graph) or graph.homes[node] != -1 or graph.cells[node].kind == "loop":
            raise Unfit(
                "RELEASE", "what is released is no value, or one of a loop's body", "release after the loop"
            )
    cells = graph.cells[asked.value]
    if asked.rows is not None and graph.cells[asked.rows].shape != cells.shape[:1]:
        raise Unfit("RELEASE", "the rows that count are of another table", "values of one table")
    rowful = sum(is_rows(size) for size in cells.shape)
    if rowful > 1 or (rowful == 1 and not is_rows(cells.shape[0])):
        raise Unfit(
            "RELEASE", "a release for pairs of rows, or with rows along a later axis", "rows along the first"
        )
    if len(asked.receiver) > NAME_MAX or not 0 < len(asked.name) <= RELEASE_NAME_MAX:
        raise Unfit("RELEASE", "a name that is empty or long", f"names of 1 to {RELEASE_NAME_MAX} characters")
    if asked.receiver == SHARES and asked.mechanism:
        raise Unfit("NOISE", "noise on what stays shares", "noise where it is released, or noised(…)")
    if asked.mechanism in ("", NOISED):
        if asked.epsilon or asked.delta:
            raise Unfit(
                "NOISE", "epsilon or delta of a release that draws no noise", "noise=laplace(epsilon=0.5)"
            )
        return
    check_noise(asked.mechanism, asked.epsilon, asked.delta)


def _check_filled(
    graph: Graph, datasets: Sequence[DatasetRead], asked: ReleaseAsked, atoms: Sequence[Atom]
) -> None:
    """Refuse noise on sums of a column whose missing cells are means of the others, by that cause."""
    if asked.mechanism not in DRAWN:
        return
    reads = [
        graph.columns[column] for atom in atoms if not atom.bounded for column in bits_of(atom.label.values)
    ]
    filled = next((read for read in reads if read.averaged), None)
    if filled is not None:
        name = f"{datasets[filled.dataset].name}.{filled.column}"
        raise Unfit(
            "NOISE_UNBOUNDED",
            f"the owner of {name} fills its missing cells with the mean of the others, so that one row's"
            " value is in other rows' cells, and no noise covers that",
            'a version whose schema declares missing = "drop-row" or "refuse" for it, or exact=True',
        )


def _check_noise(graph: Graph, asked: ReleaseAsked, label: Label, atoms: Sequence[Atom]) -> None:
    by_row = graph.cells[asked.value].by_row
    if not asked.mechanism:
        if label.noised and not label.values and not by_row and asked.receiver != SHARES:
            raise Unfit("NOISE", "the noise of this is in it already, so it is not exact", "noised=True")
        return
    if by_row:
        raise Unfit("NOISE_ON_ROWS", "noise on cells of single rows hides nobody", "a sum, a count or a mean")
    if asked.mechanism == NOISED:
        _check_noised(label)
        return
    if not atoms and not label.in_figures:
        raise Unfit("NOISE_WITHOUT_ROWS", "noise on what follows of no rows hides nobody", "exact=True")
    if any(not atom.bounded or graph.homes[atom.node] != -1 for atom in atoms) or not atoms:
        raise Unfit(
            "NOISE_UNBOUNDED",
            "nothing bounds what one row changes here, so no noise is enough",
            "sums and means of clip(x, low, high), of columns or of bits; not greatest or sort_by; in a loop"
            " noised(sum(x), noise)",
        )


def _check_drawn_once(graph: Graph, asked: ReleaseAsked, atoms: Sequence[Atom], payer: Payer) -> None:
    """Refuse a release for which noise inside the computation would be drawn once more than is paid for."""
    if drawn_anew(graph, asked.value, [atom.node for atom in atoms], payer):
        raise Unfit(
            "NOISE",
            "what has noise already, or its loop, follows from a sum that this release adds noise to",
            "noised(sum(x), noise) for that sum, too, and noised=True; or a loop without it",
        )


def _check_noised(label: Label) -> None:
    """Refuse to tell as noised what follows from no noise, or from sums that have none as well."""
    if not label.noised:
        raise Unfit("NOISE", "no noise is in this", "noise=laplace(epsilon=0.5), or exact=True")
    if label.values:
        raise Unfit(
            "NOISE",
            "this follows from sums without noise, too",
            "noise=laplace(epsilon=0.5), which covers them",
        )


def _form(asked: ReleaseAsked, by_row: bool) -> str:
    if asked.receiver == SHARES:
        return "shares"
    return "rows" if by_row else "noisy" if asked.mechanism else "exact"


def _needs(asked: ReleaseAsked, by_row: bool, label: Label, raised: int) -> list[tuple[int, str, str]]:
    """Return (column, way, use) for each way of each column."""
    needs = NEEDS[_form(asked, by_row)]
    ways = {way: getattr(label, way) for way in FIGURES}
    if by_row or asked.receiver == SHARES:
        ways = {"row": label.values}
    found = []
    for way, columns in (*ways.items(), ("noised", label.noised), ("match", label.match)):
        for column in bits_of(columns):
            use = "plain" if way in FIGURES and raised >> column & 1 else needs[way]
            found.append((column, way, use))
    return sorted(found)


def _chosen_by_one_of(
    choosers: set[str],
    graph: Graph,
    datasets: Sequence[DatasetRead],
    asked: ReleaseAsked,
    by_row: bool,
    label: Label,
) -> tuple[bool, int]:
    """Return whether an exact figure rests on columns of some, and which of others then need `plain`.

    Groups, weights or limits that its receiver or the initiator chose tell of single rows of the others.
    """
    if by_row or asked.mechanism or asked.receiver == SHARES:
        return False, 0
    own = others = 0
    for column in bits_of(label.in_figures):
        if datasets[graph.columns[column].dataset].owner in choosers:
            own |= 1 << column
        else:
            others |= 1 << column
    return own != 0, others if own else 0


def _kind(asked: ReleaseAsked, bit: bool, by_row: bool, label: Label) -> str:
    if asked.receiver == SHARES:
        return "shares"
    if by_row:
        return "rows" if label.values and not bit else "bits" if label.values else "membership"
    return "figure" if label.figure or label.noised else "sum" if label.sum else "count"


def _release(graph: Graph, asked: ReleaseAsked, label: Label, atoms: Sequence[Atom], told: bool) -> Release:
    cells = graph.cells[asked.value]
    figures = whole(0)
    for atom in atoms:
        figures += cells_of(graph.cells[atom.node].shape).times(graph.turns(atom.node))
    rows = {str(size) for size in cells.shape if is_rows(size)} | {atom.rows for atom in atoms}
    keys = merged([atom.label for atom in atoms]).count
    return Release(
        asked.receiver,
        asked.name,
        _kind(asked, cells.kind == "bit", cells.by_row, label),
        asked.mechanism,
        asked.epsilon,
        asked.delta,
        cells_of(cells.shape),
        whole(0) if cells.by_row or asked.receiver == SHARES else figures,
        tuple(sorted(rows)),
        tuple(bits_of(keys)),
        tuple(bits_of(label.values)),
        tuple(bits_of(label.noised)),
        tuple(bits_of(label.match)),
        told,
        tuple(atoms) if asked.mechanism in DRAWN else (),
    )


def least_constraint(uses: Sequence[str]) -> str:
    """Return the strictest constraint that covers all these uses."""
    return next(name for name in STRICTEST if set(uses) <= set(COVERS[name]))


@dataclass(frozen=True, slots=True)
class ColumnRefusal:
    """A use that a grant's constraint on a column does not cover."""

    dataset: str
    column: str
    constraint: str
    """As granted; "" for none."""
    use: str
    release: str
    reason: str


_WHY: Mapping[str, str] = {
    "row": "it leaves as values of single rows",
    "match": "it decides which rows are joined",
    "count": "it chooses the rows that are counted or summed",
    "tally": "its comparisons with another owner's column are counted",
    "sum": "it is summed without weights",
    "figure": "it is in a figure that is no plain count or sum",
    "noised": "it is in a sum with noise",
}


def against(
    uses: Sequence[ColumnUse], releases: Sequence[Release], grants: Mapping[tuple[str, str], str]
) -> tuple[ColumnRefusal, ...]:
    """Return the uses that constraints of grants, by (dataset, column), do not cover; none when all do."""
    found = []
    for use in uses:
        constraint = grants.get((use.dataset, use.column), "")
        if use.use not in COVERS.get(constraint, ()):
            reason = _WHY[use.way]
            if use.use == "plain" and use.way in ("count", "sum"):
                reason += ", together with a column that its receiver or the initiator owns"
            name = releases[use.release].name
            found.append(ColumnRefusal(use.dataset, use.column, constraint, use.use, name, reason))
    return tuple(found)
