"""Base of programs: parameters, checks, a generator over the engine port, and a result.

The agent (1) calls `program.check` when a job is proposed or accepted, (2) aligns its own rows by PSI,
(3) drives `program.run` with an engine and a `Context`, (4) opens the outputs at the receivers once the
ledger says so (`mpc/opening.py`), and (5) calls `program.finish` at each receiver for the value that is
hashed and kept. Steps 3 and 4 are separate, so that a revoked grant really stops the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pydantic
from numpy.typing import NDArray

from chain.primitives.errors import AssentError, ConfigError, DecodeError
from chain.primitives.settings import Section, validate
from chain.primitives.values import Value, decode_value, encode_value
from privcompute.errors import PeerMisbehaved, TooFewRows
from privcompute.mpc.engine import Engine
from privcompute.mpc.ring import FRACTION_BITS
from privcompute.mpc.rounds import OnProgress, Round, Steps
from privcompute.mpc.sharing import Shared

ANNOUNCEMENT_BYTES_MAX = 65_536
COLUMNS_MAX = 256
NUMERIC_TYPES = frozenset({"integer", "decimal"})
COUNTED_TYPES = NUMERIC_TYPES | {"boolean"}
"""Types whose figures can be computed: a boolean counts as 0 or 1, though as a feature it is a category."""
USES = ("plain", "join", "aggregate", "compare", "encrypted")
_COVERED = {"plain": frozenset(USES), "aggregate": frozenset({"aggregate", "encrypted"})}


class ParameterInvalid(AssentError):
    """A program parameter out of its range: the text names program, parameter, value and range."""

    code = "program_parameters"


class InputRefused(AssentError):
    """Inputs that a program cannot work on: the text names the dataset, the column and the remedy."""

    code = "program_inputs"


@dataclass(frozen=True, slots=True)
class InputColumn:
    """One column that a job uses, as the ledger shows it to every participant."""

    name: str
    type: str
    """Type that the schema declares; `integer` and `decimal` are numbers, all others categories."""
    use: str
    """The use that the job declares and the grant covers: one of `USES`."""
    missing: str = "refuse"
    """What the schema declares of missing cells; the table is filled as it says (data/tables.py)."""
    coding: tuple[tuple[str, str], ...] = ()
    low: str | None = None
    high: str | None = None
    categories: tuple[str, ...] = ()
    edges: tuple[str, ...] = ()
    """Domain, coding and public edges of bins as the sealed schema declares them; empty where it does not."""

    @property
    def numeric(self) -> bool:
        """Tell whether the column holds numbers."""
        return self.type in NUMERIC_TYPES


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


@dataclass(frozen=True, slots=True)
class OwnData:
    """An owner's own table and its rows that take part, in the canonical order of the join."""

    columns: Mapping[str, NDArray[Any]] = field(repr=False)
    """Whole columns: int64, float64, bool, datetime64, or str objects (privcompute/data/tables.py)."""
    rows: NDArray[np.int64] = field(repr=False)
    """Row k of the computation is row rows[k] of the table."""

    def aligned(self, name: str) -> NDArray[Any]:
        """Return a column in the canonical order: one cell per row of the computation."""
        return np.asarray(self.columns[name])[self.rows]


@dataclass(frozen=True, slots=True)
class Finding:
    """What in an owner's own data would end a job later: all may know the code, the owner alone the text."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class OwnTable:
    """An owner's own table as it is judged before the owner binds: nothing of the others is known."""

    inputs: tuple[JobInput, ...]
    parameters: Any
    """What `program.check` returned."""
    min_group: int
    item: JobInput
    """The input that is judged."""
    columns: Mapping[str, NDArray[Any]] = field(repr=False)
    """As in `OwnData`; columns that the job does not use may be missing."""
    rows: int
    joined: NDArray[np.int64] | None = field(default=None, repr=False)
    """The rows that an earlier job over the same versions joined; None where none has."""
    least_rows: int = 0
    """Fewest joined rows that this owner itself asks for."""


def no_progress(stage: str, done: int, total: int) -> None:
    """Report to nobody."""
    del stage, done, total


@dataclass(frozen=True, slots=True)
class Context:
    """Context of one party's run; all but `own` and `progress` is the same at every party."""

    job: bytes
    """32 bytes: seed of public choices such as the train/test split."""
    inputs: tuple[JobInput, ...]
    parameters: Any
    """What `program.check` returned."""
    rows: int
    """Number of joined rows."""
    min_group: int = 1
    """Smallest number of rows that a revealed figure may rest on (the strictest grant's)."""
    own: Mapping[str, OwnData] = field(default_factory=dict)
    """This party's data by dataset."""
    progress: OnProgress = no_progress


@dataclass(frozen=True, slots=True)
class Outputs:
    """Outputs of a run at one party: shares to open at the reveal, and values that all parties know."""

    shared: Mapping[str, Shared]
    public: Value
    """A contract value (labels, row counts) that `finish` needs; the same at every party."""


