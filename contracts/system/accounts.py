"""What figures about each dataset have given away, and what is left of the caps that its owner set.

An account covers the versions of a dataset from one on; a new version continues it, unless the owner begins
another with a reason. A job's charges follow of its plan. They are reserved when everybody has agreed to take
part, spent where its runs are used, and come back exactly where a run does. Epsilon is counted in 10^-9, delta
and rho in 10^-18.
"""

TEXT_MAX = 256
ACCOUNTS_MAX = 256
# What an owner does alone in a day (UTC) that lets more be said, or leaves an account for ever.
CHANGES_A_DAY_MAX = 200
# Reservations in an account that jobs of one grantee gave back on a day (UTC) before it may reserve no more.
RETURNS_A_DAY_MAX = 24
DAY_MS = 86400000
# Why these numbers: docs/decisions/disclosure-accounts.md.
DEFAULT_CAPS = {
    "delta": 10**13,
    "epsilon": 8 * 10**9,
    "figures": 200,
    "grantee_delta": 375 * 10**10,
    "grantee_epsilon": 3 * 10**9,
    "grantee_figures": 75,
}
CAPS_MOST = {
    "delta": 10**15,
    "epsilon": 1000 * 10**9,
    "figures": 10**6,
    "grantee_delta": 10**15,
    "grantee_epsilon": 1000 * 10**9,
    "grantee_figures": 10**6,
}
NOTHING = {"delta": 0, "epsilon": 0, "rho": 0}
EMPTY = {"reserved": NOTHING, "spent": NOTHING}
NO_FIGURES = {"reserved": 0, "spent": 0}
# Logarithms are numbers of 2^-80, and at most 2^-56 below the true ones.
BITS = 80
ONE = 2**80
LN2 = 837963523372001241319907
SLACK = 2**30
ROUNDS_MAX = 64
# A little more than e, in 10^-9; e^40 times the least delta is beyond every cap.
E = 2718281829
GROWN_MAX = 40

owner_caps = Map(str, dict[str, int])  # dataset -> what its owner set; without a row the caps are DEFAULT_CAPS
begun = Map(str, list[int])  # dataset -> the versions with which accounts began, after its first
accounts = Map(tuple[str, int], dict)  # (dataset, first version) -> {spent, reserved, through: last one charged}
shares = Map(tuple[str, int, str], dict)  # (dataset, first version, grantee) -> {spent, reserved}
figures = Map(tuple[str, int, str], dict)  # (dataset, first version, column) -> {spent, reserved}
share_figures = Map(tuple[str, int, str, str], dict)  # the same with a grantee before the column
returns = Map(tuple[str, int, str], dict)  # (dataset, first version, grantee) -> {day, returned: on that day}
bookings = Map(str, dict)  # job -> {grantee, charges: one for each input that is charged}
holds = Map(tuple[str, int], dict)  # (job, place there) -> {account: first version, state: "reserved" or "spent"}
daily = Map(str, dict)  # org -> {day, act: how often on that day}; the next day's first act overwrites it

datasets = Contract("datasets")

AccountBegun = Event(dataset=subject, by=subject, version=int, reason=str)
CapsSet = Event(
    dataset=subject,
    by=subject,
    epsilon=int,
    grantee_epsilon=int,
    delta=int,
    grantee_delta=int,
    figures=int,
    grantee_figures=int,
    before=dict,
)
AccountReserved = Event(
    dataset=subject,
    job=subject,
    grantee=subject,
    by=subject,
    account=int,
    epsilon=int,
    delta=int,
    rho=int,
    figures=dict,
)
AccountCharged = Event(
    dataset=subject,
    job=subject,
    grantee=subject,
    by=subject,
    account=int,
    epsilon=int,
    delta=int,
    rho=int,
    figures=dict,
)
AccountReturned = Event(
    dataset=subject,
    job=subject,
    grantee=subject,
    by=subject,
    account=int,
    epsilon=int,
    delta=int,
    rho=int,
    figures=dict,
)


