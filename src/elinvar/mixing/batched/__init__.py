"""The back end for GPUs, gradients and `torch.compile`: dense maps and one blend."""
