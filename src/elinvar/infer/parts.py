"""What an evaluation found so far, part by part in files of their own, so that an interrupted one goes on.

    predictions.safetensors           clean logits and targets
    evaluation/gaussian_noise.safetensors, ...      one file for each part
    evaluation/few.safetensors        logits of a few images, which are predicted anew at each evaluation

A part says in its header of what it was made: the model with its weights and code, the way of computing, the images,
and what the model says about a few of them. A file that says something else, or is damaged, is made again; so one never
reads what another model predicted.
"""

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .. import __version__
from ..files import replacing

CLEAN = "clean"
FEW = "few"
Tensors = dict[str, Tensor]


class Parts:
    """Parts of one evaluation below `folder`; without a folder nothing is kept.

    identity  of the model, see `identity.model_identity`
    fresh     make every part anew
    """

    def __init__(self, folder: Path | None = None, *, identity: str = "", fresh: bool = False) -> None:
        self.folder, self.identity, self.fresh = folder, identity, fresh

    def confirm(self, images: Mapping[str, Any], anew: Tensor, same: Callable[[Tensor, Tensor], bool]) -> None:
        """Count what is kept only if the logits `anew` of a few images are the `same` as those that are kept with it.

        Otherwise they are kept in their place, and every part is made anew: from now on its header names them.
        """
        if self.folder is None:
            return
        found = _read(self.file(FEW), self._about(images))
        if found is None or not same(found["logits"], anew):
            found = self._write(FEW, images, {"logits": anew})
        self.identity += f" {sha256(found['logits'].numpy().tobytes()).hexdigest()}"

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
        return self._write(name, said, make()) if found is None else found

    def _write(self, name: str, images: Mapping[str, Any], tensors: Tensors) -> Tensors:
        plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        with replacing(self.file(name)) as temporary:
            try:
                save_file(plain, temporary, metadata={"about": self._about(images)})
            except SafetensorError as error:
                raise OSError(str(error)) from error
        return plain


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
