"""How noise is asked for: by a release, or inside a computation."""

from __future__ import annotations

from contracts.pages.faults import Unfit
from contracts.pages.limits import DELTA_MAX, EPSILON_MAX
from contracts.pages.numbers import plain_text, read_number

DRAWN = ("laplace", "gaussian")
"""Mechanisms that draw noise."""


def check_noise(mechanism: str, epsilon: str, delta: str) -> None:
    """Raise Unfit (NOISE) for a mechanism, or numbers as canonical texts, that none can have."""
    if mechanism not in DRAWN:
        raise Unfit("NOISE", f"there is no noise {mechanism!r}", " or ".join(DRAWN))
    if (epsilon != "", delta != "") != (True, mechanism == "gaussian"):
        raise Unfit("NOISE", "laplace takes epsilon, gaussian epsilon and delta", "laplace(epsilon=0.5)")
    if not 0 < read_number(epsilon) <= EPSILON_MAX:
        shown = plain_text(read_number(epsilon))
        raise Unfit("NOISE", f"epsilon = {shown}", f"an epsilon above 0, at most {EPSILON_MAX}")
    if delta and not 0 < read_number(delta) <= DELTA_MAX:
        shown, most = plain_text(read_number(delta)), plain_text(DELTA_MAX)
        instead = f"a delta above 0, at most {most}, such as 0.000001"
        raise Unfit("NOISE", f"delta = {shown}, the chance that noise hides nobody", instead)
