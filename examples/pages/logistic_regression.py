"""Who repays: a logistic regression that stays shares, and how well it ranks the rows that were held out."""

TURNS = 80
L2 = 0.01
HELD_OUT = 0.3


def standardised(x, chosen):
    """Each column with mean 0 and deviation 1 over the chosen rows."""
    middle = mean(x, where=chosen)
    spread = sqrt(mean(x * x, where=chosen) - middle * middle)
    return (x - middle) / spread


def fitted(x, y, chosen):
    """The weights that minimise the mean loss over the chosen rows and L2 |w|²/2, by Nesterov's descent.

    The first column is the constant 1, whose weight is not penalised.
    """
    number = sum(where(chosen, 1, 0))
    penalty = concat([zeros(1), L2 * ones(shape(x)[1] - 1)])
    rate = 4 / shape(x)[1]
    w = zeros(shape(x)[1])
    ahead = w
    for step in repeat(TURNS):
        error = where(chosen, sigmoid(x @ ahead) - y, 0)
        moved = ahead - rate * (x.T @ error / number + penalty * ahead)
        ahead = moved + (moved - w) * (step / (step + 3))
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


def run(loans, residents):
    rows = join(loans, residents)
    held_out = lot(rows, HELD_OUT)
    x = standardised(stack([rows.loans.amount, rows.loans.duration, rows.residents.age]), ~held_out)
    x = concat([x[:, 0][:, None] * 0 + 1, x])
    w = fitted(x, rows.loans.repaid, ~held_out)
    auc, ks = ranking(x @ w, rows.loans.repaid, held_out)
    keep(w, name="weights")
    release(auc, to="bank", exact=True, name="AUC")
    release(ks, to="bank", exact=True, name="KS")
