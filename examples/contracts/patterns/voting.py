"""Weighted votes; a member may let another vote for it, and that one for both."""

WEIGHTS = {"bank": 3, "bureau": 2, "registry": 2, "regulator": 1}
delegate = Map(str, str)
votes = Map(tuple[str, str], bool, ordered=True)  # (question, member) -> yes

@export
def let_vote(to: str):
    require(to in WEIGHTS and to != ctx.org, "NO_MEMBER")
    require(final(to) != ctx.org, "CIRCLE")
    delegate[ctx.org] = to

@export
def vote(question: str, yes: bool = True):
    require(ctx.org in WEIGHTS and ctx.org not in delegate, "NO_VOTE")
    votes[question, ctx.org] = yes

def final(org: str, _steps: int = 4) -> str:
    for _ in range(_steps):
        org = delegate.get(org, org)
    return org

@view
def result(question: str) -> dict:
    cast = {org: votes[question, org] for _, org in votes.page(prefix=(question,))}
    yes = sum(n for org, n in WEIGHTS.items() if cast.get(final(org), False))
    return {"yes": yes, "all": all(final(org) in cast for org in WEIGHTS), "passed": 2 * yes > sum(WEIGHTS.values())}
