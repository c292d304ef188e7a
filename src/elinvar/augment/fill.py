"""The value of pixels that come from outside of the image: one, or one for each channel."""

from ..check import InputError

Fill = int | tuple[int, ...]
GREY = 128


def fill_values(fill: Fill) -> tuple[int, ...]:
    """The fill as programs hold it.

    Raises `InputError` unless it is one, or several, of 0 to 255.
    """
    values = (fill,) if isinstance(fill, int) else tuple(fill)
    if not values or not all(0 <= value <= 255 for value in values):
        raise InputError(f"fill: got {fill}, expected a value in 0..255, or one for each channel")
    return values
