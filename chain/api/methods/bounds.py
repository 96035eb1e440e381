"""How large values and pages of an answer may be, in bytes."""

STATE_BYTES_MAX = 1_048_576
"""One value of the state."""
PAGE_BYTES = 262_144
"""A page of state or events ends here: making it keeps the loop for some milliseconds."""
