"""A logistic regression fitted with noise: its coefficients, and how well they rank rows that were held out.

A column is named by ("dataset", "column"). The `label` is a boolean, or is 1 where it is the only item of
`positive`. `numbers` are ("dataset", "column", low, high), brought within these bounds and then to -1 and 1;
`categories` become a bit for each registered category. `epsilon` is what all turns of the descent cost together,
`quality` what is told of the rows held out; both are charged to whoever owns one of these columns.
"""

DELTA = 10 ** -6
LIMIT = 4
EDGES = [-50, -3, -2, -1.5, -1.25, -1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 50]


def cells(rows, named):
    return rows[named[0]][named[1]]


def scaled(rows, named):
    low, high = named[2], named[3]
    return ((clip(cells(rows, named), low, high) - (low + high) / 2) / ((high - low) / 2))[:, None]


def features(rows, numbers, categories):
    """The constant 1, then every feature: between -1 and 1 each, so that a row's error is bounded in each."""
    blocks = [real(membership(rows))[:, None]] + [scaled(rows, named) for named in numbers]
    return concat(blocks + [one_hot(cells(rows, named)) for named in categories])


def fitted(x, y, chosen, noise, turns, rate):
    """Coefficients within -LIMIT and LIMIT, by steps down the slope of the loss over the chosen rows, with noise."""
    number = sum(where(chosen, 1, 0))
    w = zeros(shape(x)[1])
    for turn in repeat(turns):
        error = where(chosen, sigmoid(x @ w) - y, 0)
        w = clip(w - rate * noised(x.T @ error, noise) / number, -LIMIT, LIMIT)
    return w


def ranking(counts):
    """(AUC, KS, accuracy) of counts of good and bad rows by bands of scores; within a band they rank alike."""
    below = [0, 0]
    total = [sum(counts[:, 0]), sum(counts[:, 1])]
    wins, gap, right = 0, 0, 0
    for band in range(len(EDGES) - 1):
        good, bad = counts[band, 0], counts[band, 1]
        wins = wins + bad * (below[0] + good / 2)
        right = right + (bad if EDGES[band] >= 0 else good)
        below = [below[0] + good, below[1] + bad]
        gap = maximum(gap, abs(below[0] / total[0] - below[1] / total[1]))
    return stack([wins / total[0] / total[1], gap, right / (total[0] + total[1])])


def run(
    *tables,
    label=("tables1", "late"),
    positive=(),
    numbers=(("tables1", "amount", 0, 10000),),
    categories=(),
    held_out=0.3,
    epsilon=1,
    quality=0.5,
    turns=6,
    rate=1,
    receivers=("tables1",),
):
    rows = join(tables)
    tested = lot(rows, held_out)
    y = cells(rows, label)
    y = where(y == positive[0], 1, 0) if len(positive) == 1 else clip(y, 0, 1)
    x = features(rows, numbers, categories)
    w = fitted(x, y, ~tested, gaussian(epsilon=epsilon, delta=DELTA), turns, rate)
    kinds = bins(y, edges=[0, 0.5, 1])
    counts = sum(kinds, by=bins(x @ w, edges=EDGES), where=tested)
    for receiver in receivers:
        release(w, to=receiver, noised=True, name="coefficients")
        release(ranking(counts), to=receiver, noise=laplace(epsilon=quality), name="AUC, KS, accuracy")
