"""Outputs of a program, opened among its parties at once; agents ask for them (mpc/opening.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from privcompute.mpc.engine import Engine
from privcompute.mpc.rounds import Steps, parallel
from privcompute.mpc.sharing import Shared


def open_outputs(
    engine: Engine, shared: Mapping[str, Shared], receivers: Sequence[int]
) -> Steps[dict[str, NDArray[Any]] | None]:
    """Return all outputs at the receivers, None at other parties: one round."""
    names = sorted(shared)
    opened = yield from parallel(*[engine.reveal(shared[name], receivers) for name in names])
    return dict(zip(names, opened, strict=True)) if engine.me in receivers else None
