"""The protocols: replicated secret sharing among three parties, and private set intersection."""
