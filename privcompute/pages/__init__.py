"""Pages at the agents: a plan is evaluated on the engine port, and results are made of what is opened."""
