"""Who watches an evaluation."""


class Observer:
    """Watches an evaluation; this one looks away."""

    def begin(self, sets: int) -> None:
        """There are `sets` sets of images to predict."""

    def within(self, name: str, done: int, of: int) -> None:
        """A part of a large set is predicted."""

    def done(self, name: str) -> None:
        """One more is predicted."""
