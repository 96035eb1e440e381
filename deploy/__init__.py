"""How Assent comes to an organisation's host: a bundle that needs no network, and an image for containers."""
