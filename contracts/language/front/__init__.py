"""The front end of the contract language: source text to IR, or to the reasons why it is refused."""
