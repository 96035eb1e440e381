"""The caps and gas prices of pages; whoever changes a number changes what every replica derives.

One unit of gas stands for about 70 ns, as in contracts. Each step pays before it is done, so a hostile page
costs what its gas says and stops there.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from contracts.language.faults import OutOfGas

PAGES = 1
"""The number of this dialect with its primitives; a plan names it for ever, as a contract its engine."""

# --- noise -----------------------------------------------------------------------------------------------
LAPLACE_DELTA = Fraction(1, 1 << 40)
"""What a number with discrete Laplace noise adds to delta: noise is cut off, its bits have a bias."""
EPSILON_MAX = 10
"""Greatest epsilon of a release: beyond it noise hides nobody, and LAPLACE_DELTA would not hold."""
RUN_CELLS_MAX = 1 << 25
"""Cells of one value in a run, so rows of a table as well: what sums over rows can reach follows of it."""
NOISED_MOST = 1 << 25
"""Reals, and counts, with noise inside a computation differ by less from those without; more is refused."""

DELTA_MAX = Fraction(1, 1_000)
"""Greatest delta of a release, a chance that noise hides nobody: no cap of an account is higher."""

# --- source ----------------------------------------------------------------------------------------------
PAGE_DEPTH_MAX = 32
"""Levels of syntax, statements included."""
CALLS_DEPTH_MAX = 8
"""Calls of a page's own functions inside one another; none may call itself."""
DATASETS_MAX = 8
PARAMETERS_MAX = 32
"""Public parameters of a page."""
PARAMETER_DEPTH_MAX = 4
"""Lists inside one another."""
PARAMETER_ITEMS_MAX = 1_000
"""Items of all parameters that are given."""

# --- public values ---------------------------------------------------------------------------------------
NUMBER_BITS_MAX = 128
"""Bits of the numerator and of the denominator of a public number."""
NUMBER_CHARS_MAX = 80
"""Characters of its text: a sign, two numbers of 39 digits, a line between."""
EXPONENT_MAX = 64
LIST_MAX = 1_000
TEXT_MAX = 256
"""Characters of a public text."""

# --- plan ------------------------------------------------------------------------------------------------
NODES_MAX = 20_000
PLAN_BYTES_MAX = 65_536
KEY_COLUMNS_MAX = 8
"""Columns that together are the id of a row."""
INPUTS_MAX = 256
"""Columns that a page reads, over all datasets."""
RELEASES_MAX = 256
ARGS_MAX = 256
ATTRIBUTE_MAX = 4_096
"""Characters of a constant of a node, such as the edges of bins."""
RANK_MAX = 3
SIZE_MAX = 100_000
"""Greatest public size of an axis."""
REPEAT_MAX = 10_000
REPEAT_DEPTH_MAX = 3
CARRIED_MAX = 32
ATOMS_MAX = 4_096
"""Sums and counts over rows in one plan."""
NAME_MAX = 64
RELEASE_NAME_MAX = 160
"""Characters of what a release is called: it may name two columns with their datasets."""

# --- gas -------------------------------------------------------------------------------------------------
GAS_PAGE = 3_000
GAS_PAGE_BYTE = 10
GAS_PAGE_TOKEN = 150
GAS_STEP = 40
"""Evaluating one syntax node."""
GAS_ITEM = 10
"""An item of a list that is made or walked."""
GAS_PLAN_NODE = 400
"""Making a node of the plan: its type, its place among equal ones, its bytes."""
GAS_PLAN_ARG = 40
GAS_PLAN_CHAR = 20
"""A character of a node's constants, which is read whenever the node is checked."""
GAS_LABEL = 500
"""Deriving the label of one node, once; a loop derives its own again until nothing changes."""
GAS_USE = 100
"""One column of one release."""
GAS_ANEW = 15
"""A node behind a release, where it is told what that release does anew."""
GAS_COST = 120
"""Stating what one node costs."""
GAS_FACT = 60
"""A column of a release, or a use, in what is said of a plan."""
FACTS_BYTES_MAX = 32_768
"""What the ledger keeps of a page besides its text."""
DEFAULT_PAGE_GAS = 30_000_000


@dataclass(frozen=True, slots=True)
class PageLimits:
    """What tracing may use: gas, nodes of the plan and its encoded bytes, each at most that of ours."""

    gas: int = DEFAULT_PAGE_GAS
    nodes: int = NODES_MAX
    plan_bytes: int = PLAN_BYTES_MAX


class Gas:
    """A meter of its own, for a page that no transaction pays for."""

    __slots__ = ("left",)

    def __init__(self, gas: int) -> None:
        """Start with this much."""
        self.left = gas

    def charge(self, gas: int) -> None:
        """Pay before working; raise OutOfGas when there is less."""
        self.left -= gas
        if self.left < 0:
            raise OutOfGas
