"""A committee decides by so many votes, and what it decided holds for a time."""

terms = Library("cccf5728841e8a6464395f815af5972979e9e8b3747f69ff7ddde48f3820e690")
MEMBERS = ["bank", "bureau", "registry"]
NEEDED = 2
votes = Map(str, dict)
decided = Map(str, terms.Term)

@export
def vote(question: str, yes: bool = True):
    require(ctx.org in MEMBERS, "NOT_A_MEMBER")
    cast = votes.get(question, {})
    cast[ctx.org] = yes
    votes[question] = cast
    if terms.passed(cast, MEMBERS, NEEDED):
        decided[question] = terms.for_days(ctx.org, ctx.block_time, 30)

@view
def holds(question: str) -> bool:
    return terms.runs(decided.get(question), ctx.block_time)
