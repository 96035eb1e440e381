"""Declared schemas: written in parts under the hash that seals them, or cleared away."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from chain.primitives.values import encode_value
from tests.rules.base import digest, distinct
from tests.rules.model_eyes import Eyes

PART_COLUMNS_MAX, COLUMNS_MAX, KEY_MAX = 64, 1_024, 8
COLUMN_BYTES_MAX, PART_BYTES_MAX, SCHEMA_BYTES_MAX = 32_768, 65_536, 1_048_576
DRAFTS_MAX, SCHEMAS_MAX = 8, 4_096
PARTS_A_DAY_MAX = 256
DRAFT_MS = 7 * 86_400_000
NUMBERS, WORDS = {"integer", "decimal"}, {"text", "category"}
TYPES = NUMBERS | WORDS | {"boolean", "date", "timestamp"}
SENSITIVITIES = {"public", "internal", "personal", "sensitive", "identifier"}
STEP = re.compile(
    "trim|spaces|nfc|nfkc|casefold|digits|alphanumeric|leading-zeros|phone:[1-9][0-9]{0,2}|date:(ymd|dmy|mdy)"
)
Columns = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Declared:
    """A schema, as far as it was declared."""

    owner: str
    seal: bytes
    key: tuple[str, ...]
    parts: tuple[tuple[dict[str, Any], ...], ...]
    begun_at: int
    height: int
    left: int | None = None
    """Parts that are left of one that is being withdrawn."""

    @property
    def columns(self) -> list[dict[str, Any]]:
        """Everything that was declared, in order."""
        return [column for part in self.parts for column in part]

    @property
    def chain(self) -> bytes:
        """What the seal would be if nothing followed."""
        found = digest(["assent/schema", 1, list(self.key)])
        for column in self.columns:
            found = digest([found, encode_value(column)])
        return found

    @property
    def status(self) -> str:
        """Whether it is a draft, sealed, or being withdrawn."""
        if self.left is not None:
            return "withdrawn"
        return "sealed" if self.chain == self.seal else "draft"

    @property
    def until(self) -> int:
        """When anyone may begin to clear it away."""
        return self.begun_at + DRAFT_MS

    @property
    def identifier(self) -> list[list[str]]:
        """For each column of the key: its type, where both kinds of text are one, and its steps."""
        known = {column["name"]: column for column in self.columns}
        return [
            [known[name]["type"].replace("category", "text"), *known[name]["normalise"]]
            if name in known
            else []
            for name in self.key
        ]


class Schemas(Eyes):
    """The rules of contract `datasets` about schemas."""

    def __init__(self, chain_id: bytes) -> None:
        """Start without schemas."""
        super().__init__(chain_id)
        self.schemas: dict[tuple[str, bytes], Declared] = {}

    # --- rules

    def datasets_declare(self, schema: bytes, key: list[str], columns: Columns) -> str:
        """Begin a schema."""
        org = self.role("steward")
        self.must(self.has(org, "owner"), "ORG_ROLE_MISSING")
        self.hash(schema)
        self.must((org, schema) not in self.schemas, "SCHEMA_EXISTS")
        named = all(1 <= len(name) <= 64 for name in key)
        self.must(len(key) <= KEY_MAX and distinct(key) and named, "BAD_KEY")
        own = [one.status for one in self.schemas.values() if one.owner == org]
        self.must(len(own) - own.count("sealed") < DRAFTS_MAX, "TOO_MANY_DRAFTS")
        self.must(len(own) < SCHEMAS_MAX, "TOO_MANY_SCHEMAS")
        return self._add_part(Declared(org, schema, tuple(key), (), self.time, self.height), columns)

    def datasets_extend(self, schema: bytes, part: int, columns: Columns) -> str:
        """Go on with a schema."""
        known = self.known_schema(self.role("steward"), schema)
        self.must(known.status == "draft", "WRONG_STATE")
        self.must(self.time < known.until, "DEADLINE_PASSED")
        self.must(part == len(known.parts), "PART_NOT_NEXT")
        return self._add_part(known, columns)

    def datasets_withdraw(self, owner: str, schema: bytes) -> int:
        """Clear the last part of a schema away."""
        known = self.known_schema(owner, schema)
        self.must(known.status != "sealed", "WRONG_STATE")
        mine = self.signer.org == owner and self.signer.roles & {"admin", "steward"}
        self.must(bool(mine) or self.time >= known.until, "TOO_EARLY")
        self.go()
        left = (len(known.parts) if known.left is None else known.left) - 1
        if left:
            self.schemas[owner, schema] = replace(known, left=left)
        else:
            del self.schemas[owner, schema]
        self.tell("datasets.SchemaWithdrawn", ["owner"], owner=f"org:{owner}", schema=schema, parts=left)
        return left

    def datasets_schema_of(self, owner: str, schema: bytes) -> dict[str, Any]:
        """Answer with how far a schema is."""
        return schema_row(self.known_schema(owner, schema))

    # --- parts

    def known_schema(self, owner: str, schema: bytes) -> Declared:
        """Return a schema, or refuse."""
        self.need((owner, schema) in self.schemas, "UNKNOWN_SCHEMA")
        return self.schemas[owner, schema]

    def _add_part(self, known: Declared, columns: Columns) -> str:
        self.must(1 <= len(columns) <= PART_COLUMNS_MAX, "BAD_PART")
        self.room_today("datasets", "parts", PARTS_A_DAY_MAX, "TOO_MANY_PARTS_TODAY")
        grown = replace(known, parts=(*known.parts, tuple(columns)))
        self.must(len(grown.columns) <= COLUMNS_MAX, "TOO_MANY_COLUMNS")
        self.must(distinct([column["name"] for column in grown.columns]), "COLUMN_EXISTS")
        sizes = [len(encode_value(column)) for column in columns]
        fine = max(sizes, default=0) <= COLUMN_BYTES_MAX and sum(sizes) <= PART_BYTES_MAX
        self.must(fine and _bytes(grown) <= SCHEMA_BYTES_MAX, "SCHEMA_TOO_LONG")
        self.must(all(map(_can_be, columns)), "BAD_COLUMN")
        for column in columns:
            self.must((column["sensitivity"] == "identifier") == (column["name"] in known.key), "BAD_KEY")
            if column["sensitivity"] == "identifier":
                fits = column["type"] in {"text", "integer", "date", "category"}
                self.must(fits and column["missing"] in {"refuse", "drop-row"}, "BAD_KEY")
        self.must(grown.status != "sealed" or [] not in grown.identifier, "BAD_KEY")
        self.go()
        self.schemas[known.owner, known.seal] = grown
        names = [column["name"] for column in columns]
        said = {"schema": known.seal, "part": len(known.parts), "columns": names}
        self.tell("datasets.SchemaDeclared", [], **said)
        if grown.status == "sealed":
            self.tell(
                "datasets.SchemaSealed", [], schema=known.seal, key=list(grown.key),
                columns=len(grown.columns), identifier=grown.identifier,
            )  # fmt: skip
        return grown.status

    def rows_schemas(self) -> dict[tuple[str, str, Any], Any]:
        """Return {(contract, map, key): value}."""
        rows: dict[tuple[str, str, Any], Any] = {}
        counts: dict[str, dict[str, int]] = {}
        for (owner, seal), known in self.schemas.items():
            count = counts.setdefault(owner, {"drafts": 0, "sealed": 0})
            count["sealed" if known.status == "sealed" else "drafts"] += 1
            rows["datasets", "schemas", (owner, seal)] = schema_row(known)
            for number, part in enumerate(known.parts[: known.left]):
                rows["datasets", "parts", (owner, seal, number)] = [column["name"] for column in part]
                for column in part:
                    rows["datasets", "columns", (owner, seal, column["name"])] = column
        return rows | {("datasets", "schema_counts", org): count for org, count in counts.items()}


def _bytes(known: Declared) -> int:
    return sum(len(encode_value(column)) for column in known.columns)


def schema_row(known: Declared) -> dict[str, Any]:
    """Return a schema's record."""
    return {
        "owner": known.owner,
        "schema": known.seal,
        "status": known.status,
        "key": list(known.key),
        "identifier": known.identifier,
        "parts": len(known.parts) if known.left is None else known.left,
        "columns": len(known.columns),
        "bytes": _bytes(known),
        "chain": known.chain,
        "begun_at": known.begun_at,
        "until": known.until,
        "height": known.height,
    }


