"""A schema declares only what can be; its bytes are canonical, and its seal is a chain over its columns."""

from __future__ import annotations

import ast
import contextlib
import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.errors import ConfigError
from chain.primitives.schema_seal import seal_steps
from chain.primitives.values import encode_value
from privcompute.data import declared, normalisation
from privcompute.data import schema as schema_module
from privcompute.data.schema import (
    Column,
    Schema,
    SchemaInvalid,
    check_schema,
    column_declared,
    declaration,
    declaration_bytes,
    schema_seal,
)
from privcompute.data.schema_files import FileDocument, document_of, load_schema, write_toml
from tests.unit.privcompute.data.tables import ID

CONTRACT = Path(__file__).parents[4] / "contracts" / "system" / "datasets.py"
INCOME = Column(
    "income", "decimal", "sensitive", "EUR", "mean", low="0", high="1e6", edges=("0", "1000.5", "2000"),
    format="1234,5", missing_spellings=("", "NA"),
)  # fmt: skip
STATUS = Column(
    "status", "category", missing="category", coding=(("1", "good"), ("2", "bad")), categories=("bad", "good")
)
SCHEMA = Schema((replace(ID, normalise=("trim", "nfc")), INCOME, STATUS), ("id",))

WORDS_WIDE = tuple(f"{number:03}".ljust(64, "\U0001f600") for number in range(256))
WORDS_LONG = tuple(f"{number:03}".ljust(64, "w") for number in range(256))
GOLDEN_PLAIN = (
    "8baa63617465676f7269657390a6636f64696e6790a5656467657390a468696768c0a36c6f77c0a76d697373696e67a6"
    "726566757365a46e616d65a178a96e6f726d616c69736590ab73656e7369746976697479a8706572736f6e616ca47479"
    "7065a474657874a4756e6974a0"
)
GOLDEN_INCOME = "45c60cb1704d90eb07d6f21bb048b243ce6953c5e7c816abde488b15b0c460b6"
GOLDEN_SEAL = "d7eab8839408ee1e3c44dbf7252425e2745c8fa5d5a77bf5b3991ae4c3c3df5f"


def test_a_declaration_and_a_seal_have_golden_bytes() -> None:
    assert declaration_bytes(Column("x", "text")).hex() == GOLDEN_PLAIN
    assert sha256(declaration_bytes(INCOME)).hexdigest() == GOLDEN_INCOME
    assert schema_seal(check_schema(SCHEMA)).hex() == GOLDEN_SEAL


def test_the_seal_is_a_chain_of_one_step_a_column() -> None:
    seal = sha256(encode_value(["assent/schema", 1, ["id"]])).digest()
    expected = [seal]
    for column in SCHEMA.columns:
        seal = sha256(encode_value([seal, encode_value(declaration(column))])).digest()
        expected.append(seal)
    assert list(seal_steps(SCHEMA.key, map(declaration_bytes, SCHEMA.columns))) == expected
    assert schema_seal(SCHEMA) == expected[-1]


def test_how_a_file_spells_things_is_no_part_of_what_is_declared() -> None:
    spelt = replace(INCOME, format="", missing_spellings=("?",))
    assert declaration_bytes(spelt) == declaration_bytes(INCOME)


@pytest.mark.parametrize("change", [
    {"name": "Income"}, {"type": "integer", "missing": "refuse"}, {"sensitivity": "public"}, {"unit": "USD"},
    {"missing": "refuse"}, {"low": "1"}, {"high": None}, {"edges": ()}, {"normalise": ("trim",)},
    {"coding": (("x", "1"),)},
])  # fmt: skip
def test_everything_that_is_declared_is_under_the_seal(change: dict[str, object]) -> None:
    changed = (SCHEMA.columns[0], replace(INCOME, **change), STATUS)
    assert schema_seal(replace(SCHEMA, columns=changed)) != schema_seal(SCHEMA)
    assert schema_seal(replace(SCHEMA, key=())) != schema_seal(SCHEMA)
    assert schema_seal(replace(SCHEMA, columns=SCHEMA.columns[::-1])) != schema_seal(SCHEMA)


