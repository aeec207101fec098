"""Linear recurrences with complex diagonal decay, solved in parallel. Complex numbers are pairs of real ones.

Legend: B customers, L steps, S units.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Complex(NamedTuple):
    """Real and imaginary parts."""

    real: Tensor
    imag: Tensor

    def times(self, other: Complex) -> Complex:
        """The product, element by element."""
        real = self.real * other.real - self.imag * other.imag
        return Complex(real, self.real * other.imag + self.imag * other.real)

    def plus(self, other: Complex) -> Complex:
        """The sum."""
        return Complex(self.real + other.real, self.imag + other.imag)

    def steps(self, at: slice) -> Complex:
        """Some of the steps, along the second dimension."""
        return Complex(self.real[:, at], self.imag[:, at])


def linear_scan(decay: Complex, value: Complex) -> Complex:
    """All states of state[l] = decay[l] * state[l - 1] + value[l], from a state of 0, in O(log L) parallel steps.

    Parameters
    ----------
    decay, value : Complex
        (B, L, S) each.

    Returns
    -------
    Complex
        (B, L, S).

    Notes
    -----
    Neighbouring steps are composed to one, which halves the recurrence; the states at the even steps follow from those
    at the odd ones. The work is O(L). Source: Blelloch, Prefix Sums and Their Applications, 1990. During an export the
    recurrence is computed step by step, which keeps L dynamic.

    Examples
    --------
    >>> one, zero = torch.ones(1, 3, 1), torch.zeros(1, 3, 1)
    >>> linear_scan(Complex(0.5 * one, zero), Complex(one, zero)).real.flatten().tolist()
    [1.0, 1.5, 1.75]
    """
    if torch.compiler.is_exporting():
        return _step_by_step(decay, value)
    length = value.real.shape[1]
    if length == 1:
        return value
    pairs = length // 2
    even, odd = slice(0, 2 * pairs, 2), slice(1, None, 2)
    decay_odd = decay.steps(odd)
    composed = decay_odd.times(value.steps(even)).plus(value.steps(odd))
    at_odd = linear_scan(decay_odd.times(decay.steps(even)), composed)
    before = at_odd.steps(slice(0, (length - 1) // 2))
    later = slice(2, None, 2)
    at_later = decay.steps(later).times(before).plus(value.steps(later))
    return Complex(*(_interleaved(*parts) for parts in zip(value.steps(slice(0, 1)), at_later, at_odd, strict=True)))


def _interleaved(first_B1S: Tensor, later_BES: Tensor, odd_BOS: Tensor) -> Tensor:
    """Steps 0, then 2, 4, ... and 1, 3, ..., in their order."""
    even_BES = torch.cat([first_B1S, later_BES], dim=1)
    pairs = odd_BOS.shape[1]
    whole = torch.stack([even_BES[:, :pairs], odd_BOS], dim=2).flatten(1, 2)
    return torch.cat([whole, even_BES[:, pairs:]], dim=1)


def sequential_scan(decay: Complex, value: Complex) -> Complex:
    """`linear_scan` by its definition, one step after the other."""
    state = Complex(torch.zeros_like(value.real[:, 0]), torch.zeros_like(value.imag[:, 0]))
    states = []
    for step in range(value.real.shape[1]):
        at = Complex(decay.real[:, step], decay.imag[:, step])
        state = at.times(state).plus(Complex(value.real[:, step], value.imag[:, step]))
        states.append(state)
    return Complex(*(torch.stack(parts, dim=1) for parts in zip(*states, strict=True)))


def _step_by_step(decay: Complex, value: Complex) -> Complex:
    """`linear_scan` as an operation that exporters know."""
    from torch._higher_order_ops.scan import scan

    units = value.real.shape[2]
    steps_LBX = torch.cat([*decay, *value], dim=-1).transpose(0, 1).contiguous()

    def step(state: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        decay_real, decay_imag, real, imag = at.split(units, dim=-1)
        state_real, state_imag = state.split(units, dim=-1)
        new_real = decay_real * state_real - decay_imag * state_imag + real
        new_imag = decay_real * state_imag + decay_imag * state_real + imag
        state = torch.cat([new_real, new_imag], dim=-1)
        return state, state.clone()

    start = torch.zeros_like(steps_LBX[0, :, : 2 * units])
    states_BLX = scan(step, start, steps_LBX, dim=0)[1].transpose(0, 1)
    return Complex(*states_BLX.split(units, dim=-1))
