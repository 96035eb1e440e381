"""A logistic regression that stays shares, and how well it ranks the rows that were held out.

A column is named by ("dataset", "column"). The `label` is a boolean, or is 1 where it is the only item of
`positive`. `numbers` are features as they are, `categories` become a bit for each registered category; all are
standardised over the rows that are not held out. `receivers` learn AUC, KS, accuracy and the number of positive
rows held out; with `coefficients` also the weights, the constant first.
"""


def cells(rows, named):
    return rows[named[0]][named[1]]


def standardised(x, chosen):
    """Each column with mean 0 and deviation 1 over the chosen rows.

    By products, which jobs do not hide: a rare category is a feature like the others, and AUC needs `plain` anyway.
    """
    rows = where(chosen, 1, 0)
    middle = x.T @ rows / sum(rows)
    spread = sqrt((x * x).T @ rows / sum(rows) - middle * middle)
    return (x - middle) / spread


def features(rows, numbers, categories, chosen):
    """The constant 1, then every feature."""
    blocks = [standardised(cells(rows, named)[:, None], chosen) for named in numbers]
    hot = [standardised(one_hot(cells(rows, named)), chosen) for named in categories]
    return concat([real(membership(rows))[:, None]] + blocks + hot)


def steepest(x, chosen, number):
    """A bound of the greatest eigenvalue of the mean of x x^T, which bounds the curvature of the loss by a quarter."""
    mixed = x.T @ where(chosen[:, None], x, 0) / number
    squared = mixed @ mixed
    return sqrt(sqrt(sum(sum(squared * squared))))


def fitted(x, y, chosen, turns, l2):
    """The weights that minimise the mean loss over the chosen rows and l2 |w|²/2, by Nesterov's descent.

    The first column is the constant 1, whose weight is not penalised.
    """
    number = sum(where(chosen, 1, 0))
    penalty = concat([zeros(1), l2 * ones(shape(x)[1] - 1)])
    rate = 1 / (steepest(x, chosen, number) / 4 + l2)
    w = zeros(shape(x)[1])
    ahead = w
    for step in repeat(turns):
        error = where(chosen, sigmoid(x @ ahead) - y, 0)
        slope = x.T @ error / number + penalty * ahead
        moved, push = ahead - rate * slope, step / (step + 3)
        # moved + (moved - w) * push, of which no product waits for another:
        ahead = ahead + (ahead - w) * push - (rate + rate * push) * slope
        w = moved
    return w


def ranking(score, y, chosen):
    """(AUC, KS) of scores over the chosen rows, by comparing all pairs."""
    good, bad = where(chosen, y, 0), where(chosen, 1 - y, 0)
    above = score[:, None] > score[None, :]
    level = score[:, None] == score[None, :]
    wins = sum(good * (above @ bad + level @ bad / 2))
    reached = above + level
    gaps = abs(reached.T @ good / sum(good) - reached.T @ bad / sum(bad))
    return wins / (sum(good) * sum(bad)), greatest(where(chosen, gaps, 0))


def run(
    *tables,
    label=("tables1", "repaid"),
    positive=(),
    numbers=(("tables1", "amount"),),
    categories=(),
    held_out=0.3,
    turns=80,
    l2=0.01,
    receivers=("tables1",),
    coefficients=False,
):
    rows = join(tables)
    tested = lot(rows, held_out)
    y = cells(rows, label) == positive[0] if len(positive) == 1 else cells(rows, label)
    x = features(rows, numbers, categories, ~tested)
    w = fitted(x, y, ~tested, turns, l2)
    score = x @ w
    auc, ks = ranking(score, y, tested)
    right = mean((score > 0) == y, where=tested)
    keep(w, name="weights")
    for receiver in receivers:
        release(auc, to=receiver, exact=True, name="AUC")
        release(ks, to=receiver, exact=True, name="KS")
        release(right, to=receiver, exact=True, name="accuracy")
        release(count(y, where=tested), to=receiver, exact=True, name="positive rows held out")
        if coefficients:
            release(w, to=receiver, exact=True, name="weights")
