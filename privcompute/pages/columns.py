"""What every participant knows of the inputs of a job: datasets, and columns as the ledger shows them."""

from __future__ import annotations

from dataclasses import dataclass

from chain.primitives.errors import AssentError


class InputRefused(AssentError):
    """Inputs that a page cannot work on: the text names the dataset, the column and the remedy."""

    code = "program_inputs"


@dataclass(frozen=True, slots=True)
class InputColumn:
    """One column that a job uses, as the ledger shows it to every participant."""

    name: str
    type: str
    """Type that the schema declares."""
    use: str
    """The use that follows of the page and the grant covers."""
    missing: str = "refuse"
    """What the schema declares of missing cells; the table is filled as it says (data/tables.py)."""
    coding: tuple[tuple[str, str], ...] = ()
    low: str | None = None
    high: str | None = None
    categories: tuple[str, ...] = ()
    edges: tuple[str, ...] = ()
    """Domain, coding and public edges of bins as the sealed schema declares them; empty where it does not."""


@dataclass(frozen=True, slots=True)
class JobInput:
    """One dataset of a job and the columns it uses."""

    dataset: str
    owner: int
    """Party number of the organisation that owns it."""
    columns: tuple[InputColumn, ...]

    def column(self, name: str) -> InputColumn | None:
        """Return the column of that name, None when the job does not use it."""
        return next((column for column in self.columns if column.name == name), None)
