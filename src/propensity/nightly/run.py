"""The nightly run: from `shop.yaml` and a date to the summary of the night."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from propensity import audit
from propensity.atomic import remove_left_overs, whole_file
from propensity.config import NightlyConfig
from propensity.errors import ConfigurationError, DataError, GateError, PropensityError
from propensity.nightly.journal import Journal
from propensity.nightly.lock import only_night
from propensity.nightly.meter import RECORD, Meter, times_of
from propensity.nightly.night import Night
from propensity.nightly.plan import STEPS, exit_problem
from propensity.nightly.registry import Registry
from propensity.nightly.shop import Shop, read_shop
from propensity.nightly.steps import run_steps
from propensity.nightly.summary import PAGE, SUMMARY, summary, write_summary
from propensity.trust import use_plugins

BEGIN, JOURNAL = "begin.json", "journal"


class Outcome(NamedTuple):
    """A night that is done.

    Attributes
    ----------
    summary : dict
        Content of summary.json.
    page : Path
        The page of the night.
    times : list of dict
        Wall time, CPU time and peak memory of the steps, of every attempt of the night.
    """

    summary: dict[str, Any]
    page: Path
    times: list[dict[str, Any]]

    def require(self) -> None:
        """Fail if somebody has to look at the night.

        Raises
        ------
        PropensityError
            With the exit code of the first problem.
        """
        found = self.summary["problems"]
        if not found:
            return
        kinds: dict[int, type[PropensityError]] = {2: ConfigurationError, 3: DataError}
        more = f" ({len(found)} problems, all in {self.page})" if len(found) > 1 else ""
        raise kinds.get(exit_problem(found), GateError)(
            f"the night of {self.summary['night']} is done, except: {found[0]['reason']}{more}"
        )


def nightly(cfg: NightlyConfig, say: Callable[[str], None]) -> Outcome:
    """Do what is left to do of a night.

    Parameters
    ----------
    cfg : NightlyConfig
        Composed configuration of conf/nightly.yaml.
    say : callable
        Receives messages about progress.

    Returns
    -------
    Outcome
        The summary; the same bytes when it is called again.

    Raises
    ------
    ConfigurationError
        If the settings are wrong, another nightly run is at work, or a later night has begun.
    DataError
        If there is no log, and no delivery to make one from.
    IntegrityError
        If the registry, the ledger, the log or the live model is not what was written.
    """
    file = Path(cfg.shop).resolve()
    shop, day = read_shop(cfg.shop), cfg.date or date.today().isoformat()
    # relative paths and conf/ are those of the shop, wherever cron starts
    with contextlib.chdir(file.parent), own_audit_log(shop.state), only_night(shop.state):
        remove_left_overs(shop.state)
        use_plugins(list(shop.plugins))
        place = shop.state / "nights" / day
        if (later := later_nights(shop.state, day)) and (place / SUMMARY).is_file():
            say(f"the night of {day} is done, and that of {later[-1]} has begun: nothing is done again")
            return outcome(shop, day)
        if later:
            raise ConfigurationError(
                f"the night of {day} was not done, and that of {later[-1]} has begun; give date={later[-1]} or later, "
                f"or remove {shop.state / 'nights' / later[-1]} if that date was a mistake"
            )
        registry = Registry(shop.state)
        registry.complete()
        if registry.live is not None:
            registry.require(registry.live)
        meter = Meter(shop.state / RECORD, day, [each.name for each in STEPS], say, cfg.progress == "json")
        night = Night(shop, file.parent, day, live_of(place, registry), meter.note)
        results, failures = run_steps(night, Journal(place / JOURNAL), meter)
        meter.begin(STEPS[-1].name, STEPS[-1].title)
        with meter.measured(STEPS[-1].name):
            write_summary(summary(night, results, failures), place)
    return outcome(shop, day)


def outcome(shop: Shop, day: str) -> Outcome:
    """The outcome of a night from its summary."""
    place = shop.state / "nights" / day
    return Outcome(json.loads((place / SUMMARY).read_text()), place / PAGE, times_of(shop.state / RECORD, day))


@contextlib.contextmanager
def own_audit_log(state: Path) -> Iterator[None]:
    """Write one audit log for the whole state folder, unless the environment names another."""
    if os.environ.get(audit.VARIABLE):
        yield
        return
    os.environ[audit.VARIABLE] = str(state / audit.FILE)
    try:
        yield
    finally:
        del os.environ[audit.VARIABLE]


def later_nights(state: Path, day: str) -> list[str]:
    """Nights after a day that have begun, in their order."""
    folder = state / "nights"
    names = [each.name for each in folder.iterdir() if each.is_dir()] if folder.is_dir() else []
    return sorted(name for name in names if name > day and not name.startswith("."))


def live_of(place: Path, registry: Registry) -> str | None:
    """The live model when the night first began: a later attempt of the night compares with the same."""
    file = place / BEGIN
    if file.is_file():
        live = json.loads(file.read_text())["live"]
        return None if live is None else str(live)
    with whole_file(file) as draft:
        draft.write_text(json.dumps({"live": registry.live}))
    return registry.live
