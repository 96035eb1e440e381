"""An owner's data: sources, registered datasets, commitments, results and the evidence log."""
