"""The console command: `propensity <verb> [settings]`.

A verb is a file of scripts/ together with its conf/<verb>.yaml; nothing else is listed anywhere. Words of a verb may be
joined by a dash or a space: `propensity export-customer` runs scripts/export_customer.py.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from propensity import __version__
from propensity.config import conf_folder, scripts_folder
from propensity.errors import ConfigurationError, PropensityError
from propensity.progress import VARIABLE, as_json

FIRST = ("init", "prepare", "train", "evaluate", "score", "decide", "export", "serve")  # the order of use; then others
SHORT = {  # verb -> setting that is given without its name
    "init": "out",
    "nightly": "shop",
    "registry_list": "shop",
    "registry_promote": "name",
    "registry_rollback": "shop",
}
HELP = """propensity <verb> --help shows the groups, settings and examples of a verb.
progress=json writes JSON lines about progress on stderr, for every verb."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the verb that the arguments name; ends the process with an exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if not words or words[0] in ("-h", "--help", "help"):
            print(overview())
        elif words[0] in ("-V", "--version"):
            print(f"propensity {__version__}")
        else:
            stem, rest = split(words, verbs())
            script, rest = scripts_folder() / f"{stem}.py", without_progress(stem, rest)
            # Lightning starts the further processes of a distributed training by sys.argv.
            sys.argv = [str(script), *(setting(stem, word) for word in rest)]
            loaded(script)()
    except PropensityError as error:
        print(f"propensity: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except BrokenPipeError:  # the reader of the output, such as head, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python writes when it exits
        raise SystemExit(1) from None
    except KeyboardInterrupt:  # before the command itself can say how it continues
        print("propensity: interrupted; nothing was started", file=sys.stderr)
        raise SystemExit(130) from None


def without_progress(stem: str, words: Sequence[str]) -> list[str]:
    """The words without `progress=text` or `progress=json`, which hold for every verb; the nightly run has its own.

    >>> without_progress("score", ["run=runs/demo", "progress=text"]), without_progress("nightly", ["progress=json"])
    (['run=runs/demo'], ['progress=json'])
    """
    chosen = [] if stem == "nightly" else [word for word in words if word.startswith("progress=")]
    if chosen:
        os.environ[VARIABLE] = chosen[-1].partition("=")[2]
        as_json()  # refuses another word
    return [word for word in words if word not in chosen]


def setting(stem: str, word: str) -> str:
    """A word of the command line as a setting; some verbs have one that is given without its name.

    >>> setting("init", "shop/"), setting("nightly", "shop.yaml"), setting("registry_promote", "2024-03-05-1f3a90b2")
    ('out=shop/', 'shop=shop.yaml', 'name=2024-03-05-1f3a90b2')
    """
    if "=" in word or word.startswith("-") or stem not in SHORT:
        return word
    name = "shop" if word.endswith((".yaml", ".yml")) and stem != "init" else SHORT[stem]
    return f"{name}={word}"


def verbs() -> list[str]:
    """Names of the files in scripts/, in the order of `--help`."""
    found = sorted(path.stem for path in scripts_folder().glob("[a-z]*.py"))
    return sorted(found, key=lambda stem: FIRST.index(stem) if stem in FIRST else len(FIRST))


def split(words: Sequence[str], known: Sequence[str]) -> tuple[str, list[str]]:
    """The verb that `words` begin with, and what follows it.

    >>> split(["export-customer", "log=x"], ["export", "export_customer"])
    ('export_customer', ['log=x'])
    >>> split(["registry", "list"], ["registry_list"])
    ('registry_list', [])
    """
    for size in (2, 1):
        stem = "_".join(words[:size]).replace("-", "_")
        if stem in known and not any("=" in word or word.startswith("-") for word in words[:size]):
            return stem, list(words[size:])
    nearest = max(known, key=lambda stem: difflib.SequenceMatcher(None, words[0], stem).ratio())
    raise ConfigurationError(
        f"there is no verb {words[0]!r}; did you mean propensity {spoken(nearest, known)}? --help lists all"
    )


def spoken(stem: str, known: Sequence[str]) -> str:
    """A verb as it is typed: two words where the first alone is none.

    >>> spoken("export_customer", ["export", "export_customer"]), spoken("registry_list", ["registry_list"])
    ('export-customer', 'registry list')
    """
    return stem.replace("_", "-" if stem.split("_")[0] in known else " ")


def overview() -> str:
    """The verbs with a line each: the header of conf/<verb>.yaml."""
    known = verbs()
    names = {stem: spoken(stem, known) for stem in known}
    width = max(map(len, names.values()))
    lines = [f"  {name:<{width}} {header(conf_folder() / f'{stem}.yaml')}" for stem, name in names.items()]
    return "\n".join(["propensity <verb> [settings]", "", *lines, "", HELP])


def header(path: Path) -> str:
    """What a verb does, in a line.

    >>> header(conf_folder() / "train.yaml").split()[0]
    'Trains'
    """
    return str(yaml.safe_load(path.read_text())["hydra"]["help"]["header"]).strip()


def loaded(path: Path) -> Callable[[], None]:
    """The `main` of a script."""
    spec = importlib.util.spec_from_file_location(f"propensity.scripts.{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Callable[[], None] = module.main
    return function


if __name__ == "__main__":
    # Else Lightning would start further processes as `python -m propensity.cli`, without the verb.
    __spec__ = None  # type: ignore[assignment]
    main()
