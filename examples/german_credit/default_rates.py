"""How often loans fail and how large they are, for the registry's yearly report.

By housing, which the bureau knows, and by purpose; small groups stay hidden.
"""


def told(figure, receiver, name):
    release(figure, to=receiver, exact=True, name=name)


def run(loans, history, residents, *, receiver="registry"):
    rows = join(loans, history, residents)
    failed = rows.loans.creditability == "bad"
    amount = rows.loans.credit_amount
    housing, purpose = rows.history.housing, rows.loans.purpose
    told(mean(failed, by=housing), receiver, "default rate by housing")
    told(mean(amount, by=housing), receiver, "mean amount by housing")
    told(count(rows, by=purpose), receiver, "loans by purpose")
    told(mean(failed, by=purpose), receiver, "default rate by purpose")
