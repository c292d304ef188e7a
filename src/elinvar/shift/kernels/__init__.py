"""The compiled back end: one function for each corruption, over a piece of a batch, one image at a time.

A kernel is named like its corruption and stands in the file of its group. It takes grey levels as float64
(n, c, h, w), the streams of the images if it is stochastic, what the corruption's `plan` returned, and writes grey
levels to `out`; it clips nothing, `corrupt` does. Import these modules late: they import numba.
"""
