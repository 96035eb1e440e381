"""How long a unit of gas takes, operation by operation: what the schedule of gas rests on."""
