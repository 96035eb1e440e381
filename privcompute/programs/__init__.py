"""The programs that jobs may run, written against the engine port."""
