"""`elinvar evaluate`: judge runs, files of weights and importable models, clean, under shift and under attack."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from rich.progress import Progress

from ..check import InputError, unknown
from ..infer import DEFAULT, SUITES, black_box
from ..report import RunResult, attack_tables, doubts, headline, write_report
from ..report.grouping import by_recipe
from .attacking import add_attacks, plan
from .candidates import OUTPUTS, is_importable, is_weights
from .judging import Judged, SetsBar, Wanted, judged
from .options import (
    Parser,
    add_device,
    add_generator,
    add_precision,
    add_size,
    add_subset,
    add_verify,
    data_forms,
    generator,
    output_console,
    parser,
    precision,
    progress_console,
    say,
    tell,
    words,
    write_json,
)
from .progress import bar


def _parser() -> Parser:
    made = parser(
        "evaluate",
        "Judge models, clean, under corruptions at 5 severities and under attack: runs of elinvar, files of weights "
        "(--model says of what), or anything importable. Writes evaluation.json, predictions.safetensors, a file for "
        "each corruption and attack, and report.html into each run, or into OUT/NAME for other models; several get one "
        "report that compares them. The same command again goes on after an interruption.",
        "elinvar evaluate runs/standard-* runs/augmix-* --report compare.html; or: elinvar evaluate runs/standard-* "
        "runs/pgd-* --suites clean,attacks; or: elinvar evaluate weights.pt --model wrn-40-2 --data cifar10:DIR "
        "--corrupted CIFAR-10-C; or: elinvar evaluate torchvision.models:resnet50 --option weights=DEFAULT --data "
        "folder:DIR",
    )
    made.add_argument(
        "runs", type=str, nargs="+",
        help="directories that 'elinvar train' wrote, files of weights (.safetensors, .pt), or package.module:factory",
    )  # fmt: skip
    made.add_argument(
        "--suites",
        type=str,
        default=",".join(DEFAULT),
        help=f"any of {', '.join(SUITES)}; 'elinvar list suite' explains",
    )
    made.add_argument(
        "--data", type=str, default=None, help=f"another data set: {data_forms()}; default: that of the run"
    )
    add_size(made)
    add_subset(made)
    add_verify(made)
    made.add_argument(
        "--corrupted", type=str, default=None, metavar="DIR",
        help="corrupted images from files: CIFAR-10-C, CIFAR-100-C, ImageNet-C, or what 'elinvar corrupt' wrote; "
        "default: they are generated",
    )  # fmt: skip
    made.add_argument(
        "--perturbed", type=str, default=None, metavar="DIR",
        help="perturbation sequences from files: CIFAR-10-P or ImageNet-P; default: they are generated",
    )  # fmt: skip
    add_generator(made)
    made.add_argument("--report", type=str, default=None, help="where the report goes; default: report.html beside it")
    made.add_argument("--trust", action="store_true", help="let a run's recipe.yaml run code from outside of elinvar")
    made.add_argument("--fresh", action="store_true", help="predict again what an earlier evaluation has kept")
    made.add_argument(
        "--branch", action="append", type=str, default=[], metavar="BRANCH",
        help="runs with several branches of normalization: predict by this one, or by a mix, as main=0.5,aux=0.5, and "
        "write into RUN/branches; may be repeated; default: as the run's recipe says",
    )  # fmt: skip
    made.add_argument("--model", type=str, default=None, help="weights: their model, by name or package.module:factory")
    made.add_argument(
        "--weights-key", type=str, default=None, metavar="KEY",
        help="weights: under which key of the file they are, as model_ema or state_dict.student, if several fit",
    )  # fmt: skip
    made.add_argument(
        "--option", action="append", type=str, default=[], metavar="NAME=VALUE", help="an option of that model"
    )
    made.add_argument(
        "--mean", type=str, default=None, metavar="R,G,B",
        help="other models: subtracted from their images, which are in [0, 1]; default: the mean of the data set; "
        "0,0,0 and --std 1,1,1 for a model that standardizes its images itself",
    )  # fmt: skip
    made.add_argument(
        "--std", type=str, default=None, metavar="R,G,B", help="other models: what their images are then divided by"
    )
    made.add_argument(
        "--outputs", type=str, default="logits", metavar="KIND",
        help="other models: what they return, logits or probabilities, of which the logarithm is taken",
    )  # fmt: skip
    made.add_argument("--name", type=str, default=None, help="another model's name in the report")
    made.add_argument("--out", type=str, default="runs/evaluated", help="where other models' findings go")
    add_precision(made)
    add_device(made)
    add_attacks(made)
    return made


def run(arguments: Sequence[str]) -> int:
    """The verb."""
    options = _parser().parse_args(list(arguments))
    precision(options)  # a wrong one is refused before anything is read
    if options.outputs not in OUTPUTS:
        raise unknown("kind of outputs", options.outputs, OUTPUTS)
    _check_for_others(options)
    if options.name is not None and len(options.runs) > 1:
        raise InputError(f"--name: names one model, and {len(options.runs)} are given")
    suites = words(options.suites)
    _check_generated(options, suites)
    wanted = Wanted(options, suites, plan(options, suites), generator(options))
    console, done = progress_console(), list[Judged]()
    with bar(console) as progress:
        for source, branch in product(options.runs, options.branch or [None]):
            found = judged(source, wanted, progress, branch)
            if any(other.result.name == found.result.name and other.result.seed is None for other in done):
                raise InputError(f"two models are called {found.result.name}; judge them one by one, with --name")
            done.append(found)
            write_report(found.page, [found.result], samples=found.samples)
        results = [found.result for found in done]
        tell(note for found in done for note in found.notes)
        if wanted.plan is not None and len(done) > 1 and not options.no_black_box:
            by_recipe(results)  # what cannot stand in one table is refused before minutes are spent
            results = _black_boxes(done, wanted, progress)
    if options.report is not None:
        write_report(Path(options.report), results, samples=done[-1].samples)
    if options.json:
        write_json([item.evaluation.to_dict() for item in results])
    else:
        shown = output_console()
        for table in (headline(results), *attack_tables(results)):
            shown.print(table.to_rich())
            shown.print()
        for name, text in ((name, text) for name, texts in doubts(results) or () for text in texts):
            say(shown, f"{name} may hide gradients. {text}")
        say(console, f"report: {options.report or done[-1].page}")
    return 0


def _check_for_others(options: Any) -> None:
    """Raise `InputError` for options of other models where only runs are given, which have their own settings."""
    if any(is_weights(source) or is_importable(source) for source in options.runs):
        return
    given = [name for name in ("model", "option", "mean", "std", "weights_key") if getattr(options, name)]
    given += ["outputs"] if options.outputs != OUTPUTS[0] else []
    if given:
        option = given[0].replace("_", "-")
        raise InputError(f"--{option}: is for weights and importable models, and only runs are given")


def _check_generated(options: Any, suites: Sequence[str]) -> None:
    """Raise `InputError` for options of generated images where none are generated."""
    if options.corrupted is not None and options.frost_dir is not None:
        raise InputError("--frost-dir: is for images that are generated; the files of --corrupted have their frost")
    corrupted = {"corruptions", "extra"} & set(suites) and options.corrupted is None
    perturbed = "perturbations" in suites and options.perturbed is None
    asked = [f"--{name}" for name in ("constants", "flavour") if getattr(options, name) is not None]
    if asked and not (corrupted or perturbed):
        raise InputError(f"{asked[0]}: is for images that are generated; these suites and files generate none")


def _black_boxes(done: Sequence[Judged], wanted: Wanted, progress: Progress) -> list[RunResult]:
    """The results with what each model says about the images made for the others."""
    found = black_box(
        [item.entrant for item in done if item.entrant is not None], done[0].data, wanted.plan,
        observer=SetsBar(progress, "black boxes"), fresh=wanted.options.fresh,
    )  # fmt: skip
    results = [replace(item.result, evaluation=of) for item, of in zip(done, found, strict=True)]
    for item, result in zip(done, results, strict=True):
        write_report(item.page, [result], samples=item.samples)
    return results
