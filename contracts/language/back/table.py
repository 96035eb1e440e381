"""The table of builders: each operator of the IR's expressions, and the function that makes its closure."""

from __future__ import annotations

from contracts.language.back import (
    build_calls,
    build_expr,
    build_keyed,
    build_operators,
    build_records,
    build_remote,
    build_state,
    build_walks,
)
from contracts.language.back.builder import Builder

TABLE: dict[str, Builder] = {
    **build_expr.BUILDERS,
    **build_operators.BUILDERS,
    **build_calls.BUILDERS,
    **build_keyed.BUILDERS,
    **build_records.BUILDERS,
    **build_remote.BUILDERS,
    **build_state.BUILDERS,
    **build_walks.BUILDERS,
}