# --- the owner's hand -------------------------------------------------------------------------------------


@export
def set_caps(id: str, caps: dict[str, int]) -> dict:
    """Set some of the caps of a dataset, higher ones too; returns all of them."""
    record = owned(id)
    count_change(record["owner"])
    return put_caps(record, caps)


@export
def lower_caps(id: str, caps: dict[str, int]) -> dict:
    """Lower some of the caps; below what is given away already, nothing is left."""
    record = owned(id)
    now = caps_of(id)
    for name in caps:
        require(name not in now or caps[name] <= now[name], "CAP_RAISED")
    return put_caps(record, caps)


def put_caps(record: dict, given: dict) -> dict:
    id, before = record["id"], caps_of(record["id"])
    require(len(given) > 0, "BAD_CAPS")
    for name in given:
        require(name in CAPS_MOST, "BAD_CAPS")
        require(0 <= given[name] <= CAPS_MOST[name], "BAD_CAPS")
    now = before | given
    owner_caps[id] = now
    CapsSet(
        dataset="dataset:" + id,
        by="org:" + record["owner"],
        epsilon=now["epsilon"],
        grantee_epsilon=now["grantee_epsilon"],
        delta=now["delta"],
        grantee_delta=now["grantee_delta"],
        figures=now["figures"],
        grantee_figures=now["grantee_figures"],
        before=before,
    )
    return now


@export
def begin(id: str, version: int, reason: str):
    """Begin a new account with a version, and those after it: its rows tell nothing of the rows before."""
    record = owned(id)
    check_text(reason)
    require(reason.strip() != "", "NO_REASON")
    require(1 <= version <= record["version"], "UNKNOWN_VERSION")
    first = first_of(id, record["version"])
    require(version > first, "ACCOUNT_EXISTS")
    require(version > account_row(id, first)["through"], "VERSION_CHARGED")
    listed = begun.get(id, [])
    require(len(listed) < ACCOUNTS_MAX, "TOO_MANY_ACCOUNTS")
    count_change(record["owner"])
    begun[id] = listed + [version]
    AccountBegun(dataset="dataset:" + id, by="org:" + record["owner"], version=version, reason=reason)


# --- for `jobs`: what a job is charged --------------------------------------------------------------------


@export(nested=True)
def admit(job: str, grantee: str, charges: list):
    """Keep what a job that is proposed will be charged; every account that it concerns has room for it.

    A charge is {input, grant, dataset, version, owner, epsilon, delta, rho, figures: {column: number}}.
    """
    jobs_only()
    found = [one for one in charges if has_noise(one) or len(one["figures"]) > 0]
    if len(found) > 0:
        bookings[job] = {"grantee": grantee, "charges": found}
        for sums in gathered([[one, first_of(one["dataset"], one["version"])] for one in found]):
            guard_room(sums, grantee)


@export(nested=True)
def reserve(job: str, org: str, last: bool, by: str):
    """Ask for room in the accounts of one owner's datasets; with the last acceptance keep it in all accounts."""
    jobs_only()
    booking = bookings.get(job)
    if booking is None:
        return
    charges = booking["charges"]
    if not last:
        asked = [[one, first_of(one["dataset"], one["version"])] for one in charges if one["owner"] == org]
        for sums in gathered(asked):
            guard_room(sums, booking["grantee"])
        return
    for place, one in enumerate(charges):
        holds[job, place] = {"account": first_of(one["dataset"], one["version"]), "state": "reserved"}
    for sums in held_sums(job, booking, list(range(len(charges)))):
        guard_room(sums, booking["grantee"])
        move(sums, booking["grantee"], "", "reserved")
        AccountReserved(
            dataset="dataset:" + sums["dataset"],
            job="job:" + job,
            grantee="org:" + booking["grantee"],
            by=by,
            account=sums["account"],
            epsilon=sums["epsilon"],
            delta=sums["delta"],
            rho=sums["rho"],
            figures=sums["figures"],
        )


