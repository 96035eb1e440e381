"""Acts that take several signatures: m of n signers approve, then anyone has the target contract do it."""


class Act(Record):
    target: str
    method: str
    arguments: dict
    by: str
    expires: int
    signers: list[str]


class Target(Protocol):
    """What a contract offers that lets this one act: it decides by ctx.caller."""

    def perform(self, method: str, arguments: dict) -> Value: ...


TERM_DAYS = 14
signers = Var(tuple[str, ...], ())
threshold = Var(int, 1)
targets = Map(str, bool)  # contracts that this one acts on
acts = Map(int, Act, ordered=True)
count = Var(int, 0)

ActProposed = Event(act=int, target=subject, method=str, by=subject)
ActSigned = Event(act=int, by=subject, missing=int)
ActDone = Event(act=int, target=subject, method=str)


@init
def setup(orgs: list[str], needed: int, acts_on: list[str]):
    require(0 < needed <= len(orgs) and len(dict((org, 1) for org in orgs)) == len(orgs), "BAD_SIGNERS")
    signers.set(tuple(orgs))
    threshold.set(needed)
    for name in acts_on:
        targets[name] = True


@export
def propose(target: str, method: str, arguments: dict) -> int:
    """The first signature."""
    only_signers()
    require(target in targets, "NOT_A_TARGET")
    number = count.get()
    count.set(number + 1)
    expires = date.add_days(ctx.block_time, TERM_DAYS)
    acts[number] = Act(target, method, arguments, ctx.org, expires, [ctx.org])
    ActProposed(act=number, target=f"contract:{target}", method=method, by=f"org:{ctx.org}")
    return number


@export
def sign(number: int) -> int:
    """Returns how many signatures are missing still."""
    only_signers()
    act = open_act(number)
    require(ctx.org not in act.signers, "ALREADY_SIGNED")
    act.signers += [ctx.org]
    acts[number] = act
    missing = max(0, threshold.get() - len(act.signers))
    ActSigned(act=number, by=f"org:{ctx.org}", missing=missing)
    return missing


@export
def perform(number: int) -> Value:
    """Anyone may: the signers have decided. What fails leaves the act open."""
    act = open_act(number)
    require(len(act.signers) >= threshold.get(), "SIGNATURES_MISSING")
    del acts[number]
    ActDone(act=number, target=f"contract:{act.target}", method=act.method)
    target: Target = Contract(act.target)
    return target.perform(act.method, act.arguments)


@export
def withdraw(number: int):
    """By whoever proposed it, or by anyone once its time is over."""
    require(number in acts, "NO_SUCH_ACT")
    act = acts[number]
    require(ctx.org == act.by or ctx.block_time > act.expires, "NOT_PROPOSER")
    del acts[number]


@view
def waiting(after: int | None = None) -> dict[int, Act]:
    return {number: acts[number] for number in acts.page(after, 20)}


def open_act(number: int) -> Act:
    require(number in acts, "NO_SUCH_ACT")
    act = acts[number]
    require(ctx.block_time <= act.expires, "EXPIRED")
    return act


def only_signers():
    require(ctx.org in signers.get(), "NOT_SIGNER")
