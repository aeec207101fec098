"""The style of the pictures of decisions, in the colour-blind safe palette of Okabe and Ito."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from propensity.errors import ConfigurationError

BLUE, ORANGE, GREEN, PINK, YELLOW, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
COLOURS = (BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, "#222222", "#8a8f98")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
INK = "#444444"


def draw(picture: Callable[[Any], None], path: Path) -> None:
    """Writes a picture as PNG.

    Parameters
    ----------
    picture : Callable[[Any], None]
        Draws into an empty Matplotlib figure.
    path : Path
        Of the PNG.

    Raises
    ------
    ConfigurationError
        If Matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise ConfigurationError("pictures need Matplotlib; pip install -c constraints.txt -e '.[picture]'") from None
    style: Any = {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#e3e5e8",
        "axes.axisbelow": True,
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "legend.frameon": False,
    }
    with rc_context(style):
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        FigureCanvasAgg(figure)
        picture(figure)
        figure.savefig(path, dpi=110, format="png", metadata={"Software": None})


def short(name: str, most: int = 24) -> str:
    """A name of at most so many characters.

    Examples
    --------
    >>> short("FRUIT - SHELF STABLE AND MORE", 12)
    'FRUIT - SHE…'
    """
    return name if len(name) <= most else name[: most - 1] + "…"