@pytest.mark.parametrize(
    ("column", "parts"),
    [
        (Column("x", "money"), ["type = 'money'", "'decimal'"]),  # type: ignore[arg-type]
        (Column("x", "text", "secret"), ["sensitivity = 'secret'", "'personal'"]),  # type: ignore[arg-type]
        (Column("x", "text", missing="zero"), ["missing = 'zero'", "'drop-row'"]),  # type: ignore[arg-type]
        (Column("x", "integer", missing="mean"), ["missing = 'mean'", "decimals"]),
        (Column("x", "decimal", missing="category"), ["missing = 'category'"]),
        (Column("x", "decimal", format="1.2.3"), ["format = '1.2.3'", "'1.234,5'"]),
        (Column("x", "date", format="1234.5"), ["format", "'31.01.2024'"]),
        (Column("x", "text", unit="kg"), ["unit = 'kg'", "numbers"]),
        (Column("x", "decimal", unit="k\u202eg"), ["unit"]),
        (Column("x", "integer", low="1.5"), ["low = '1.5'", "whole number"]),
        (Column("x", "integer", low="2", high="1"), ["low = '2'", "high = '1'"]),
        (Column("x", "boolean", low="0"), ["low = '0'"]),
        (Column("x", "decimal", high="1" + "0" * 64), ["high = '1000", "finite number"]),
        (Column("x", "decimal", edges=("1", "1.0")), ["edges", "ascending"]),
        (Column("x", "date", edges=("2024-01-01", "2024-01-02")), ["edges", "numbers"]),
        (Column("x", "integer", categories=("1",)), ["categories", "text"]),
        (Column("x", "category", categories=("a", "a")), ["categories", "different"]),
        (Column("x", "category", categories=("(missing)",)), ["categories"]),
        (Column("x", "category", categories=("\ud800",)), ["categories"]),
        (Column("x", "boolean", coding=(("g", "perhaps"),)), ["coding = 'perhaps'", "true, false"]),
        (Column("x", "boolean", coding=(("", "true"),)), ["coding", "missing"]),
        (Column("x", "text", normalise=("upper",)), ["normalise = ['upper']", "'casefold'"]),
        (Column("x", "text", normalise=("trim",) * 9), ["normalise", "at most 8"]),
        (Column("", "text"), ["''", "empty"]),
        (Column("x\0", "text"), [r"'x\x00'", "do not print"]),
        (Column("x" * 65, "text"), ["65 characters"]),
    ],
)  # fmt: skip
def test_what_cannot_be_declared_is_named_with_what_can(column: Column, parts: list[str]) -> None:
    with pytest.raises(SchemaInvalid) as caught:
        check_schema(Schema((column,)))
    for part in ["column", *parts]:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("schema", "part"),
    [
        (Schema(()), "0 columns, the ledger takes 1..1024"),
        (Schema(tuple(Column(f"c{n}", "text") for n in range(1_025))), "1025 columns"),
        (Schema((Column("x", "text"), Column("x", "text"))), "'x' is declared twice"),
        (Schema((ID,)), "key = , but sensitivity 'identifier' is declared for 'id'"),
        (Schema((Column("x", "text"),), ("x",)), "key = 'x'"),
        (Schema((Column("x", "decimal", "identifier"),), ("x",)), "type = 'decimal'"),
        (Schema((Column("x", "text", "identifier", missing="category"),), ("x",)), "missing = 'category'"),
        (Schema((Column("x", "category", categories=WORDS_WIDE),)), "at most 32768: fewer or shorter"),
        (Schema(tuple(Column(f"x{n}", "category", categories=WORDS_LONG) for n in range(64))), "1048576"),
    ],
)
def test_what_no_schema_can_be_is_named(schema: Schema, part: str) -> None:
    with pytest.raises(SchemaInvalid) as caught:
        check_schema(schema)
    assert part in str(caught.value)


