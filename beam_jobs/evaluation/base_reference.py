"""What rows in base space are compared with: the standard normal distribution, if the model's base is that.

The contract does not say what the base is. So the job draws from the model on some of the rows, brings the draws back
to base space, and looks: the standard normal distribution is the reference if it agrees with them, they themselves if
not.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from beam_jobs.evaluation.base_space import Values, normal_cdf, radius_cdf
from maf_serving.calibration import critical_distance

if TYPE_CHECKING:
    from beam_jobs.evaluation.base_space import BaseSpaceCounts

NORMAL = "standard normal"
BASE_DRAWS = "draws of the base"
NORMAL_ASSUMED = "standard normal, assumed"
# How often a standard normal base is taken for another by chance.
_FALSE_ALARMS = 1e-4


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BaseReference:
    """The distribution to compare with.

    Attributes:
      kind: `NORMAL`, where draws of the base agree with it; `BASE_DRAWS`, where they do not; `NORMAL_ASSUMED`, where
        the model cannot be drawn from.
      draws: how many draws of the base were looked at.
      ks_of_draws: their largest KS distance from the standard normal distribution, over dimensions and radius, or
        `None` without draws.
      z_cdf: at `z_edges`, `[D, edges]`.
      radius_cdf: at `radius_edges`.
    """

    kind: str
    draws: int
    ks_of_draws: float | None
    z_cdf: Values
    radius_cdf: Values

    def independent_rows(self, rows: int) -> float:
        """As how many rows beside an exact distribution they count: draws have noise of their own."""
        return rows * self.draws / (rows + self.draws) if self.kind == BASE_DRAWS else rows


def find_reference(draws: BaseSpaceCounts, dimensions: int) -> BaseReference:
    """The reference that draws of the model's base speak for."""
    normal_z = np.tile(normal_cdf(), (dimensions, 1))
    normal_radius = radius_cdf(dimensions)
    if not draws.rows:
        return BaseReference(kind=NORMAL_ASSUMED, draws=0, ks_of_draws=None, z_cdf=normal_z, radius_cdf=normal_radius)
    distance = max(
        float(np.abs(draws.z_cdf() - normal_z).max()), float(np.abs(draws.radius_cdf() - normal_radius).max())
    )
    normal = distance <= critical_distance(draws.rows, _FALSE_ALARMS / (dimensions + 1))
    return BaseReference(
        kind=NORMAL if normal else BASE_DRAWS,
        draws=draws.rows,
        ks_of_draws=distance,
        z_cdf=normal_z if normal else draws.z_cdf(),
        radius_cdf=normal_radius if normal else draws.radius_cdf(),
    )
