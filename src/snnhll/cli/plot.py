"""snnhll plot neuron=NAME [KEY=VALUE ...]      current, membrane potential and spikes of a neuron
snnhll plot encoding=NAME [KEY=VALUE ...]    a digit under a code: what it sends, what can be read back
snnhll plot surrogate=NAME [KEY=VALUE ...]   a surrogate derivative
snnhll plot neurons|patterns|encodings|surrogates   all of them on one page; patterns: those of Izhikevich's neuron

Values separated by commas make a panel each. Keys are those of a run: neuron.v_th, trainer.steps, data=mnist.

  --out FILE    .png, .svg or .pdf; default: OUTPUT_DIR/plots/NAME.png
  --image N     the test image that codes are drawn for; default 0

  snnhll plot neuron=izhikevich neuron.preset=chattering
  snnhll plot neuron=lif neuron.decay=0.5,0.9 --out lif.svg
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from snnhll.cli.eval import combinations
from snnhll.cli.flags import take_apart
from snnhll.config import Config, compose, options, settings, take_own
from snnhll.errors import UserError, nearest
from snnhll.results import make_folder

GROUPS = ("neuron", "encoding", "surrogate")
PAGES = ("neurons", "patterns", "encodings", "surrogates")
FORMATS = (".png", ".svg", ".pdf")
FLAGS = {"--out": "FILE", "--image": "N"}


def main(arguments: list[str]) -> int:
    """Draw what is asked for and print the path of the picture."""
    words, flags = take_apart("plot", arguments, FLAGS)
    own, words = take_own(words)
    group, name, panels = _panels(words, own)
    configs = [compose([*panel, *own]) for panel in panels]
    path = Path(flags.get("--out", f"{configs[0]['output_dir']}/plots/{name}.png"))
    if path.suffix not in FORMATS:
        raise UserError(f"--out {path}: expected a file that ends in {', '.join(FORMATS)}.")
    make_folder(path.parent)
    titles = [_title(panel, panels) for panel in panels]
    _draw(group, path, titles, configs, flags.get("--image", "0"))
    if path.suffix == ".png":
        _shrink(path)
    print(path)
    return 0


def _shrink(path: Path) -> None:
    """Keep a picture of a few lines in 64 colours: a third of the size, and no difference to the eye."""
    from PIL import Image

    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(64, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


def _panels(words: list[str], own: list[str]) -> tuple[str, str, list[list[str]]]:
    """Return the group that is drawn, the name of the picture and the overrides of each of its panels."""
    overrides = [word for word in words if "=" in word]
    pages = [word for word in words if "=" not in word]
    if unknown := next((page for page in pages if page not in PAGES), None):
        raise UserError(f"snnhll plot {unknown}: no such page.{nearest(unknown, PAGES)}")
    named = [override for override in overrides if override.partition("=")[0] in GROUPS]
    if len(pages) + len(named) != 1:
        raise UserError(f"snnhll plot needs one of neuron=, encoding=, surrogate=NAME, {', '.join(PAGES)}.")
    if named:
        group, _, name = named[0].partition("=")
        detail = "-".join(o.partition("=")[2] for o in overrides if o.startswith(f"{group}.") and "," not in o)
        return group, "-".join(filter(None, [name.replace(",", "-"), detail])), combinations(overrides)
    choices = [f"neuron=izhikevich neuron.preset={preset}" for preset in _presets()]
    if pages[0] != "patterns":
        left_out = ("frames",)  # of events, which an image has none of
        choices = [f"{pages[0][:-1]}={name}" for name in options(pages[0][:-1], own) if name not in left_out]
    group = "neuron" if pages[0] == "patterns" else pages[0][:-1]
    return group, pages[0], [[*choice.split(), *more] for choice in choices for more in combinations(overrides)]


def _presets() -> tuple[str, ...]:
    from snnhll.neurons.izhikevich import Preset

    return get_args(Preset)


def _title(panel: list[str], panels: list[list[str]]) -> str:
    """Return the values in which a panel differs from the others; all of them where it is alone."""
    own = [o for o in panel if len(panels) == 1 or any(o not in other for other in panels)]
    shown = [o.partition("=")[2] if o.partition("=")[0] in (*GROUPS, "neuron.preset") else o for o in own]
    return " ".join(shown).replace("_", " ")


def _draw(group: str, path: Path, titles: list[str], configs: list[Config], image: str) -> Path:
    from snnhll.assemble import option

    trust = settings(configs[0]).trust
    surrogates = [option(config, "surrogate", trust) for config in configs]
    if group == "surrogate":
        from snnhll.reports.surrogate_pictures import draw_surrogates

        return draw_surrogates(path, surrogates)
    if group == "neuron":
        from snnhll.reports.neuron_pictures import draw_neurons

        pairs = zip(configs, surrogates, strict=True)
        neurons = [option(config, "neuron", trust, surrogate=surrogate) for config, surrogate in pairs]
        return draw_neurons(path, [(title, neuron.record()) for title, neuron in zip(titles, neurons, strict=True)])
    import torch

    from snnhll.data import open_images
    from snnhll.data.pixels import to_unit
    from snnhll.data.splits import split_of
    from snnhll.reports.encoding_pictures import draw_encodings

    found = open_images(configs[0]["data"], trust)
    test = split_of(found.test_images, found.test_labels, torch.arange(len(found.test_labels)), torch.device("cpu"))
    if not image.isdigit() or int(image) >= len(test):
        raise UserError(f"--image {image}: expected the number of a test image, 0 to {len(test) - 1}.")
    (shown,) = next(test.read(torch.tensor([int(image)]), 1))
    codes = [(title, option(config, "encoding", trust)) for title, config in zip(titles, configs, strict=True)]
    return draw_encodings(path, to_unit(shown), codes, settings(configs[0]).trainer.steps)
