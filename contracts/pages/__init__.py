"""Pages: joint computations as Python source, and the plans that are traced from them."""
