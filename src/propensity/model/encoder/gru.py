"""A recurrent network over the events, oldest first."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Gru(nn.Module):
    """The hidden state after the last event; a learned vector for a customer without history.

    Notes
    -----
    An exporter would unroll `nn.GRU` for one length. During export the same steps are computed by a scan, which keeps
    the length dynamic. Both need one event at least, hence one position of padding.
    """

    def __init__(self, width: int, layers: int = 1) -> None:
        super().__init__()
        self.gru = nn.GRU(width, width, num_layers=layers, batch_first=True)
        self.none = nn.Parameter(torch.zeros(width))

    def forward(self, event_BLD: Tensor, length_B: Tensor) -> Tensor:
        padded_BLD = nn.functional.pad(event_BLD, (0, 0, 0, 1))
        states_BLD = self._steps(padded_BLD) if torch.compiler.is_exporting() else self.gru(padded_BLD)[0]
        last_B = (length_B - 1).clamp(min=0)
        slot_B1D = last_B[:, None, None].expand(-1, 1, states_BLD.shape[2])
        state_BD = states_BLD.gather(1, slot_B1D).squeeze(1)
        return torch.where((length_B > 0)[:, None], state_BD, self.none)

    def _steps(self, states_BLD: Tensor) -> Tensor:
        """What `nn.GRU` computes, by its own weights."""
        from torch._higher_order_ops.scan import scan

        for layer in range(self.gru.num_layers):
            weights = [getattr(self.gru, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh")]
            biases = [getattr(self.gru, f"{name}_l{layer}") for name in ("bias_ih", "bias_hh")]
            gates_LBG = (states_BLD @ weights[0].T + biases[0]).transpose(0, 1).contiguous()

            def step(
                state: Tensor, gates: Tensor, w: Tensor = weights[1], b: Tensor = biases[1]
            ) -> tuple[Tensor, Tensor]:
                reset, update, new = gates.chunk(3, -1)
                reset_by, update_by, new_by = (state @ w.T + b).chunk(3, -1)
                fresh = (new + (reset + reset_by).sigmoid() * new_by).tanh()
                state = fresh + (update + update_by).sigmoid() * (state - fresh)
                return state, state.clone()

            start_BD = torch.zeros_like(states_BLD[:, 0])
            states_BLD = scan(step, start_BD, gates_LBG, dim=0)[1].transpose(0, 1)
        return states_BLD
