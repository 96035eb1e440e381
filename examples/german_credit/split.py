"""Split German credit by columns among three organisations, as the demo's data owners hold it.

    python examples/german_credit/split.py FOLDER [--seed N]

writes bank.csv, bureau.csv and registry.csv, each with an `id` column, its own order of rows and only part
of the 1,000 people, so that the three overlap in about 830; and a schema file beside each, with the types
and sensitivities to register (docs/data-owner.md). The same seed writes the same bytes everywhere.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("german_credit.csv")
SEED = 7
LABEL = "creditability"
POSITIVE = "bad"
DOMAINS = {
    "duration_in_month": ("0", "120"),
    "credit_amount": ("0", "50000"),
    "installment_rate_in_percentage_of_disposable_income": ("1", "4"),
    "present_residence_since": ("1", "4"),
    "age_in_years": ("18", "120"),
    "number_of_existing_credits_at_this_bank": ("1", "4"),
    "number_of_people_being_liable_to_provide_maintenance_for": ("1", "2"),
}
"""Of numbers: what each may be at all, as its owner registers it before it has seen a row."""
EDGES = {"age_in_years": ["18", "25", "35", "45", "55", "80"]}
SENSITIVE = frozenset({"personal_status_and_sex", "foreign_worker"})


@dataclass(frozen=True, slots=True)
class Part:
    """What one organisation holds."""

    org: str
    dataset: str
    rows: int
    columns: tuple[str, ...]


PARTS = (
    Part(
        "bank",
        "bank/loans",
        950,
        (
            "status_of_existing_checking_account",
            "duration_in_month",
            "purpose",
            "credit_amount",
            "installment_rate_in_percentage_of_disposable_income",
            "number_of_existing_credits_at_this_bank",
            LABEL,
        ),
    ),
    Part(
        "bureau",
        "bureau/history",
        940,
        (
            "credit_history",
            "savings_account_and_bonds",
            "other_debtors_or_guarantors",
            "other_installment_plans",
            "property",
            "housing",
        ),
    ),
    Part(
        "registry",
        "registry/residents",
        930,
        (
            "present_employment_since",
            "personal_status_and_sex",
            "present_residence_since",
            "age_in_years",
            "job",
            "number_of_people_being_liable_to_provide_maintenance_for",
            "telephone",
            "foreign_worker",
        ),
    ),
)


def split(folder: Path, *, seed: int = SEED, source: Path = SOURCE) -> dict[str, Path]:
    """Write the three parts and their schemas into `folder`; return organisation -> CSV file."""
    with source.open(newline="", encoding="utf-8") as file:
        people = list(csv.DictReader(file))
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for part in PARTS:
        held = _ordered(range(len(people)), f"{seed}/{part.org}/held")[: part.rows]
        written[part.org] = folder / f"{part.org}.csv"
        with written[part.org].open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["id", *part.columns])
            writer.writerows(
                [identifier(seed, person), *(people[person][column] for column in part.columns)]
                for person in held
            )
        schema = json.dumps({"columns": schema_of(part, people)}, indent=1)
        written[part.org].with_suffix(".schema.json").write_text(schema + "\n", encoding="utf-8")
    return written


def identifier(seed: int, person: int) -> str:
    """Return a person's synthetic identifier, the same at every organisation."""
    return "P" + hashlib.sha256(f"assent/german-credit/{seed}/{person}".encode()).hexdigest()[:12]


def schema_of(part: Part, people: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Return what a part declares of each column: type, sensitivity, its domain, its categories, its bins.

    Categories are those of the whole set, as its code list has them, whoever of these people a part holds.
    """
    columns: list[dict[str, Any]] = [{"name": "id", "type": "text", "sensitivity": "identifier"}]
    for name in part.columns:
        sensitivity = "sensitive" if name in SENSITIVE else "personal"
        said: dict[str, Any] = {"name": name, "type": "integer", "sensitivity": sensitivity}
        if name in DOMAINS:
            said |= dict(zip(("low", "high"), DOMAINS[name], strict=True))
        else:
            said |= {"type": "category", "categories": sorted({row[name] for row in people})}
        if name in EDGES:
            said["edges"] = EDGES[name]
        columns.append(said)
    return columns


def _ordered(items: Iterable[int], key: str) -> list[int]:
    """Return items in an order that the key decides (no generator whose stream a version could change)."""
    return sorted(items, key=lambda item: hashlib.sha256(f"{key}/{item}".encode()).digest())


def main() -> None:
    """Read the command line and split."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the CSV files go")
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    for org, path in split(arguments.folder, seed=arguments.seed).items():
        print(f"{org}: {path}")


if __name__ == "__main__":
    main()