@export(nested=True)
def consume(job: str, by: str):
    """Spend what was reserved, before a byte of data moves."""
    jobs_only()
    booking = bookings.get(job)
    if booking is not None:
        spend(job, booking, list(range(len(booking["charges"]))), by)


@export(nested=True)
def finish(job: str, returned: list[str], by: str):
    """End what an ended job still reserves: it comes back with the run of its grant, or is spent as that is."""
    jobs_only()
    booking = bookings.get(job)
    if booking is not None:
        waiting = in_state(job, booking, "reserved")
        back = whole_accounts(job, booking, waiting, returned)
        for sums in held_sums(job, booking, back):
            count_return(sums, booking["grantee"])
        release(job, booking, back, "reserved", by)
        spend(job, booking, [place for place in waiting if place not in back], by)


@export(nested=True)
def give_back(job: str, returned: list[str], by: str):
    """Take back what an ended job spent of grants to which its run returned."""
    jobs_only()
    booking = bookings.get(job)
    if booking is not None:
        back = whole_accounts(job, booking, in_state(job, booking, "spent"), returned)
        release(job, booking, back, "spent", by)


def spend(job: str, booking: dict, places: list, by: str):
    for sums in held_sums(job, booking, places):
        move(sums, booking["grantee"], "reserved", "spent")
        AccountCharged(
            dataset="dataset:" + sums["dataset"],
            job="job:" + job,
            grantee="org:" + booking["grantee"],
            by=by,
            account=sums["account"],
            epsilon=sums["epsilon"],
            delta=sums["delta"],
            rho=sums["rho"],
            figures=sums["figures"],
        )
    for place in places:
        holds[job, place] = {"account": holds[job, place]["account"], "state": "spent"}


def release(job: str, booking: dict, places: list, side: str, by: str):
    for sums in held_sums(job, booking, places):
        move(sums, booking["grantee"], side, "")
        AccountReturned(
            dataset="dataset:" + sums["dataset"],
            job="job:" + job,
            grantee="org:" + booking["grantee"],
            by=by,
            account=sums["account"],
            epsilon=sums["epsilon"],
            delta=sums["delta"],
            rho=sums["rho"],
            figures=sums["figures"],
        )
    for place in places:
        del holds[job, place]


def in_state(job: str, booking: dict, state: str) -> list:
    """The places of a job's charges that are reserved, or spent."""
    found = []
    for place in range(len(booking["charges"])):
        hold = holds.get((job, place))
        if hold is not None and hold["state"] == state:
            found.append(place)
    return found


def whole_accounts(job: str, booking: dict, places: list, returned: list) -> list:
    """Those of a job's places whose account takes all back: what one row changes in two inputs is no sum of two."""
    kept = []
    for place in places:
        if booking["charges"][place]["grant"] not in returned:
            kept.append([booking["charges"][place]["dataset"], holds[job, place]["account"]])
    return [
        place
        for place in places
        if [booking["charges"][place]["dataset"], holds[job, place]["account"]] not in kept
    ]


