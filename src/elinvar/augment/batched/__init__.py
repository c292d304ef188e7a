"""The back end for GPUs: each round of all chains in a few tensor operations, whatever the mixture of operations."""
