"""The back end for CPUs: compiled loops that walk one image at a time through its program while it is in the cache.

Pixels of an image are one flat uint8 array, channel after channel, row after row. Loops write whole blocks of `BLOCK`
pixels, past the end of a row where it does not divide them: the next row, or the padding of the buffer, takes what is
too much. This is what lets rows as short as 32 pixels run in vector registers.
"""
