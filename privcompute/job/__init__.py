"""One job at one agent: the state machine, its steps, and the computation in a worker thread."""
