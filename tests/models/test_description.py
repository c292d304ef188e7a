"""What the manifest says is what the model holds."""

import json

from torch import nn

from elinvar.models import build, describe


def test_describes_a_named_model_as_json() -> None:
    model = build("wrn-40-2", classes=100, mean=(0.5,) * 3, std=(0.25,) * 3, seed=0)
    next(model.parameters()).requires_grad_(False)
    channels = sum(module.num_features for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    facts = describe(model).to_dict()
    assert json.loads(json.dumps(facts)) == facts
    assert facts == {
        "architecture": "elinvar.models.wide_resnet.WideResNet",
        "classes": 100,
        "parameters": 2_255_156,
        "trainable": 2_255_156 - 16 * 27,
        "buffers": 2 * channels + 37 + 6,  # mean and variance; one counter for each norm; mean and std of the input
        "normalization": {"BatchNorm2d": 37},
        "dtypes": ["float32"],
    }


def test_shared_weights_count_once_and_other_norms_are_seen() -> None:
    shared = nn.Linear(4, 4)
    facts = describe(nn.Sequential(shared, nn.LayerNorm(4), shared, nn.BatchNorm1d(4)).double())
    assert facts.parameters == 20 + 8 + 8
    assert facts.normalization == {"LayerNorm": 1, "BatchNorm1d": 1}
    assert facts.classes is None
    assert facts.dtypes == ("float64",)