def _can_be(column: dict[str, Any]) -> bool:
    kind, name = column["type"], column["name"]
    bounds = [bound for bound in (column["low"], column["high"]) if bound is not None]
    codes = [pair[0] for pair in column["coding"]]
    values = [pair[1] for pair in column["coding"]]
    rules = {
        "refuse": TYPES, "drop-row": TYPES, "mean": {"decimal"}, "category": WORDS,
    }  # fmt: skip
    return (
        1 <= len(name) <= 64
        and name == name.strip()
        and kind in rules.get(column["missing"], set())
        and column["sensitivity"] in SENSITIVITIES
        and (kind in NUMBERS or not (column["unit"] or column["edges"]))
        and (kind in WORDS or not column["categories"])
        and (kind not in WORDS | {"boolean"} or not bounds)
        and len(column["unit"]) <= 32
        and not {"", "(missing)"} & set(column["categories"])
        and distinct(codes) and distinct(column["categories"]) and distinct(column["edges"])
        and max(len(codes), len(column["categories"])) <= 256
        and len(column["edges"]) in {0, *range(2, 66)}
        and all(len(w) <= 64 for w in (*codes, *values, *column["categories"], *column["edges"], *bounds))
        and len(column["normalise"]) <= 8
        and all(STEP.fullmatch(step) for step in column["normalise"])
    )  # fmt: skip
