"""A flipped bit in any file of a log, a run or a bundle is found, or changes nothing that anyone reads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from propensity.checksum import FILE as CHECKSUMS
from propensity.checksum import unseal_folder
from propensity.data.event_log import EventLog
from propensity.data.own_log import events_by_group, require_own_log
from propensity.data.table_file import read_table
from propensity.errors import ConfigurationError, DamageError, DataError, IntegrityError
from propensity.scores import save_scores
from propensity.serving.batch import BatchConfig, score_bundle
from propensity.serving.bundle import open_bundle
from propensity.serving.damage import verify_all, verify_bundle, verify_log, verify_run
from propensity.serving.online import OnlineScorer
from propensity.serving.score import score
from propensity.training.checkpoint import FILE, load_trained
from random_log import random_log
from serving.exported import Exported

VERIFY = {"log": verify_log, "run": verify_run, "bundle": verify_bundle}


@pytest.fixture(scope="module")
def folders(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A log, a run with scores, and a bundle, that this module may damage."""
    place = tmp_path_factory.mktemp("damage")
    sources = {"log": exported.log, "run": exported.run, "bundle": exported.bundle}
    copies = {name: Path(shutil.copytree(folder, place / name)) for name, folder in sources.items()}
    score(copies["run"], exported.cutoff, copies["run"] / "scores.parquet", None, lambda text: None)
    for name, folder in copies.items():
        VERIFY[name](folder)
    return copies


