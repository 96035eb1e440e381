"""The TLS links between agents: the listening port, connecting, frames, rounds and deadlines."""
