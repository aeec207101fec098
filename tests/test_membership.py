"""Nobody can tell from the scores who was forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest
from membership import membership


@pytest.mark.long
def test_after_forget_and_retraining_the_erased_cannot_be_told_from_strangers(tmp_path: Path) -> None:
    attack = membership(tmp_path, settings=("trainer.max_epochs=80", "champion=network"))  # overfitted
    assert attack.erased > 250 and attack.strangers > 250
    assert attack.before > 0.6, "the attack works"
    assert attack.after <= 0.55, attack
