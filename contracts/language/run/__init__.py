"""The run time of the contract language: the machine, and the metered work on values that closures call."""
