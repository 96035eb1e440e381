"""Multi-party computation: secret sharing over a ring, the engine port, and its engines."""
