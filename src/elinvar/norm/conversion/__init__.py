"""A model's layers become `Norm`, and become again what they were; frozen, fused, read from other checkpoints."""
