"""A straight line that is fitted to measurements as they arrive; pure Python."""

from __future__ import annotations

OUTLIER_FACTOR = 4.0
"""How many times the expected value a measurement may count for at most; whatever exceeds it was held up by something
else on the machine."""
PRIOR_WEIGHT = 0.02
"""Weight of the last slope against new measurements, in units of the variance of x: it decides the slope while x
hardly varies and the measurements say nothing about it."""


class OnlineLine:
    """Fits `y = intercept + slope * x` by least squares, in which recent measurements weigh most.

    The means of x, y, x² and xy are exponential moving averages with weight `ema_weight`, and

        slope = (covariance(x, y) + PRIOR_WEIGHT * last slope) / (variance(x) + PRIOR_WEIGHT)

    Neither term of the line may become negative. The first measurement alone cannot tell the terms apart; the
    slope's term is then taken to be the part `first_slope_share` of it.
    """

    def __init__(self, *, ema_weight: float, first_slope_share: float) -> None:
        self.is_known = False
        self.slope = 0.0
        self.mean_x = self.mean_y = 0.0
        self._mean_xx = self._mean_xy = 0.0
        self._ema_weight = ema_weight
        self._first_slope_share = first_slope_share

    @property
    def intercept(self) -> float:
        """The value at x = 0."""
        return self.mean_y - self.slope * self.mean_x

    def add(self, x: float, y: float) -> None:
        """Learn from one measurement; `x` must be above zero."""
        weight = self._ema_weight if self.is_known else 1.0
        self.mean_x += weight * (x - self.mean_x)
        self.mean_y += weight * (y - self.mean_y)
        self._mean_xx += weight * (x * x - self._mean_xx)
        self._mean_xy += weight * (x * y - self._mean_xy)
        prior = self.slope if self.is_known else self._first_slope_share * y / x
        variance = max(0.0, self._mean_xx - self.mean_x**2)
        covariance = self._mean_xy - self.mean_x * self.mean_y
        slope = (covariance + PRIOR_WEIGHT * prior) / (variance + PRIOR_WEIGHT)
        self.slope = min(max(0.0, slope), self.mean_y / self.mean_x)
        self.is_known = True