def constants() -> dict[str, object]:
    """The contract's constants that are numbers or texts."""
    found: dict[str, object] = {}
    for node in ast.parse(CONTRACT.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            with contextlib.suppress(ValueError):
                found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


def test_local_bounds_and_words_are_those_of_the_ledger() -> None:
    on_ledger = constants()
    local = {**vars(normalisation), **vars(declared), **vars(schema_module)}
    bounds = [name for name in on_ledger if name.endswith("_MAX") and name in local]
    assert set(bounds) == {
        "COLUMNS_MAX", "NAME_CHARS_MAX", "UNIT_CHARS_MAX", "WORD_CHARS_MAX", "CATEGORIES_MAX", "CODES_MAX",
        "EDGES_MAX", "STEPS_MAX", "KEY_COLUMNS_MAX", "COLUMN_BYTES_MAX", "PART_BYTES_MAX", "PART_COLUMNS_MAX",
        "SCHEMA_BYTES_MAX",
    }  # fmt: skip
    assert {name: local[name] for name in bounds} == {name: on_ledger[name] for name in bounds}
    for name in ("TYPES", "SENSITIVITIES", "MISSING_RULES"):
        assert on_ledger[name] == local[name]
    assert set(on_ledger["KEY_TYPES"]) == local["KEY_TYPES"]  # type: ignore[call-overload]
    assert [*on_ledger["STEPS"], "phone:CC"] == [  # type: ignore[misc]
        *[step for step in normalisation.MEANINGS if step != "phone:CC"], "phone:CC",
    ]  # fmt: skip


@pytest.mark.parametrize("column", [*SCHEMA.columns, Column("when", "timestamp", high="2024-01-31 23:59")])
def test_a_declaration_is_read_back_as_the_column_without_its_files_spelling(column: Column) -> None:
    read = column_declared(declaration(column))
    assert read == replace(column, format="", missing_spellings=())
    assert declaration_bytes(read) == declaration_bytes(column)


@pytest.mark.parametrize("over", [
    {"low": "much"}, {"low": "2", "high": "1"}, {"edges": ["2", "1"]}, {"name": "x\u202e"}, {"unit": "k\x00"},
    {"coding": [["1", "much"]]}, {"type": ["text"]}, {"type": 3}, {"coding": "ab"}, {"more": "1"},
    {"edges": [1, 2]},
])  # fmt: skip
def test_a_declaration_that_says_nothing_is_refused_by_whoever_reads_it(over: dict[str, object]) -> None:
    with pytest.raises(SchemaInvalid):
        column_declared(declaration(Column("x", "decimal")) | over)


def test_a_schema_file_is_read_back_from_toml_and_json(tmp_path: Path) -> None:
    document = document_of(SCHEMA, FileDocument(delimiter="semicolon", encoding="gbk"))
    odd = {"income": ["a \u202e\n note"]}
    (tmp_path / "s.toml").write_text(write_toml(document, odd, ["head"], {}), encoding="utf-8")
    (tmp_path / "s.json").write_text(json.dumps(document), encoding="utf-8")
    for name in ("s.toml", "s.json"):
        assert load_schema(tmp_path / name) == (SCHEMA, FileDocument(delimiter="semicolon", encoding="gbk"))


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=5, unique=True))
def test_any_words_survive_a_schema_file(tmp_path_factory: pytest.TempPathFactory, words: list[str]) -> None:
    column = Column("x", "category", missing_spellings=tuple(words))
    path = tmp_path_factory.mktemp("s") / "s.toml"
    path.write_bytes(write_toml(document_of(Schema((column,)), FileDocument()), {}, [], {}).encode())
    assert load_schema(path)[0].columns == (column,)


@pytest.mark.parametrize(
    ("name", "text", "parts"),
    [
        ("s.toml", "columns = 3", ["columns"]),
        ("s.toml", '[[columns]]\nname = "x"\ntype = "number"', ["columns.0.type = 'number'", "'integer'"]),
        ("s.toml", '[[columns]]\nname = "x"\ntype = "text"\ncolour = 1', ["columns.0.colour", "unknown key"]),
        ("s.toml", '[[columns]]\nname = "x"\ntype = "text"\nunit = "kg"', ["column 'x'", "unit = 'kg'"]),
        ("s.toml", "x = [", ["not TOML"]),
        ("s.json", "[]", ["a JSON object"]),
        ("s.json", "{", ["not JSON"]),
        ("s.toml", '[[columns]]\nname="a"\ntype="text"\nsensitivity="identifier"\n[[columns]]\nname="b"\n'
         'type="text"\nsensitivity="identifier"', ["2 columns are identifiers", "key ="]),
    ],
)  # fmt: skip
def test_a_fault_of_a_schema_file_is_named_with_its_place(
    tmp_path: Path, name: str, text: str, parts: list[str]
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises((ConfigError, SchemaInvalid)) as caught:
        load_schema(tmp_path / name)
    for part in [name, *parts]:
        assert part in str(caught.value)
