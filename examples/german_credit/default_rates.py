"""How often loans fail and how large they are, for the registry's yearly report.

By housing, which the bureau knows, and by purpose; noise hides what any one loan adds.
"""


def told(figure, receiver, name):
    release(figure, to=receiver, noise=laplace(epsilon=0.5), name=name)


def run(loans, history, residents, *, receiver="registry"):
    rows = join(loans, history, residents)
    failed = rows.loans.creditability == "bad"
    amount = clip(rows.loans.credit_amount, 0, 10000)
    housing, purpose = rows.history.housing, rows.loans.purpose
    told(mean(failed, by=housing), receiver, "default rate by housing")
    told(mean(amount, by=housing), receiver, "mean amount by housing")
    told(count(rows, by=purpose), receiver, "loans by purpose")
    told(mean(failed, by=purpose), receiver, "default rate by purpose")