def flipped(content: bytes, rng: np.random.Generator, bits: int) -> bytes:
    changed = bytearray(content)
    for place in rng.integers(len(changed) * 8, size=bits):
        changed[place // 8] ^= 1 << (place % 8)
    return bytes(changed)


def same(path: Path, before: bytes, after: bytes) -> bool:
    """Whether the bytes of a file mean the same: spaces of a JSON object, and around a digest."""
    if path.suffix == ".json":
        try:
            return bool(json.loads(before) == json.loads(after))
        except ValueError:
            return False
    return path.name == "manifest.sha256" and before.split() == after.split()


def flips(folders: dict[str, Path], number: int) -> Iterator[tuple[str, Path, int]]:
    """File after file of the three folders, with 1 to 4 bits to flip."""
    files = [(kind, path) for kind, folder in folders.items() for path in sorted(folder.rglob("*")) if path.is_file()]
    for k in range(number):
        yield (*files[k % len(files)], 1 + k // len(files) % 4)


def fuzz(folders: dict[str, Path], number: int) -> list[str]:
    """Files of which a flip was not found although it means something else."""
    rng, silent = np.random.default_rng(17), []
    for kind, path, bits in flips(folders, number):
        before = path.read_bytes()
        after = flipped(before, rng, bits)
        path.write_bytes(after)
        try:
            VERIFY[kind](folders[kind])
            if after != before and not same(path, before, after):
                silent.append(f"{path} {bits}")
        except IntegrityError as error:
            assert error.exit_code == 5 and path.name in str(error) and "\n" not in str(error)
        finally:
            path.write_bytes(before)
    return silent


def test_flips_in_every_file_are_found_or_mean_the_same(folders: dict[str, Path]) -> None:
    files = sum(path.is_file() for folder in folders.values() for path in folder.rglob("*"))
    assert fuzz(folders, max(files, 60)) == []


@pytest.mark.long
def test_a_thousand_flips_are_found_or_mean_the_same(folders: dict[str, Path]) -> None:
    assert fuzz(folders, 1000) == []


@pytest.mark.parametrize("kind", sorted(VERIFY))
def test_a_missing_file_is_named(folders: dict[str, Path], kind: str, tmp_path: Path) -> None:
    for path in sorted(folders[kind].rglob("*")):
        if path.is_file() and path.name != CHECKSUMS:
            path.rename(tmp_path / "aside")
            kinds = (IntegrityError, ConfigurationError) if path.name == "meta.json" else IntegrityError
            with pytest.raises(kinds, match=path.name if path.name != "meta.json" else "no event log"):
                VERIFY[kind](folders[kind])
            (tmp_path / "aside").rename(path)


def test_a_command_that_reads_a_damaged_file_refuses_it(
    folders: dict[str, Path], exported: Exported, tmp_path: Path
) -> None:
    log = Path(shutil.copytree(folders["log"], tmp_path / "log"))
    content = bytearray((log / "revenue.npy").read_bytes())
    content[-3] ^= 1  # a bit of an amount: still a number
    (log / "revenue.npy").write_bytes(content)
    EventLog.open(log)
    for bundle in (False, True):
        with pytest.raises(DamageError, match=r"log is damaged \(revenue.npy: its checksum is"):
            if bundle:
                config = BatchConfig(None, None, None)
                score_bundle(folders["bundle"], str(log), exported.cutoff, tmp_path / "out", config, lambda text: None)
            else:
                score(folders["run"], exported.cutoff, tmp_path / "s.parquet", str(log), lambda text: None)
    assert not (tmp_path / "s.parquet").exists()
    score(folders["run"], exported.cutoff, tmp_path / "s.parquet", str(log), lambda text: None, verify=False)


@pytest.mark.parametrize("sealed", [True, False])
def test_no_checkpoint_with_flipped_bits_is_loaded(folders: dict[str, Path], tmp_path: Path, sealed: bool) -> None:
    run, rng = Path(shutil.copytree(folders["run"], tmp_path / "run")), np.random.default_rng(3)
    if not sealed:
        unseal_folder(run)
    whole = (run / FILE).read_bytes()
    for bits in (1, 4) * 15:
        (run / FILE).write_bytes(flipped(whole, rng, bits))
        with pytest.raises((IntegrityError, DataError), match=FILE):
            load_trained(run)
    (run / FILE).write_bytes(whole)
    load_trained(run)


def test_an_older_checkpoint_is_compared_with_the_checksums_of_its_archive(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    import torch

    run = Path(shutil.copytree(folders["run"], tmp_path / "run"))
    unseal_folder(run)
    torch.save(torch.load(run / FILE, weights_only=True), run / FILE)
    load_trained(run)
    content = bytearray((run / FILE).read_bytes())
    name = max(load_trained(run).model.state_dict().values(), key=torch.Tensor.numel)
    place = content.index(name.numpy().tobytes()[:64])
    content[place + 3] ^= 64
    (run / FILE).write_bytes(content)
    with pytest.raises(DamageError, match="model.ckpt is damaged .*has another checksum"):
        load_trained(run)


def test_a_candidate_that_was_removed_is_missed(folders: dict[str, Path], tmp_path: Path) -> None:
    run = Path(shutil.copytree(folders["run"], tmp_path / "run"))
    (run / "config.yaml").unlink()
    with pytest.raises(DamageError, match=r"config.yaml is damaged \(it is missing\); train again"):
        load_trained(run)


def test_scores_keep_their_checksum_when_they_are_moved(folders: dict[str, Path], tmp_path: Path) -> None:
    frame = read_table(folders["run"] / "scores.parquet")
    moved = Path(shutil.copy(folders["run"] / "scores.parquet", tmp_path / "moved.parquet"))
    assert read_table(moved).equals(frame)
    whole, rng, found = moved.read_bytes(), np.random.default_rng(5), 0
    for bits in (1, 2, 4) * 20:
        moved.write_bytes(flipped(whole, rng, bits))
        try:
            assert read_table(moved).equals(frame), "a flip without effect, such as in a statistic"
        except (pl.exceptions.PolarsError, OSError, MemoryError, DamageError):
            found += 1
    assert found


def test_a_damaged_part_of_batch_scores_is_written_again(
    folders: dict[str, Path], exported: Exported, tmp_path: Path
) -> None:
    said: list[str] = []
    out, config = tmp_path / "scores", BatchConfig(None, None, None, part=60)
    arguments: Any = (folders["bundle"], str(folders["log"]), exported.cutoff, out, config, said.append)
    score_bundle(*arguments)
    part, whole = out / "part-00001.parquet", (out / "part-00001.parquet").read_bytes()
    verify_run(out)
    part.write_bytes(flipped(whole, np.random.default_rng(1), 1))
    with pytest.raises(DamageError, match=r"part-00001.parquet is damaged"):
        verify_run(out)
    score_bundle(*arguments)
    assert part.read_bytes() == whole and f"{part} is damaged; it is written again" in said
    verify_run(out)


def test_a_service_takes_the_log_of_its_market_only(exported: Exported, tmp_path: Path) -> None:
    bundle, log = open_bundle(exported.bundle), EventLog.open(exported.log)
    OnlineScorer(bundle, exported.log)
    with pytest.raises(ConfigurationError, match="other is not the event log that the bundle was trained on"):
        random_log(3).save(tmp_path / "other")
        OnlineScorer(bundle, tmp_path / "other")
    changed = log.meta | {"fingerprint": "0" * 16}
    require_own_log(exported.manifest, EventLog(**{**vars(log), "meta": changed}), "a continuation")
    record = exported.manifest["own_log"]
    groups = len(record["events"])
    assert sum(record["events"]) == sum(events_by_group(log, 10**6, groups)) - int((log.day >= _end(record)).sum())


def _end(record: dict[str, Any]) -> int:
    from propensity.data.event_log import to_day

    return to_day(record["before"])


def test_verify_needs_something_to_verify(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nothing to verify; give log="):
        list(verify_all(None, None, None))
    for kind, words in (("log", "no event log at"), ("run", "no run at"), ("bundle", "no bundle at")):
        with pytest.raises(ConfigurationError, match=words):
            VERIFY[kind](tmp_path / "nowhere")


def test_what_a_command_writes_into_a_run_gets_a_checksum(folders: dict[str, Path], tmp_path: Path) -> None:
    run = Path(shutil.copytree(folders["run"], tmp_path / "run"))
    (run / "note.txt").write_text("my own")
    assert verify_run(run).endswith("; 1 have no checksum: note.txt")
    from propensity.scores import load_scores

    save_scores(load_scores(run / "scores.parquet"), run / "others" / "scores.parquet")
    verify_run(run)
    (run / "others" / "scores.parquet").write_bytes(b"PAR1")
    with pytest.raises(DamageError, match=r"others/scores.parquet is damaged \(it has 4 bytes"):
        verify_run(run)