Checker = Callable[[Any, Sequence[JobInput]], None]
Runner = Callable[[Engine, Context], Steps[Outputs]]
Finisher = Callable[[Mapping[str, NDArray[Any]], Value], Value]
Judge = Callable[[OwnTable], list[Finding]]
LeastRows = Callable[[Any, int], int]


class Parameters(Section):
    """Base of parameter schemas: unknown names are errors, nothing is converted silently."""


@dataclass(frozen=True, slots=True)
class JobProgram:
    """A program that jobs may name; the ledger holds its id, code hash, leakage, uses and profiles."""

    id: str
    kind: str
    version: int
    summary: str
    leakage: str
    """What receivers and participants learn beyond the result: shown before anybody approves."""
    uses: tuple[str, ...]
    """Uses that a job may declare for columns of this program's inputs."""
    profiles: tuple[str, ...]
    parameters: type[Parameters]
    output: str
    """Name of the result's schema, committed with its hash."""
    output_fields: Mapping[str, str]
    """Field of the result -> what it holds."""
    sources: tuple[str, ...]
    """Files below privcompute/ that are the program, for its code hash."""
    checker: Checker
    least_rows: LeastRows
    """(parameters, minimum group) -> fewest joined rows it runs on; InputRefused for a group too large."""
    judge: Judge
    """Says of an owner's own table what would end a run, and nothing that depends on others' data."""
    run: Runner
    finish: Finisher
    """(opened outputs, public part) -> result: strings, integers, lists and dicts only."""

    def check(self, parameters: Mapping[str, Value], inputs: Sequence[JobInput]) -> Any:
        """Return validated parameters; raise ParameterInvalid or InputRefused, each naming the remedy."""
        try:
            parsed = validate(f"{self.id} parameters", dict(parameters), self.parameters)
        except ConfigError as error:
            raise ParameterInvalid(str(error)) from None
        _check_inputs(self, inputs)
        self.checker(parsed, inputs)
        return parsed

    def code_hash(self) -> bytes:
        """Return the SHA-256 over the names and hashes of `files`."""
        listing = [[name, sha256(path.read_bytes()).digest()] for name, path in sorted(self.files().items())]
        return sha256(encode_value(["assent/program", listing])).digest()

    def files(self) -> dict[str, Path]:
        """Return what the code hash covers, by path below privcompute/: its sources, and all of `mpc`."""
        package = Path(__file__).parent.parent
        shared = [*package.glob("mpc/**/*.py"), package / "programs/base.py"]
        files = {path.relative_to(package).as_posix(): path for path in shared}
        return files | {name: package / name for name in self.sources}

    def record(self) -> dict[str, Value]:
        """Return the program as the ledger's contract `jobs` registers it."""
        return {
            "id": self.id,
            "kind": self.kind,
            "code_hash": self.code_hash(),
            "leakage": self.leakage,
            "uses": list(self.uses),
            "profiles": list(self.profiles),
            "status": "active",
        }


# --- parameters -----------------------------------------------------------------------------------


def decimal_within(low: str, high: str) -> pydantic.BeforeValidator:
    """Annotate a Decimal given as text or integer (values on the ledger hold no floats), inclusive range."""

    def read(value: object) -> Decimal:
        try:
            number = Decimal(value) if isinstance(value, (str, int, Decimal)) else Decimal("nan")
        except InvalidOperation:
            number = Decimal("nan")
        if isinstance(value, bool) or not number.is_finite() or not Decimal(low) <= number <= Decimal(high):
            raise ValueError(f'a decimal number in quotes, from "{low}" to "{high}"')
        return number

    return pydantic.BeforeValidator(read)


REFERENCE_CHARS_MAX = 193
"""A dataset's id (64 + 1 + 63), a slash, and the name of a column (64)."""


def split_reference(reference: str) -> tuple[str, str]:
    """Return dataset, "owner/name", and column of `owner/name/column`; "" for what is missing."""
    owner, _, rest = reference.partition("/")
    name, _, column = rest.partition("/")
    return f"{owner}/{name}" if owner and name else "", column


def _check_reference(text: str) -> str:
    if not all(split_reference(text)):
        raise ValueError('a column as "owner/dataset/column"')
    return text


ColumnReference = Annotated[
    str, pydantic.Field(max_length=REFERENCE_CHARS_MAX), pydantic.AfterValidator(_check_reference)
]
"""`owner/dataset/column`."""
ColumnReferences = Annotated[
    tuple[ColumnReference, ...], pydantic.Field(max_length=COLUMNS_MAX, strict=False)
]


