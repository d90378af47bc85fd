"""Online training through time (Xiao et al. 2022): backpropagation through layers at each step, traces through time.

    ΔW^l = -η Σ_t δ^l[t] x̄^l[t]ᵀ,    δ^l[t] = (W^{l+1}ᵀ δ^{l+1}[t]) ⊙ ψ(u^l[t] - v_th),    x̄[t] = λ x̄[t-1] + x[t]

trainer.update=accumulate is OTTT_A, online is OTTT_O. The paper normalises by weight standardisation
(architecture.norm=weight), because statistics over time are not known at a step.
"""

from __future__ import annotations

from torch import Tensor

from snnhll.rules.course import Course
from snnhll.rules.online import OnlineRule, Said


class OTTTRule(OnlineRule):
    """Spatial gradients of every step, with presynaptic traces."""

    def learn_step(self, x: Tensor, labels: Tensor, courses: list[Course], t: int) -> Said:
        for course in courses:
            x = course.send(course.step(x))
        return self.learn_readout_step(x, labels)
