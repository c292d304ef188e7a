"""Whom to cite for a recipe: computed from the parts that it uses."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .recipe import Recipe


@dataclass(frozen=True)
class Source:
    """A work, as BibTeX wants it. `kind` is the entry type; `where` its venue field and value."""

    kind: str
    title: str
    author: str
    where: tuple[str, str]
    year: int

    def bibtex(self, key: str) -> str:
        """The entry under `key`."""
        rows = [("title", f"{{{self.title}}}"), ("author", self.author), self.where, ("year", str(self.year))]
        body = ",\n".join(f"  {name:<9} = {{{value}}}" for name, value in rows)
        return f"@{self.kind}{{{key},\n{body}\n}}"


SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        "hendrycks2020augmix": Source(
            "inproceedings",
            "AugMix: A Simple Data Processing Method to Improve Robustness and Uncertainty",
            "Hendrycks, Dan and Mu, Norman and Cubuk, Ekin D. and Zoph, Barret and Gilmer, Justin and "
            "Lakshminarayanan, Balaji",
            ("booktitle", "International Conference on Learning Representations"),
            2020,
        ),
        "merchant2020split": Source(
            "article",
            "Does Data Augmentation Benefit from Split BatchNorms?",
            "Merchant, Amil and Zoph, Barret and Cubuk, Ekin Dogus",
            ("journal", "arXiv:2010.07810"),
            2020,
        ),
        "wu2021rethinking": Source(
            "article",
            'Rethinking "Batch" in BatchNorm',
            "Wu, Yuxin and Johnson, Justin",
            ("journal", "arXiv:2105.07576"),
            2021,
        ),
        "ioffe2015batch": Source(
            "inproceedings",
            "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
            "Ioffe, Sergey and Szegedy, Christian",
            ("booktitle", "International Conference on Machine Learning"),
            2015,
        ),
        "summers2021understanding": Source(
            "phdthesis",
            "Understanding and Improving Deep Learning",
            "Summers, Cecilia",
            ("school", "University of Auckland"),
            2021,
        ),
        "zhang2018mixup": Source(
            "inproceedings",
            "mixup: Beyond Empirical Risk Minimization",
            "Zhang, Hongyi and Cisse, Moustapha and Dauphin, Yann N. and Lopez-Paz, David",
            ("booktitle", "International Conference on Learning Representations"),
            2018,
        ),
        "tokozume2018between": Source(
            "inproceedings",
            "Between-Class Learning for Image Classification",
            "Tokozume, Yuji and Ushiku, Yoshitaka and Harada, Tatsuya",
            ("booktitle", "IEEE/CVF Conference on Computer Vision and Pattern Recognition"),
            2018,
        ),
        "yun2019cutmix": Source(
            "inproceedings",
            "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features",
            "Yun, Sangdoo and Han, Dongyoon and Oh, Seong Joon and Chun, Sanghyuk and Choe, Junsuk and Yoo, Youngjoon",
            ("booktitle", "IEEE/CVF International Conference on Computer Vision"),
            2019,
        ),
        "cubuk2019autoaugment": Source(
            "inproceedings",
            "AutoAugment: Learning Augmentation Strategies from Data",
            "Cubuk, Ekin D. and Zoph, Barret and Mane, Dandelion and Vasudevan, Vijay and Le, Quoc V.",
            ("booktitle", "IEEE/CVF Conference on Computer Vision and Pattern Recognition"),
            2019,
        ),
        "cubuk2020randaugment": Source(
            "inproceedings",
            "RandAugment: Practical Automated Data Augmentation with a Reduced Search Space",
            "Cubuk, Ekin D. and Zoph, Barret and Shlens, Jonathon and Le, Quoc V.",
            ("booktitle", "IEEE/CVF Conference on Computer Vision and Pattern Recognition Workshops"),
            2020,
        ),
        "madry2018towards": Source(
            "inproceedings",
            "Towards Deep Learning Models Resistant to Adversarial Attacks",
            "Madry, Aleksander and Makelov, Aleksandar and Schmidt, Ludwig and Tsipras, Dimitris and Vladu, Adrian",
            ("booktitle", "International Conference on Learning Representations"),
            2018,
        ),
        "kannan2018adversarial": Source(
            "article",
            "Adversarial Logit Pairing",
            "Kannan, Harini and Kurakin, Alexey and Goodfellow, Ian",
            ("journal", "arXiv:1803.06373"),
            2018,
        ),
        "li2023a2aug": Source(
            "inproceedings",
            "A2-Aug: Adaptive Automated Data Augmentation",
            "Li, Lujun and Zhu, Zheng and Huang, Guan and Du, Dalong and Lu, Jiwen and Zhou, Jie and Gu, Qingyi",
            ("booktitle", "IEEE/CVF Conference on Computer Vision and Pattern Recognition Workshops"),
            2023,
        ),
        "szegedy2016rethinking": Source(
            "inproceedings",
            "Rethinking the Inception Architecture for Computer Vision",
            "Szegedy, Christian and Vanhoucke, Vincent and Ioffe, Sergey and Shlens, Jon and Wojna, Zbigniew",
            ("booktitle", "IEEE Conference on Computer Vision and Pattern Recognition"),
            2016,
        ),
        "devries2017cutout": Source(
            "article",
            "Improved Regularization of Convolutional Neural Networks with Cutout",
            "DeVries, Terrance and Taylor, Graham W.",
            ("journal", "arXiv:1708.04552"),
            2017,
        ),
        "zhong2020random": Source(
            "inproceedings",
            "Random Erasing Data Augmentation",
            "Zhong, Zhun and Zheng, Liang and Kang, Guoliang and Li, Shaozi and Yang, Yi",
            ("booktitle", "AAAI Conference on Artificial Intelligence"),
            2020,
        ),
        "lopes2019improving": Source(
            "article",
            "Improving Robustness Without Sacrificing Accuracy with Patch Gaussian Augmentation",
            "Lopes, Raphael Gontijo and Yin, Dong and Poole, Ben and Gilmer, Justin and Cubuk, Ekin D.",
            ("journal", "arXiv:1906.02611"),
            2019,
        ),
        "hendrycks2019benchmarking": Source(
            "inproceedings",
            "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations",
            "Hendrycks, Dan and Dietterich, Thomas",
            ("booktitle", "International Conference on Learning Representations"),
            2019,
        ),
        "zagoruyko2016wide": Source(
            "inproceedings",
            "Wide Residual Networks",
            "Zagoruyko, Sergey and Komodakis, Nikos",
            ("booktitle", "British Machine Vision Conference"),
            2016,
        ),
        "he2016deep": Source(
            "inproceedings",
            "Deep Residual Learning for Image Recognition",
            "He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian",
            ("booktitle", "IEEE Conference on Computer Vision and Pattern Recognition"),
            2016,
        ),
        "he2016identity": Source(
            "inproceedings",
            "Identity Mappings in Deep Residual Networks",
            "He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian",
            ("booktitle", "European Conference on Computer Vision"),
            2016,
        ),
        "loshchilov2017sgdr": Source(
            "inproceedings",
            "SGDR: Stochastic Gradient Descent with Warm Restarts",
            "Loshchilov, Ilya and Hutter, Frank",
            ("booktitle", "International Conference on Learning Representations"),
            2017,
        ),
        "sutskever2013importance": Source(
            "inproceedings",
            "On the Importance of Initialization and Momentum in Deep Learning",
            "Sutskever, Ilya and Martens, James and Dahl, George and Hinton, Geoffrey",
            ("booktitle", "International Conference on Machine Learning"),
            2013,
        ),
    }
)

# The thesis' own methods of mixing.
OF_THE_THESIS = (
    "HorizontalConcat",
    "MixedConcat",
    "NoisyMixup",
    "Random2x2",
    "RandomColumnInterval",
    "RandomColumns",
    "RandomElements",
    "RandomPixels",
    "RandomRowInterval",
    "RandomRows",
    "RandomSquare",
    "VHMixup",
    "VerticalConcat",
)

# Which works stand behind a settings class, by its name. A part that is not listed is common knowledge.
BEHIND: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "AugMix": ("hendrycks2020augmix",),
        "RandomChain": ("hendrycks2020augmix",),
        "AutoAugment": ("cubuk2019autoaugment",),
        "RandAugment": ("cubuk2020randaugment",),
        "Cutout": ("devries2017cutout",),
        "RandomErasing": ("zhong2020random",),
        "PatchGaussian": ("lopes2019improving",),
        "PatchUniform": ("lopes2019improving", "hendrycks2020augmix"),
        "Mixup": ("zhang2018mixup",),
        "CutMix": ("yun2019cutmix",),
        "BCPlus": ("tokozume2018between",),
        "VHBCPlus": ("summers2021understanding", "tokozume2018between"),
        **dict.fromkeys(OF_THE_THESIS, ("summers2021understanding",)),
        "Consistency": ("hendrycks2020augmix",),
        "SmoothTargets": ("szegedy2016rethinking",),
        "LogitSqueezing": ("kannan2018adversarial",),
        "CleanLogitPairing": ("kannan2018adversarial",),
        "AdversarialLogitPairing": ("kannan2018adversarial",),
        "AdaptiveEnsemble": ("li2023a2aug",),
        "DecoupledPairing": ("summers2021understanding",),
        "Adversarial": ("madry2018towards",),
        "NormPolicy": ("ioffe2015batch",),
        "PerBranch": ("merchant2020split",),
        "PerView": ("wu2021rethinking",),
        "Cosine": ("loshchilov2017sgdr",),
        "Sgd": ("sutskever2013importance",),
    }
)
BEHIND_MODEL: Mapping[str, str] = MappingProxyType(
    {"wrn": "zagoruyko2016wide", "resnet": "he2016deep", "preact-resnet": "he2016identity"}
)
JUDGED_BY = "hendrycks2019benchmarking"


def behind(recipe: Recipe) -> Iterator[str]:
    """Keys into `SOURCES` for everything in `recipe`, and for the corruptions that judge it; each once."""
    keys = [key for part in recipe.parts() for key in BEHIND.get(type(part).__name__, ())]
    keys += [key for prefix, key in BEHIND_MODEL.items() if recipe.model.name.startswith(f"{prefix}-")]
    yield from dict.fromkeys([*keys, JUDGED_BY])


def cite(recipe: Recipe) -> str:
    """BibTeX entries for what `recipe` uses."""
    return "\n\n".join(SOURCES[key].bibtex(key) for key in behind(recipe))
