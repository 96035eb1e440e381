"""Tables of a page: datasets, unions, joins and filters; reading their columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from contracts.pages.builder import Builder
from contracts.pages.domains import domain_of
from contracts.pages.faults import Unfit
from contracts.pages.graph import ColumnRead
from contracts.pages.limits import DATASETS_MAX, NAME_MAX
from contracts.pages.types import COLUMN_KINDS
from contracts.pages.units import UNIT_OF_TYPE
from contracts.pages.values import PageTable, Secret, TablePart, said_kind

BOOLEANS = 2
"""Categories of a boolean column."""
DEFAULT_ID = "id"
"""The id of datasets whose key is not known."""
_SUGGESTED_FROM = 64
"""Columns that a misspelt one is held against."""


@dataclass(frozen=True, slots=True)
class DatasetSchema:
    """What is registered of a dataset: its owner, and the type of each column."""

    owner: str
    columns: Mapping[str, str]
    key: tuple[str, ...] = ()
    """The columns that identify a row, which joins take unless the page names others."""
    categories: Mapping[str, int] = field(default_factory=dict)
    """How many registered categories a column has, that of missing cells with them."""
    bins: Mapping[str, int] = field(default_factory=dict)
    """How many registered bins a column has."""
    bounds: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    """The registered bounds of a column, as the ledger has them."""
    averaged: frozenset[str] = frozenset()
    """Columns whose missing cells are filled with the mean of the others."""


class Tables:
    """Makes tables, and nodes of their columns."""

    def __init__(
        self, build: Builder, datasets: Sequence[str], schemas: Mapping[str, DatasetSchema] | None
    ) -> None:
        """Know the datasets of a page, with what is registered of them if that is known."""
        self.build = build
        self.datasets = tuple(datasets)
        self.schemas = schemas

    def dataset(self, place: int) -> PageTable:
        """Return the table of a parameter of `run`."""
        return PageTable({self.datasets[place]: (place,)}, None, f"n:{place}", None)

    def part(self, table: PageTable, name: str) -> Secret | TablePart:
        """Return what `table.name` is: a dataset of a join, or a column."""
        if table.joined is not None:
            if name not in table.parts:
                raise Unfit("COLUMN", f"this join has no dataset {name[:40]!r}", ", ".join(table.parts))
            return TablePart(table, name)
        return self.column(table, next(iter(table.parts)), name)

    def column(self, table: PageTable, dataset: str, name: str) -> Secret:
        """Return a column of a table."""
        if not 0 < len(name) <= NAME_MAX:
            raise Unfit("COLUMN", f"a column's name of {len(name)} characters", f"1 to {NAME_MAX} characters")
        nodes = [self._read(place, name) for place in table.parts[dataset]]
        node = nodes[0] if len(nodes) == 1 else self.build.node("append", tuple(nodes))
        if table.joined is not None:
            node = self.build.node("align", (node, table.joined))
        return Secret(node, self.build.graph.cells[node], table.rows)

    def _read(self, place: int, name: str) -> int:
        dataset = self.datasets[place]
        if self.schemas is None:
            return self.build.column(ColumnRead(place, name, "any"))
        schema = self.schemas[dataset]
        kind = schema.columns.get(name)
        if kind is None:
            known = list(schema.columns)
            near = get_close_matches(name, known[:_SUGGESTED_FROM], n=3) or known[:6]
            raise Unfit("COLUMN", f"dataset {dataset} has no column {name!r}", ", ".join(near) or "no column")
        categories = 0 if kind != "category" or name in schema.key else schema.categories.get(name, 0)
        read = ColumnRead(
            place,
            name,
            COLUMN_KINDS[kind],
            BOOLEANS if kind == "boolean" else categories,
            schema.bins.get(name, 0),
            *domain_of(kind, *schema.bounds.get(name, (None, None))),
            name in schema.averaged,
        )
        return self.build.column(read, UNIT_OF_TYPE.get(kind, ""))

    def union(self, tables: Sequence[PageTable]) -> PageTable:
        """Return the rows of several datasets, one after another."""
        places = [place for table in tables for place in self._whole(table, "union")]
        if len(tables) < 2 or len(set(places)) != len(places):
            raise Unfit("UNION", "union takes two or more different datasets", "union(north, south)")
        size = "n:" + "+".join(map(str, places))
        return PageTable({self.datasets[places[0]]: tuple(places)}, None, size, None)

    def _whole(self, table: PageTable, what: str) -> tuple[int, ...]:
        if table.joined is not None or table.rows is not None:
            raise Unfit("TABLE", f"{what} takes datasets as they are", f"{what} first, then join or filter")
        return next(iter(table.parts.values()))

    def join(self, tables: Sequence[PageTable], on: object) -> PageTable:
        """Return the rows whose ids all tables have; `on` names the ids, once or for each table."""
        if not 2 <= len(tables) <= DATASETS_MAX or any(table.joined is not None for table in tables):
            raise Unfit(
                "JOIN", "join takes 2 to 8 tables that are not joined yet", "join(loans, history, cards)"
            )
        keys: list[int] = []
        parts: dict[str, tuple[int, ...]] = {}
        names = self._ids(tables, on)
        for table, ids in zip(tables, names, strict=True):
            dataset = next(iter(table.parts))
            bare = PageTable(table.parts, None, table.size, None)
            keys += [self.column(bare, dataset, each).node for each in ids]
            parts[dataset] = table.parts[dataset]
        if len(parts) != len(tables):
            raise Unfit("JOIN", "a dataset is joined with itself", "different datasets")
        joined = self.build.node("join", tuple(keys))
        size = str(self.build.graph.cells[joined].shape[0])
        if any(table.rows is not None for table in tables):
            raise Unfit("JOIN", "a filtered table is joined", "join first, then filter the rows of the join")
        return PageTable(parts, joined, size, joined)

    def _ids(self, tables: Sequence[PageTable], on: object) -> list[list[str]]:
        """Return the columns of each table that identify its rows: those named, else the registered key."""
        if on is None:
            return [list(self._key(table)) for table in tables]
        each = [on] * len(tables) if isinstance(on, str) else on
        if not isinstance(each, (tuple, list)) or len(each) != len(tables):
            instead = 'the name of the id, or one for each table: on=("id", "no")'
            raise Unfit("JOIN", f"on= is {said_kind(on)}", instead)
        found = [[one] if isinstance(one, str) else one for one in each]
        for ids in found:
            if not isinstance(ids, (tuple, list)) or not all(isinstance(one, str) for one in ids):
                raise Unfit("JOIN", f"an id is named by {said_kind(ids)}", "a text, or a list of texts")
        return found

    def _key(self, table: PageTable) -> tuple[str, ...]:
        key = self.schemas[self.datasets[self.place(table)]].key if self.schemas is not None else ()
        return key or (DEFAULT_ID,)

    def place(self, table: PageTable) -> int:
        """Return the place of the dataset that a table is of, or raise Unfit for several."""
        places = [place for part in table.parts.values() for place in part]
        if table.joined is not None:
            raise Unfit("TABLE", "a join is of several datasets", "a parameter of run")
        return places[0]

    def owner(self, place: int) -> str:
        """Return who owns a dataset; its own name stands for that when nothing is known."""
        name = self.datasets[place]
        return name if self.schemas is None else self.schemas[name].owner

    def filter(self, table: PageTable, condition: Secret) -> PageTable:
        """Return the table of the rows that count and for which a condition holds."""
        if condition.shape != (table.size,):
            raise Unfit(
                "SHAPE", "the condition is not one bit a row of this table", "a comparison of its columns"
            )
        if table.rows is None and condition.rows is None:
            self.build.apply("not", [condition])  # refuses what is no bit
            return PageTable(table.parts, table.joined, table.size, condition.node)
        if condition.rows != table.rows:
            raise Unfit(
                "ROWS_DIFFER", "the condition is of another choice of rows", "columns of the same table"
            )
        before = self.membership(table)
        rows = self.build.apply("and", [before, condition]).node
        return PageTable(table.parts, table.joined, table.size, rows)

    def membership(self, table: PageTable) -> Secret:
        """Return 1 for each row that counts, 0 for each other one."""
        if table.rows is None:
            return self.ones(table)
        return Secret(table.rows, self.build.graph.cells[table.rows], table.rows)

    def ones(self, table: PageTable) -> Secret:
        """Return 1 for each row of a table."""
        return self.ones_of(table.size, table.rows)

    def ones_of(self, size: str, rows: int | None) -> Secret:
        """Return 1 for each row, of which some count."""
        node = self.build.node("fill", (), ("1", size))
        return Secret(node, self.build.graph.cells[node], rows)
