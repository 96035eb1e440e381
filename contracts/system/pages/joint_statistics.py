"""Figures over the rows that all datasets share: of columns, of pairs of columns, by bins, by categories.

A column is named by ("dataset", "column"), or by ("dataset", "column", low, high): then cells are brought within
these bounds. `columns` are described by `figures` (sum, mean, variance, deviation, least, greatest) and `quantiles`
(parts from 0 to 1, linear between neighbouring cells). `correlations` are pairs of columns. `histograms` are columns,
by their registered bins. `groups` are (by,) or (by, of): rows counted, and a column summed, for each registered
category of `by`. With an `epsilon` above 0 all figures but the number of rows have noise, and share it evenly; columns
then need bounds, and extremes and quantiles are refused. Without, jobs hide groups and bins of fewer rows than their
minimum, and the smallest other one where they could be told from the total.
"""


def cells(rows, named):
    return rows[named[0]][named[1]]


def bounded(rows, named):
    return clip(cells(rows, named), named[2], named[3]) if len(named) == 4 else cells(rows, named)


def scaled(rows, named, epsilon):
    """Cells between 0 and 1, where noise asks for it: correlations stay, and noise keeps to what shares hold."""
    x = bounded(rows, named)
    return (x - named[2]) / (named[3] - named[2]) if epsilon > 0 and len(named) == 4 else x


def called(named):
    return named[0] + "." + named[1]


def told(figure, receivers, name, epsilon):
    for receiver in receivers:
        if epsilon > 0:
            release(figure, to=receiver, noise=laplace(epsilon=epsilon), name=name)
        else:
            release(figure, to=receiver, exact=True, name=name)


def variance(x):
    return mean(x * x) - mean(x) * mean(x)


def correlation(x, y):
    return (mean(x * y) - mean(x) * mean(y)) / (sqrt(variance(x)) * sqrt(variance(y)))


def quantile(x, part):
    """The cell at place part * (n - 1) of those in order: between two places, of each its share."""
    order = sort_by(x)
    places = running_sum(where(order == order, 1, 0))
    place = part * (sum(where(order == order, 1, 0)) - 1) + 1
    return sum(order * maximum(1 - abs(places - place), 0))


def figure(x, name):
    if name == "sum":
        return sum(x)
    if name == "mean":
        return mean(x)
    if name == "variance":
        return variance(x)
    if name == "deviation":
        return sqrt(variance(x))
    return least(x) if name == "least" else greatest(x)


def run(
    *tables,
    receivers=("tables1",),
    columns=(("tables1", "amount"),),
    figures=("mean", "deviation"),
    quantiles=(),
    correlations=(),
    epsilon=0,
    histograms=(),
    groups=(),
):
    rows = join(tables)
    many = len(columns) * (len(figures) + len(quantiles)) + len(correlations) + len(histograms)
    for group in groups:
        many = many + len(group)
    each = epsilon / (many * len(receivers)) if many * len(receivers) > 0 else 0
    told(count(rows), receivers, "rows in common", 0)
    for named in columns:
        x = bounded(rows, named)
        for name in figures:
            told(figure(x, name), receivers, name + " of " + called(named), each)
        for part in quantiles:
            told(quantile(x, part), receivers, "quantile " + str(part) + " of " + called(named), each)
    for one, other in correlations:
        found = correlation(scaled(rows, one, each), scaled(rows, other, each))
        told(found, receivers, "correlation of " + called(one) + " and " + called(other), each)
    for named in histograms:
        told(count(rows, by=bins(cells(rows, named))), receivers, "bins of " + called(named), each)
    for group in groups:
        by = one_hot(cells(rows, group[0]))
        told(count(rows, by=by), receivers, "rows by " + called(group[0]), each)
        if len(group) == 2:
            sums = sum(bounded(rows, group[1]), by=by)
            told(sums, receivers, "sum of " + called(group[1]) + " by " + called(group[0]), each)