def find_column(inputs: Sequence[JobInput], reference: str) -> tuple[JobInput, InputColumn]:
    """Return the input and column that a reference names; raise InputRefused when the job lacks it."""
    dataset, name = split_reference(reference)
    for item in inputs:
        if item.dataset == dataset:
            column = item.column(name)
            if column is not None:
                return item, column
    raise InputRefused(f"column {reference}: not among the job's inputs; add it to the job and its grant")


def need_use(inputs: Sequence[JobInput], reference: str, use: str, what: str) -> InputColumn:
    """Return the column if the job declares a use that covers `use`; raise InputRefused otherwise."""
    _, column = find_column(inputs, reference)
    if use not in _COVERED.get(column.use, frozenset({column.use})):
        raise InputRefused(f"column {reference}: {what} needs use {use!r}, the job declares {column.use!r}")
    return column


def need_numeric(inputs: Sequence[JobInput], reference: str, use: str, what: str) -> InputColumn:
    """Like `need_use`, for a column that must hold numbers or booleans."""
    column = need_use(inputs, reference, use, what)
    if column.type not in COUNTED_TYPES:
        raise InputRefused(f"column {reference}: {what} needs numbers, its type is {column.type!r}")
    return column


def _check_inputs(program: JobProgram, inputs: Sequence[JobInput]) -> None:
    names = [item.dataset for item in inputs]
    if len(set(names)) != len(names):
        raise InputRefused(f"{program.id}: a dataset is named twice in the job; name each once")
    for item in inputs:
        if len(item.columns) > COLUMNS_MAX:
            raise InputRefused(f"{item.dataset}: {len(item.columns)} columns, at most {COLUMNS_MAX}")
        for column in item.columns:
            if column.use not in program.uses:
                raise InputRefused(
                    f"column {item.dataset}/{column.name}: use {column.use!r}, {program.id} offers "
                    f"{', '.join(program.uses)}"
                )


def need_join(inputs: Sequence[JobInput], program: str) -> None:
    """Raise InputRefused unless two or more inputs, of different owners, join by keys of as many columns."""
    if len(inputs) < 2 or len({item.owner for item in inputs}) != len(inputs):
        raise InputRefused(f"{program}: needs two or more datasets, each of another owner")
    sizes = {item.dataset: sum(column.use == "join" for column in item.columns) for item in inputs}
    for dataset, size in sizes.items():
        if size == 0:
            raise InputRefused(f"{dataset}: the columns of its key, one or more, need use 'join'")
    if len(set(sizes.values())) > 1:
        said = ", ".join(f"{dataset} by {size}" for dataset, size in sizes.items())
        raise InputRefused(f"{program}: all datasets join by as many columns; here {said}")


def need_rows(context: Context, least: int, what: str) -> None:
    """Raise TooFewRows when fewer rows were joined than `least`."""
    if context.rows < least:
        raise TooFewRows(
            "ROWS_BELOW_PROGRAM_MINIMUM",
            f"{context.rows} joined rows, {what} needs at least {least}; join more rows",
            least=least,
        )


# --- communication that every program needs -------------------------------------------------------


def announce(engine: Engine, owners: Sequence[int], value: Value) -> Steps[dict[int, Value]]:
    """Tell all parties a public value; return what each owner announced, by party (64 KiB each)."""
    others = [party for party in range(engine.parties) if party != engine.me]
    message = encode_value(value)
    send = dict.fromkeys(others, message) if engine.me in owners else {}
    receive = {party: ANNOUNCEMENT_BYTES_MAX for party in others if party in owners}
    received = yield Round(send, receive, exact=False)
    values = {engine.me: value} if engine.me in owners else {}
    for party in receive:
        try:
            values[party] = decode_value(bytes(received[party]), max_bytes=ANNOUNCEMENT_BYTES_MAX)
        except DecodeError as error:
            raise PeerMisbehaved(party, f"announcement of party {party}: {error}") from None
    return values


def scale_finely(engine: Engine, x: Shared, factor: float) -> Steps[Shared]:
    """Return x · factor for a public 0 < |factor| < 1, within 1 ulp beyond 2^-16 of the product.

    `Engine.scale` rounds the factor itself to 2^-16, which a factor such as 1 / rows does not survive.
    """
    bits = FRACTION_BITS - math.frexp(factor)[1]
    product = x.mul_public(round(factor * 2.0**bits))
    return (yield from engine.truncate(Shared(product.words, x.fraction_bits + bits), x.fraction_bits))


# --- results --------------------------------------------------------------------------------------


def decimal_text(numerator: int, denominator: int, digits: int = 6) -> str:
    """Return a quotient of integers as decimal text, rounded half away from zero: no floats in results."""
    sign = "-" if (numerator < 0) != (denominator < 0) and numerator else ""
    scaled = (abs(numerator) * 10**digits * 2 + abs(denominator)) // (2 * abs(denominator))
    whole, fraction = divmod(scaled, 10**digits)
    return f"{sign if scaled else ''}{whole}.{fraction:0{digits}d}"
