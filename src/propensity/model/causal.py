"""The contract of causal encoders: a history is read once and answered for at any number of queries.

Legend: B customers, L tokens, Q queries, D width. Times are in days before one origin, the newest query's cutoff: the
age of a token there, and the `query` of a cutoff that lies so many days earlier.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from propensity.data.batch import Sizes
from propensity.errors import ConfigurationError

ITEMS, BASKETS = "items", "baskets"


class CausalEncoder(nn.Module, ABC):
    """An encoder in which a token depends on the tokens of its own and earlier days alone.

    Parameters
    ----------
    width : int
        D.
    tokens : str
        `items`: a token for each event; `baskets`: a token for each day with events. See
        `propensity.model.event_token`.

    Raises
    ------
    ConfigurationError
        For other tokens.

    Notes
    -----
    Only differences of times are read, and tokens hold no time that is relative to a cutoff. So the tokens of one pass
    serve all cutoffs: a query sees the tokens before its cutoff, and no token sees a query.
    """

    def __init__(self, width: int, tokens: str = ITEMS) -> None:
        super().__init__()
        if tokens not in (ITEMS, BASKETS):
            raise ConfigurationError(
                f"model.encoder.tokens={tokens} is no kind of token; choose one of: {ITEMS}, {BASKETS}"
            )
        self.tokens = tokens
        self.query = nn.Parameter(torch.randn(width) * 0.1)
        self.count = nn.Parameter(torch.zeros(width))

    def forward(self, event_BLD: Tensor, length_B: Tensor, age_BL: Tensor | None = None) -> Tensor:
        """The state of each customer after all of his tokens.

        Parameters
        ----------
        event_BLD : Tensor
            Tokens, oldest first.
        length_B : Tensor
            Number of tokens; later positions are padding.
        age_BL : Tensor, optional
            Days from each token to the cutoff; None: a day between two tokens.

        Returns
        -------
        Tensor
            (B, D).
        """
        if age_BL is None:
            position = torch.arange(event_BLD.shape[1], device=event_BLD.device)
            age_BL = (length_B[:, None] - position).clamp(min=0).to(event_BLD.dtype)
        query_B1 = torch.zeros_like(length_B[:, None]).to(age_BL.dtype)
        return self.at(event_BLD, age_BL, query_B1, length_B[:, None])[:, 0]

    def event_token(self, sizes: Sizes, width: int) -> nn.Module:
        """The layer that makes the tokens, `propensity.model.event_token.Tokens`, of the inputs."""
        from propensity.model.event_token import EventToken

        return EventToken(sizes, width, self.tokens)

    @abstractmethod
    def at(self, event_BLD: Tensor, age_BL: Tensor, query_BQ: Tensor, visible_BQ: Tensor) -> Tensor:
        """The state of each customer at each query.

        Parameters
        ----------
        event_BLD : Tensor
            Tokens, oldest first.
        age_BL : Tensor
            Days from each token to the origin.
        query_BQ : Tensor
            Days from each query to the origin.
        visible_BQ : Tensor
            Number of the first tokens that each query sees, whole days of them; see `visible_tokens`. Tokens that no
            query sees are padding.

        Returns
        -------
        Tensor
            (B, Q, D).
        """

    def query_tokens(self, visible_BQ: Tensor) -> Tensor:
        """What each query starts from: a learned vector, and the logarithm of the number of its tokens: (B, Q, D)."""
        return self.query + torch.log1p(visible_BQ.to(self.query.dtype))[..., None] * self.count


def visible_tokens(age_BL: Tensor, length_B: Tensor, query_BQ: Tensor, hidden_BQ: Tensor) -> Tensor:
    """How many of a customer's first tokens each query sees: (B, Q) int64.

    Parameters
    ----------
    age_BL, query_BQ : Tensor
        As in `CausalEncoder.at`. A token on the day of a query, or later, is not visible.
    length_B : Tensor
        Number of tokens.
    hidden_BQ : Tensor
        The most recent days before each query whose tokens are hidden as well; 0: none.

    Examples
    --------
    >>> age = torch.tensor([[30.0, 8.0, 8.0, 3.0, 0.0]])  # the last position is padding
    >>> visible_tokens(age, torch.tensor([4]), torch.tensor([[0.0, 3.0, 8.0]]), torch.zeros(1, 3)).tolist()
    [[4, 3, 1]]
    """
    real_BL = first_tokens(length_B, age_BL.shape[1])
    earlier_BQL = age_BL[:, None] > (query_BQ + hidden_BQ)[..., None]
    return (earlier_BQL & real_BL[:, None]).sum(-1)


def first_tokens(count: Tensor, size: int) -> Tensor:
    """Which of L tokens are among the first ones: (..., L) bool.

    Parameters
    ----------
    count : Tensor
        (...) numbers of first tokens.
    size : int
        L.
    """
    return torch.arange(size, device=count.device) < count[..., None]


def no_padding(event_BLD: Tensor, age_BL: Tensor, visible_BQ: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens and ages with zeros for padding, which may hold anything; and (B, L) whether a token is real."""
    real_BL = first_tokens(visible_BQ.amax(1), event_BLD.shape[1])
    return torch.where(real_BL[..., None], event_BLD, 0.0), torch.where(real_BL, age_BL, 0.0), real_BL
