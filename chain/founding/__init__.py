"""Founding a chain between organisations that share nothing but files: cards, a draft, signatures; no IO."""
