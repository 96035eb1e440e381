"""The contract language: `front` and `back` make a program of a source, and `run` is what it runs on."""
