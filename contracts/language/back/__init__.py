"""The back end of the contract language: IR to closures, each with the gas that is certain before it runs."""
