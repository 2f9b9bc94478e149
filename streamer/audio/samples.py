"""What sound is between the model and the encoders."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
"""Mono sound, [num_samples], within [-1, 1]."""
