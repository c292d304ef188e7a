"""The two passes over a batch, in closed form, compiled, and as tensor operations."""
