"""A program for each example: what will be done to it, drawn before anything is done.

    output = image + sum_i weights_i (chain_i(image) - image)

A chain is a row of operations with their parameters, run one after the other on uint8 pixels. Weights are those of the
chains; what is missing from a sum of 1 is the weight of the image itself. A program without weights is *pure*: it has
one chain, and its uint8 result is the output.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float32, Int32, Int64
from torch import Tensor

from ..check import InputError
from .ops import BY_CODE
from .seeds import SEEDS

SHOWN = 8


@dataclass(frozen=True, eq=False)
class Program:
    """Operations, parameters and weights for N examples: plain arrays that can be kept, printed and run again.

    ops      (N, chains, depth) codes of `OPS`; 0, the identity, fills chains that are shorter than depth
    args     (N, chains, depth, parameters) in the units of each operation: bits, degrees, pixels, factors
    weights  (N, chains), each at least 0, rows summing to at most 1; None for pure programs
    fill     value, or one value for each channel, of pixels that a warp fetches from outside the image
    """

    ops: Int32[Tensor, "n chains depth"]
    args: Float32[Tensor, "n chains depth parameters"]
    weights: Float32[Tensor, "n chains"] | None = None
    fill: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if self.ops.ndim != 3 or self.args.ndim != 4 or self.args.shape[:3] != self.ops.shape or not self.args.shape[3]:
            raise InputError(
                f"program: got ops {tuple(self.ops.shape)} and args {tuple(self.args.shape)}, "
                "expected (N, chains, depth) and (N, chains, depth, parameters)"
            )
        if self.weights is None and self.ops.shape[1] != 1:
            raise InputError(f"program: got {self.ops.shape[1]} chains without weights, expected one")
        if self.weights is not None and self.weights.shape != self.ops.shape[:2]:
            raise InputError(f"program: got weights {tuple(self.weights.shape)}, expected {tuple(self.ops.shape[:2])}")
        if not self.fill or not all(0 <= value <= 255 for value in self.fill):
            raise InputError(f"program: got fill {self.fill}, expected values in 0..255")

    @property
    def pure(self) -> bool:
        """Whether the output is the uint8 result of the one chain, not a mixture."""
        return self.weights is None

    def __len__(self) -> int:
        return len(self.ops)

    def __getitem__(self, rows: int | slice | Sequence[int] | Int64[Tensor, " rows"]) -> "Program":
        """The programs of some examples; one number gives a program of one row."""
        if isinstance(rows, int):
            rows = [range(len(self))[rows]]
        index = rows if isinstance(rows, slice | Tensor) else torch.tensor(list(rows), dtype=torch.int64)
        weights = None if self.weights is None else self.weights[index]
        return replace(self, ops=self.ops[index], args=self.args[index], weights=weights)

    def to(self, device: torch.device | str) -> "Program":
        """The same program with its arrays on `device`."""
        weights = None if self.weights is None else self.weights.to(device)
        return replace(self, ops=self.ops.to(device), args=self.args.to(device), weights=weights)

    def check(self) -> None:
        """Raise `InputError` unless operations are known, have all their parameters, and these are finite numbers.

        A seed is a whole number below 2**24: another would be cut to one of these.
        """
        if not self.ops.numel():
            return
        low, high = (int(value) for value in torch.aminmax(self.ops))
        if low < 0 or high >= len(BY_CODE):
            raise InputError(f"program: got operation codes {low} to {high}, known are 0 to {len(BY_CODE) - 1}")
        codes = self.ops.flatten().bincount().nonzero().flatten().tolist()
        needed = max(len(BY_CODE[code].parameters) for code in codes)
        if needed > self.args.shape[3]:
            raise InputError(
                f"program: got args for {self.args.shape[3]} parameters, expected {needed} for the operations in it"
            )
        if not bool(torch.isfinite(self.args).all()):
            raise InputError("program: got a parameter that is not a finite number")
        for code in codes:
            if "seed" in (names := BY_CODE[code].parameters):
                seeds = self.args[..., names.index("seed")][self.ops == code]
                if not bool(((seeds >= 0) & (seeds < SEEDS) & (seeds == seeds.floor())).all()):
                    raise InputError(
                        f"program: got a seed of {BY_CODE[code].name} outside of the whole numbers below 2**24"
                    )

    def describe(self, row: int) -> str:
        """The program of one example in words.

        >>> ops = torch.tensor([[[4, 2]]], dtype=torch.int32)
        >>> Program(ops, torch.tensor([[[[-8.0], [0.0]]]])).describe(0)
        'rotate(degrees=-8) > equalize'
        """
        chains = [
            " > ".join(
                _application(int(code), values.tolist()) for code, values in zip(codes, args, strict=True) if code
            )
            or "identity"
            for codes, args in zip(self.ops[row], self.args[row], strict=True)
        ]
        if self.weights is None:
            return chains[0]
        weights = self.weights[row].tolist()
        terms = [f"{1 - sum(weights):.3f} image"]
        terms += [f"{weight:.3f} [{chain}]" for weight, chain in zip(weights, chains, strict=True)]
        return " + ".join(terms)

    def __str__(self) -> str:
        lines = [f"{row}: {self.describe(row)}" for row in range(min(len(self), SHOWN))]
        if len(self) > SHOWN:
            lines.append(f"... and {len(self) - SHOWN} more")
        return "\n".join(lines) or "no examples"


def _application(code: int, values: list[float]) -> str:
    op = BY_CODE[code]
    # Whole numbers in full: a seed that lost digits would be another one.
    named = ", ".join(
        f"{name}={value:.9g}" if value.is_integer() else f"{name}={value:.4g}"
        for name, value in zip(op.parameters, values, strict=False)
    )
    return f"{op.name}({named})" if named else op.name


def concatenate(programs: Sequence[Program]) -> Program:
    """The programs one after the other; shorter chains are filled with the identity, missing chains weigh nothing.

    A pure program that meets a mixture becomes the mixture whose one chain has all the weight.
    """
    if not programs:
        raise InputError("concatenate: got no programs, expected at least one")
    if len({program.fill for program in programs}) > 1:
        raise InputError(f"concatenate: got fills {sorted({program.fill for program in programs})}, expected one")
    chains, depth, parameters = (
        max(sizes) for sizes in zip(*(program.args.shape[1:] for program in programs), strict=True)
    )
    mixture = any(not program.pure for program in programs)
    ops, args, weights = [], [], []
    for program in programs:
        missing = [have - got for have, got in zip((chains, depth, parameters), program.args.shape[1:], strict=True)]
        ops.append(torch.nn.functional.pad(program.ops, (0, missing[1], 0, missing[0])))
        args.append(torch.nn.functional.pad(program.args, (0, missing[2], 0, missing[1], 0, missing[0])))
        own = program.args.new_ones(len(program), 1) if program.weights is None else program.weights
        weights.append(torch.nn.functional.pad(own, (0, missing[0])))
    return Program(torch.cat(ops), torch.cat(args), torch.cat(weights) if mixture else None, programs[0].fill)
