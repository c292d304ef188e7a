"""How kernels see a batch: cut into pieces for threads, pixels that are only moved as whole numbers."""

import torch

# So many pixel values are a task for one thread: 64 color images of 32 x 32, one of 224 x 224.
PIECE = 64 * 3 * 32 * 32

# What is only moved is moved as whole numbers of its size, so that one kernel serves every type of that size.
AS_WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
