"""How often loans fail and how large they are, for the registry's yearly report.

By housing, which the bureau knows, and by purpose; noise hides what any one loan adds.
"""


def run(loans, history, residents, *, receiver="registry", epsilon=2):
    rows = join(loans, history, residents)
    failed = rows.loans.creditability == "bad"
    amount = clip(rows.loans.credit_amount, 0, 10000)
    housing, purpose = rows.history.housing, rows.loans.purpose
    noise = laplace(epsilon=epsilon / 4)
    release(mean(failed, by=housing), to=receiver, noise=noise, name="default rate by housing")
    release(mean(amount, by=housing), to=receiver, noise=noise, name="mean amount by housing")
    release(count(rows, by=purpose), to=receiver, noise=noise, name="loans by purpose")
    release(mean(failed, by=purpose), to=receiver, noise=noise, name="default rate by purpose")