def count_return(sums: dict, grantee: str):
    key = (sums["dataset"], sums["account"], grantee)
    returns[key] = {"day": ctx.block_time // DAY_MS, "returned": returned_today(key) + 1}


def returned_today(key: tuple) -> int:
    row = returns.get(key, {"day": 0, "returned": 0})
    return row["returned"] if row["day"] == ctx.block_time // DAY_MS else 0


def held_sums(job: str, booking: dict, places: list) -> list:
    """What these charges of a job come to, account by account, each in the one that it was reserved in."""
    return gathered([[booking["charges"][place], holds[job, place]["account"]] for place in places])


def gathered(charges: list) -> list:
    """Add [charge, account] up by account.

    Of a dataset that is several inputs of a job, one row is in all of them: their epsilons add up, their rhos count
    as often as there are inputs (k^2 of a group of k, since (a + b)^2 <= 2 (a^2 + b^2)), and each delta grows by
    e^epsilon of the inputs that change before it.
    """
    found: list = []
    for charge, account in charges:
        sums = None
        for other in found:
            if other["dataset"] == charge["dataset"] and other["account"] == account:
                sums = other
        if sums is None:
            sums = {"dataset": charge["dataset"], "account": account, "through": 0, "figures": {}}
            sums.update({"noisy": 0, "greatest": 0} | NOTHING)
            found.append(sums)
        sums["through"] = max(sums["through"], charge["version"])
        sums["noisy"] += 1 if has_noise(charge) else 0
        sums["greatest"] = max(sums["greatest"], charge["epsilon"])
        for name in NOTHING:
            sums[name] += charge[name]
        for column, count in charge["figures"].items():
            sums["figures"][column] = sums["figures"].get(column, 0) + count
    for sums in found:
        if sums["noisy"] > 1:
            sums["rho"] *= sums["noisy"]
            sums["delta"] = grown(sums["delta"], sums["epsilon"] - sums["greatest"])
    return found


def grown(delta: int, epsilon: int) -> int:
    """A delta times e^epsilon or a little more, epsilon rounded up to a whole number."""
    power = min(-(-epsilon // 10**9), GROWN_MAX)
    return -(-delta * E**power // 10 ** (9 * power))


def move(sums: dict, grantee: str, source: str, target: str):
    """Move an amount from one side of an account and of the grantee's share to another; "" is outside."""
    id, first = sums["dataset"], sums["account"]
    row = account_row(id, first)
    share = shares.get((id, first, grantee), EMPTY)
    for sides in (row, share):
        for name in NOTHING:
            shift(sides, name, sums[name], source, target)
    row["through"] = max(row["through"], sums["through"])
    accounts[id, first] = row
    shares[id, first, grantee] = share
    for column, count in sums["figures"].items():
        counted = figures.get((id, first, column), NO_FIGURES)
        mine = share_figures.get((id, first, grantee, column), NO_FIGURES)
        for sides in (counted, mine):
            if source != "":
                sides[source] -= count
            if target != "":
                sides[target] += count
        figures[id, first, column] = counted
        share_figures[id, first, grantee, column] = mine


def shift(sides: dict, name: str, amount: int, source: str, target: str):
    if source != "":
        sides[source][name] -= amount
    if target != "":
        sides[target][name] += amount


def guard_room(sums: dict, grantee: str):
    """Revert unless an account, and the grantee's share of it, stay within the caps with this amount more."""
    fault = room_fault(sums, grantee)
    if fault != "":
        require(fault != "ACCOUNT_DELTA", "ACCOUNT_DELTA")
        require(fault != "ACCOUNT_EPSILON", "ACCOUNT_EPSILON")
        require(fault != "TOO_MANY_RETURNS_TODAY", "TOO_MANY_RETURNS_TODAY")
        require(False, "ACCOUNT_FIGURES")


def room_fault(sums: dict, grantee: str) -> str:
    """Say which cap has no room for this amount more; "" when all have."""
    id, first, most = sums["dataset"], sums["account"], caps_of(sums["dataset"])
    if returned_today((id, first, grantee)) >= RETURNS_A_DAY_MAX:
        return "TOO_MANY_RETURNS_TODAY"
    if has_noise(sums):
        whole = plus(account_row(id, first), sums)
        share = plus(shares.get((id, first, grantee), EMPTY), sums)
        if whole["delta"] > most["delta"] or share["delta"] > most["grantee_delta"]:
            return "ACCOUNT_DELTA"
        if not is_within(whole, most["epsilon"], most["delta"]):
            return "ACCOUNT_EPSILON"
        if not is_within(share, most["grantee_epsilon"], most["delta"]):
            return "ACCOUNT_EPSILON"
    for column, count in sums["figures"].items():
        if count > figures_left(id, first, grantee, column, most):
            return "ACCOUNT_FIGURES"
    return ""


def figures_left(id: str, first: int, grantee: str, column: str, most: dict) -> int:
    """How many figures of a column an account, and a grantee's share of it, have room for; may be below 0."""
    whole = figures.get((id, first, column), NO_FIGURES)
    share = share_figures.get((id, first, grantee, column), NO_FIGURES)
    return min(
        most["figures"] - whole["spent"] - whole["reserved"],
        most["grantee_figures"] - share["spent"] - share["reserved"],
    )


def has_noise(charge: dict) -> bool:
    return charge["epsilon"] > 0 or charge["delta"] > 0 or charge["rho"] > 0


def plus(sides: dict, more: dict) -> dict:
    """Both sides of an account, and an amount more."""
    return {name: sides["spent"][name] + sides["reserved"][name] + more[name] for name in NOTHING}


# --- composition ------------------------------------------------------------------------------------------


def is_within(sums: dict, epsilon: int, delta: int) -> bool:
    """Tell whether a sum of charges is (epsilon, delta)-private by either of two theorems."""
    return sums["epsilon"] <= epsilon or epsilon_of(sums["rho"], delta - sums["delta"], epsilon + 1) <= epsilon


def composed(sums: dict, delta: int) -> int:
    """The epsilon that a sum of charges comes to at this delta: the smaller of what two theorems say."""
    return epsilon_of(sums["rho"], delta - sums["delta"], sums["epsilon"])


def epsilon_of(rho: int, delta: int, most: int) -> int:
    """The least epsilon at which rho-zCDP is (epsilon, delta)-private, rounded up, or `most` if that is less.

    Canonne, Kamath, Steinke (2020), proposition 12: for every alpha > 1, with a = alpha - 1,
    epsilon = rho alpha + (ln(1/delta) - ln(alpha)) / a - ln(alpha / a). It is least where
    f(a) = rho a^2 + ln(1 + a) - ln(1/delta) is 0; every other alpha gives more, and holds as well.
    """
    if rho <= 0:
        return 0
    if delta <= 0:
        return most
    budget = log(ONE * 10**18 // delta) + SLACK
    rate = -(-rho * ONE // 10**18)
    a = 2 ** ((budget * ONE * ONE // rate).bit_length() // 2 + 1)
    for _ in range(ROUNDS_MAX):
        value = rate * a // ONE * a // ONE + log(ONE + a) - budget
        slope = 2 * rate * a // ONE + ONE * ONE // (ONE + a)
        after = max(a - value * ONE // slope, a // 4, 1)
        if abs(after - a) <= a // 2**20:
            break
        a = after
    top = rate + -(-rate * a // ONE) - (log(ONE + a) - budget) * ONE // a - log(ONE * (ONE + a) // a)
    return min(max(-(-top * 10**9 // ONE), 0), most)


def log(number: int) -> int:
    """The natural logarithm of a number from 1 on, both in 2^-80: at most 2^-56 less than it is."""
    power = number.bit_length() - BITS - 1
    part = number // 2**power
    ratio = (part - ONE) * ONE // (part + ONE)
    square = ratio * ratio // ONE
    total = 0
    odd = 1
    while ratio > 2**20:
        total += ratio // odd
        ratio = ratio * square // ONE
        odd += 2
    return 2 * total + power * LN2


# --- views ------------------------------------------------------------------------------------------------


@view
def caps_of(id: str) -> dict:
    """{epsilon, grantee_epsilon, delta, grantee_delta, figures, grantee_figures}."""
    return owner_caps.get(id, DEFAULT_CAPS)


@view
def account_of(id: str, version: int) -> dict:
    """The account that a version of a dataset is in: {account: its first version, …}.

    `epsilon` is what spent and reserved come to at the delta of the caps.
    """
    first = known_first(id, version)
    row, most = account_row(id, first), caps_of(id)
    row.update({"account": first, "caps": most, "epsilon": composed(plus(row, NOTHING), most["delta"])})
    return row


@view
def share_of(id: str, version: int, grantee: str) -> dict:
    """What one grantee has of an account: {spent, reserved, epsilon}, as in `account_of`."""
    share = shares.get((id, known_first(id, version), grantee), EMPTY)
    share["epsilon"] = composed(plus(share, NOTHING), caps_of(id)["delta"])
    return share


@view
def left(id: str, version: int, grantee: str, columns: list[str]) -> dict:
    """What one more job of a grantee may be charged: {epsilon, delta, figures: {column: n}}.

    `epsilon` is the greatest that one more figure with Laplace noise may have; with several, each adds up.
    """
    first = known_first(id, version)
    most = caps_of(id)
    whole, share = account_row(id, first), shares.get((id, first, grantee), EMPTY)
    low, high = 0, min(most["epsilon"], most["grantee_epsilon"]) + 1
    while high - low > 1:
        middle = (low + high) // 2
        more = {"delta": 0, "epsilon": middle, "rho": (middle * middle + 1) // 2}
        fits = is_within(plus(whole, more), most["epsilon"], most["delta"])
        if fits and is_within(plus(share, more), most["grantee_epsilon"], most["delta"]):
            low = middle
        else:
            high = middle
    counted = {}
    for column in columns:
        counted[column] = max(figures_left(id, first, grantee, column, most), 0)
    room = min(
        most["delta"] - plus(whole, NOTHING)["delta"],
        most["grantee_delta"] - plus(share, NOTHING)["delta"],
    )
    return {"epsilon": low if room >= 0 else 0, "delta": max(room, 0), "figures": counted}


@view
def fault_of(grantee: str, charges: list[dict]) -> str:
    """The code with which a proposal that is charged so is refused now; "" when accounts have room."""
    for sums in gathered([[one, known_first(one["dataset"], one["version"])] for one in charges]):
        fault = room_fault(sums, grantee)
        if fault != "":
            return fault
    return ""


@view
def booking_of(job: str) -> dict:
    """What a job is charged: {grantee, charges}; an empty list where its plan charges nobody."""
    return bookings.get(job, {"grantee": "", "charges": []})


@view
def stands(job: str) -> bool:
    """Tell whether the accounts have room for what a job is charged and does not hold yet."""
    booking = bookings.get(job)
    if booking is None:
        return True
    waiting = []
    for place, one in enumerate(booking["charges"]):
        if (job, place) not in holds:
            waiting.append([one, first_of(one["dataset"], one["version"])])
    for sums in gathered(waiting):
        if room_fault(sums, booking["grantee"]) != "":
            return False
    return True


def known_first(id: str, version: int) -> int:
    """The first version of the account that a version is in, which must be registered."""
    require(1 <= version <= datasets.dataset_of(id)["version"], "UNKNOWN_VERSION")
    return first_of(id, version)


def first_of(id: str, version: int) -> int:
    found = 1
    for first in begun.get(id, []):
        if first <= version:
            found = first
    return found


def account_row(id: str, first: int) -> dict:
    return accounts.get((id, first), EMPTY | {"through": 0})


# --- checks -----------------------------------------------------------------------------------------------


def owned(id: str) -> dict:
    org = steward()
    record = datasets.dataset_of(id)
    require(record["owner"] == org, "NOT_OWNER")
    require(record["status"] != "retired", "WRONG_STATE")
    return record


def count_change(org: str):
    """What lowers a cap is never counted."""
    require(count_today(org, "changes") <= CHANGES_A_DAY_MAX, "TOO_MANY_CHANGES_TODAY")


def count_today(org: str, act: str) -> int:
    """Count an act that stays for ever at nobody's vote; returns how many an organisation did today."""
    day = ctx.block_time // DAY_MS
    row = daily.get(org, {"day": day})
    if row["day"] != day:
        row = {"day": day}
    row[act] = row.get(act, 0) + 1
    daily[org] = row
    return row[act]


def jobs_only():
    require(ctx.caller == "contract:jobs", "JOBS_ONLY")


def steward() -> str:
    require("admin" in ctx.roles or "steward" in ctx.roles, "KEY_ROLE_MISSING")
    return ctx.org


def check_text(text: str):
    require(len(text) <= TEXT_MAX, "TEXT_TOO_LONG")
