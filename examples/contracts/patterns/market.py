"""Points of a month, shared out by rows that were used: largest remainder, so that no point is lost."""

used = Map(str, int, ordered=True)

@export(nested=True)
def note(org: str, rows: int = 1):
    require(ctx.caller == f"org:{org}", "NOT_ITSELF")
    used[org] = used.get(org, 0) + rows

@view
def shares(points: int) -> dict[str, int]:
    rows = {org: used[org] for org in used.page()}
    total = sum(rows.values())
    require(total > 0, "NOBODY")
    whole = {org: points * n // total for org, n in rows.items()}
    left = points - sum(whole.values())
    first = sorted(rows, key=lambda org: (-(points * rows[org] % total), org))[:left]
    return {org: n + (1 if org in first else 0) for org, n in whole.items()}

@view
def report(points: int) -> str:
    return "\n".join(f"{org:<10}{n:>6,}" for org, n in shares(points).items())
