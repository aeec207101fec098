"""The chosen slots of a customer are the best of all sets that keep the caps."""

from __future__ import annotations

import numpy as np
import pytest

from propensity.kernel.contact_cap import EDGE, Calendar, choose, fits, make_workspace
from propensity.kernel.plan import day_of
from propensity.kernel.reference_contact_cap import choose_reference, keeps_caps


def random_calendar(seed: int, rolling: bool, clashing: bool, slots: int = 9, days: int = 12) -> Calendar:
    random = np.random.default_rng(seed)
    day = np.sort(random.integers(0, days, slots))
    clash = random.random((slots, slots)) < 0.25
    clash = (clash | clash.T) & ~np.eye(slots, dtype=bool)
    return Calendar(
        campaign=np.arange(slots),
        weight=np.ones(slots),
        start=np.searchsorted(day, np.arange(days + 1)).astype(np.int64),
        week=((np.arange(-EDGE, days + EDGE) + 100 + seed) // 7).astype(np.int64),
        clash=clash if clashing else np.zeros((0, 0), bool),
        day_cap=1 + seed % 2,
        week_cap=1 + seed % 3,
        rolling=rolling,
    )


@pytest.mark.parametrize("clashing", [False, True])
@pytest.mark.parametrize("rolling", [False, True])
@pytest.mark.parametrize("seed", range(15))
def test_the_chosen_set_is_the_best_of_all_sets(seed: int, rolling: bool, clashing: bool) -> None:
    calendar, random = random_calendar(seed, rolling, clashing), np.random.default_rng(seed + 100)
    workspace, picks = make_workspace(calendar), np.empty(calendar.campaign.size, np.int64)
    for promised in (0.0, 0.15):
        used = (random.random(calendar.week.size) < promised).astype(np.uint8)
        workspace.value[:] = random.normal(0.3, 1.0, workspace.value.size)
        best, _ = choose_reference(calendar, used, workspace.value)
        count, bound = choose(calendar, used, -0.5, workspace, picks)
        chosen = tuple(picks[:count].tolist())
        assert keeps_caps(calendar, used, chosen)
        assert workspace.value[list(chosen)].sum() == pytest.approx(best) == pytest.approx(bound)


@pytest.mark.parametrize("rolling", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_a_slot_fits_where_the_caps_are_kept_with_it(seed: int, rolling: bool) -> None:
    calendar, random = random_calendar(seed, rolling, seed % 2 == 0), np.random.default_rng(seed)
    day = day_of(calendar)
    for _ in range(40):
        used = (random.random(calendar.week.size) < 0.1).astype(np.uint8)
        chosen = tuple(sorted(random.choice(calendar.campaign.size, 3, replace=False).tolist()))
        if not keeps_caps(calendar, used, chosen):
            continue
        picks = np.array([*chosen, -1], np.int16)
        for slot in set(range(calendar.campaign.size)) - set(chosen):
            for without in range(-1, 3):
                kept = tuple(s for k, s in enumerate(chosen) if k != without)
                expected = keeps_caps(calendar, used, (*kept, slot))
                assert fits(calendar, used, picks, 3, without, slot, day) == expected


@pytest.mark.parametrize("rolling", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_a_campaign_on_several_days_is_taken_once_and_the_bound_holds(seed: int, rolling: bool) -> None:
    calendar, random = random_calendar(seed, rolling, False, slots=10), np.random.default_rng(seed)
    column = random.integers(0, 3, 10)
    clash = (column[:, None] == column) & ~np.eye(10, dtype=bool)
    calendar = calendar._replace(campaign=column, clash=clash)
    workspace, picks = make_workspace(calendar), np.empty(10, np.int64)
    used = np.zeros(calendar.week.size, np.uint8)
    workspace.value[:] = random.gamma(1.0, 1.0, 3)[column] * 0.99 ** day_of(calendar)
    best, _ = choose_reference(calendar, used, workspace.value)
    count, bound = choose(calendar, used, -0.5, workspace, picks)
    assert keeps_caps(calendar, used, tuple(picks[:count].tolist()))
    assert workspace.value[picks[:count]].sum() <= best + 1e-9 <= bound + 2e-9
