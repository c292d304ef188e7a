"""What an evaluation found so far, part by part in files of their own, so that an interrupted one goes on.

    predictions.safetensors           clean logits and targets
    evaluation/gaussian_noise.safetensors, ...      one file for each part

A part says in its header of what it was made: the model with its weights, the way of computing, the images. A file that
says something else, or is damaged, is made again; so one never reads what another model predicted.
"""

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .. import __version__
from ..files import replacing
from ..precision import Compute
from ..recipe import Infer

CLEAN = "clean"
Tensors = dict[str, Tensor]


def model_identity(model: nn.Module, infer: Infer, compute: Compute) -> str:
    """SHA-256 of everything that predictions depend on besides the images: structure, weights, branch, arithmetic."""
    digest = sha256(f"{model!r}\n{infer!r}\n{compute!r}\n".encode())
    for name, value in sorted(model.state_dict().items()):
        plain = value.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


class Parts:
    """Parts of one evaluation below `folder`; without a folder nothing is kept.

    identity  of the model, see `model_identity`
    fresh     make every part anew
    """

    def __init__(self, folder: Path | None = None, *, identity: str = "", fresh: bool = False) -> None:
        self.folder, self.identity, self.fresh = folder, identity, fresh

    def file(self, name: str) -> Path:
        """Where the part `name` is kept."""
        assert self.folder is not None
        return self.folder / ("predictions.safetensors" if name == CLEAN else f"evaluation/{name}.safetensors")

    def find(self, name: str, images: Mapping[str, Any]) -> Tensors | None:
        """The part `name` about `images`, if its file is there and may be read."""
        if self.folder is None or self.fresh:
            return None
        return _read(self.file(name), self._about(images))

    def _about(self, images: Mapping[str, Any]) -> str:
        return json.dumps({"elinvar": __version__, "model": self.identity, **images}, sort_keys=True)

    def get(self, name: str, images: Callable[[], Mapping[str, Any]], make: Callable[[], Tensors]) -> Tensors:
        """The part `name` about `images`, which says what they are: from its file, or made and kept there."""
        if self.folder is None:
            return make()
        said = images()
        found = self.find(name, said)
        if found is None:
            found = {key: value.detach().cpu().contiguous() for key, value in make().items()}
            with replacing(self.file(name)) as temporary:
                try:
                    save_file(found, temporary, metadata={"about": self._about(said)})
                except SafetensorError as error:
                    raise OSError(str(error)) from error
        return found


def _read(path: Path, about: str) -> Tensors | None:
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("about") != about:
                return None
            return {key: file.get_tensor(key) for key in list(file.keys())}
    except (OSError, SafetensorError):
        return None
