"""A pretrained encoder: its file, and how it gets into a network."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from propensity.config import TrainConfig
from propensity.data.event_log import to_date, to_day
from propensity.data.vocabulary import Vocabulary
from propensity.errors import ConfigurationError, DataError, IntegrityError
from propensity.model.event_token import EventToken
from propensity.model.member import EnsembleMember
from propensity.model.offer_net import OfferNet
from propensity.training.storage import check_checkpoint, save_checkpoint

FILE, FORMAT = "pretrained.ckpt", 1
WAY_OUT = "pretrain again"
FREE = ("dropout",)  # settings of an encoder that may differ


@dataclass(frozen=True)
class Pretrained:
    """An encoder with its tokens and the embeddings of offers.

    Parameters
    ----------
    state : dict of str to Tensor
        Parameters by name: `encoder.`, `event_token.` and `offer.weight`.
    vocabulary : Vocabulary
        Whose codes the embeddings have.
    about : dict
        `end` (ISO date; the first day of which nothing was read), `width`, `encoder` (its settings), and the record of
        the pretraining.
    """

    state: dict[str, Tensor]
    vocabulary: Vocabulary
    about: dict[str, Any]

    def save(self, folder: Path) -> None:
        """Writes `folder/pretrained.ckpt` atomically."""
        content = {"format": FORMAT, "state": self.state, "vocabulary": self.vocabulary.state(), "about": self.about}
        save_checkpoint(content, folder / FILE)

    @classmethod
    def load(cls, folder: str | Path) -> Pretrained:
        """Reads what `save` wrote.

        Raises
        ------
        ConfigurationError
            If there is no such file.
        DamageError, IntegrityError, DataError
            If it is damaged, holds more than plain data, or is of another format.
        """
        path = Path(folder) / FILE
        if not path.is_file():
            raise ConfigurationError(
                f"no pretrained encoder at {path}; write one with propensity pretrain out={folder}"
            )
        check_checkpoint(path, WAY_OUT)
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            raise IntegrityError(f"{path} holds more than plain data and was not opened; {WAY_OUT}") from None
        except (RuntimeError, EOFError, OSError, ValueError) as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise DataError(f"{path} cannot be read ({reason}); {WAY_OUT}") from None
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise DataError(f"{path} is no pretrained encoder of format {FORMAT}; {WAY_OUT}")
        return cls(content["state"], Vocabulary.from_state(content["vocabulary"]), content["about"])


def pretrained_of(config: TrainConfig, first_unknown: int) -> Pretrained | None:
    """The encoder that `config.pretrained` names; None where a training starts from random weights.

    Parameters
    ----------
    config : of the training.
    first_unknown : the first day of which the search reads nothing, not even a label.

    Raises
    ------
    ConfigurationError
        If it was pretrained on later events, has another width or other settings, or there is another start already.
    """
    if config.pretrained is None:
        if config.frozen:
            raise ConfigurationError(
                "frozen=true keeps a pretrained encoder as it is; name one with pretrained=<folder>"
            )
        return None
    if config.warm is not None:
        raise ConfigurationError("pretrained and warm are two weights to start from; give one of them")
    found = Pretrained.load(config.pretrained)
    place, about = f"pretrained={config.pretrained}", found.about
    if to_day(about["end"]) > first_unknown:
        last = to_date(first_unknown)
        raise ConfigurationError(
            f"{place} read events up to {about['end']}, and this training validates on label windows from {last} on; "
            f"pretrain with data.end={last}, or train with a later data.end"
        )
    if about["width"] != (width := config.model.get("width", about["width"])):
        raise ConfigurationError(f"{place} is {about['width']} wide and model.width={width}; give one width to both")
    if changed := difference(about["encoder"], config.model.get("encoder")):
        raise ConfigurationError(f"{place} has another encoder: {changed}; give the same model/encoder to both")
    return found


def difference(earlier: Mapping[str, Any], now: Mapping[str, Any] | None) -> str:
    """The first setting in which two encoders differ, in words; empty without any. Their dropout may differ.

    >>> difference({"_target_": "a.Hstu", "heads": 2}, {"_target_": "a.Hstu", "heads": 4, "dropout": 0.3})
    'heads=2 there and heads=4 here'
    """
    if now is None:
        return f"{earlier['_target_']} there and none here"
    for name in dict.fromkeys([*earlier, *now]):
        if name not in FREE and earlier.get(name) != now.get(name):
            return f"{name}={earlier.get(name)} there and {name}={now.get(name)} here"
    return ""


@torch.no_grad()
def start_from_pretrained(model: OfferNet, found: Pretrained, vocabulary: Vocabulary, frozen: bool) -> None:
    """Gives the encoders of all members the pretrained weights.

    Parameters
    ----------
    model : whose encoders, tokens and embeddings of offers are overwritten.
    found : the pretrained encoder.
    vocabulary : of the model. Rows of embeddings are matched by name; those of other names stay as they are.
    frozen : whether encoder and tokens are not trained any further.
    """
    for member in model.members:
        assert isinstance(member, EnsembleMember) and member.encoder is not None and member.event_token is not None
        member.encoder.load_state_dict(_part(found.state, "encoder."))
        own, earlier = member.event_token, _part(found.state, "event_token.")
        assert isinstance(own, EventToken)
        for name in ("kind", "weekday", "number"):
            getattr(own, name).load_state_dict(_part(earlier, f"{name}."))
        copy_rows(own.channel, vocabulary.channels, earlier["channel.weight"], found.vocabulary.channels)
        places = {name: k for k, name in enumerate(found.vocabulary.items)}
        for k, (name, values) in enumerate(vocabulary.items.items()):
            if name in places:
                table = own.attribute[k]
                assert isinstance(table, nn.Embedding)
                weight = earlier[f"attribute.{places[name]}.weight"]
                copy_rows(table, values, weight, found.vocabulary.items[name])
        copy_rows(member.offer.name, vocabulary.offers, found.state["offer.weight"], found.vocabulary.offers)
        for parameter in (*member.encoder.parameters(), *own.parameters()):
            parameter.requires_grad_(not frozen)


def copy_rows(table: nn.Embedding, names: Sequence[str], weight: Tensor, earlier: Sequence[str]) -> None:
    """Copies the rows of the names that both have, and that of the unknown; name k has row k + 1."""
    place = {name: k + 1 for k, name in enumerate(earlier)}
    pairs = [(0, 0), *((k, place[name]) for k, name in enumerate(names, 1) if name in place)]
    own, other = zip(*pairs, strict=True)
    table.weight[list(own)] = weight[list(other)]


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The parameters whose names begin so, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
