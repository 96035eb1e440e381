"""How many rows all datasets share; and each owner learns which of its own they are.

`receivers` are told the number, `tell_owners` says whether owners learn their rows.
"""


def run(*tables, receivers=("tables1", "tables2"), tell_owners=True):
    rows = join(tables)
    for receiver in receivers:
        release(count(rows), to=receiver, exact=True, name="rows in common")
    if tell_owners:
        for place, mine in enumerate(tables):
            others = [tables[other] for other in range(len(tables)) if other != place]
            shared = membership(join([mine] + others))
            release(shared, to=owner_of(mine), exact=True, name="which rows of " + name_of(mine))
