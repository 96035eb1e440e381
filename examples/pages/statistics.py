"""Figures of loans and of the people who took them, over the rows that bank and registry share, for the regulator."""

MIN_GROUP = 5
FAR = 2 ** 40


def variance(x):
    return mean(x * x) - mean(x) * mean(x)


def correlation(x, y):
    return (mean(x * y) - mean(x) * mean(y)) / (sqrt(variance(x)) * sqrt(variance(y)))


def shown(counts):
    """1 for groups that may be shown: large ones, without the smallest of them if it would give small ones away."""
    small = counts < MIN_GROUP
    hidden = sum(where(small, counts, 0))
    exposed = (hidden < MIN_GROUP) & (sum(small) > 0)
    smallest = least(counts + where(small, FAR, 0))
    return ~small & ~((counts == smallest) & exposed)


def median(x):
    order = sort_by(x)
    at = position_in(order)
    number = sum(at >= 0)
    low = sum(order, where=(2 * at == number - 1) | (2 * at == number - 2))
    high = sum(order, where=(2 * at == number - 1) | (2 * at == number))
    return (low + high) / 2


def position_in(x):
    return running_sum(where(x == x, 1, 0)) - 1


def run(loans, residents):
    rows = join(loans, residents)
    amount, age = rows.loans.amount, rows.residents.age
    for name, column in [("amount", amount), ("age", age)]:
        release(mean(column), to="regulator", exact=True, name="mean of " + name)
        release(sqrt(variance(column)), to="regulator", exact=True, name="deviation of " + name)
    release(correlation(clip(amount, 0, 20), clip(age, 18, 90)), to="regulator", noise=laplace(epsilon=1), name="correlation")
    release(count(rows, by=bins(age)), to="regulator", exact=True, name="ages")
    counts = count(rows, by=rows.residents.housing)
    seen = shown(counts)
    release(where(seen, counts, 0), to="regulator", exact=True, name="people by housing")
    release(where(seen, sum(amount, by=rows.residents.housing), 0), to="regulator", exact=True, name="amounts by housing")
    release(median(amount), to="regulator", exact=True, name="median amount")
