"""Ledger client: the one way in which commands, agents and audits ask a node, and prove what it answers."""
