"""How many rows both hold, for each of the two; and for the left one, which of its own they are."""


def run(left, right):
    rows = join(left, right)
    release(count(rows), to="left", exact=True, name="rows in common")
    release(count(rows), to="right", exact=True, name="rows in common")
    release(membership(rows), to="left", exact=True, name="which rows")
