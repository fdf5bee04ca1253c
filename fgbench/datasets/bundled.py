"""Data sets that come with scikit-learn leave; they need no network, and so can stand in for others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fgbench.datasets.files import Fetch
from fgbench.datasets.torchvision_ops import load_torchvision
from fgbench.types import Samples

_LEVELS = 16  # a pixel of digits counts the dark ones of a 4×4 block


def digits(fetch: Fetch) -> Samples:
    """Return 1,797 handwritten digits: `inputs` uint8 [1797, 28, 28], enlarged from 8×8; ten classes."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return Samples(
        name="digits",
        title="Handwritten digits (8×8 enlarged to 28×28)",
        inputs=_enlarged(data.images),
        labels=data.target.astype(np.int64),
        class_names=tuple(str(digit) for digit in data.target_names),
        feature_names=(),
        part=None,
        files=(),
        homepage="https://archive.ics.uci.edu/dataset/80",
        licence="CC BY 4.0",
        citation="Alpaydin E, Kaynak C (1998). Optical Recognition of Handwritten Digits. "
        "UCI Machine Learning Repository. doi:10.24432/C50P49",
        note="The 1,797 images of upstream's test part that scikit-learn carries, as one pool.",
    )


def iris(fetch: Fetch) -> Samples:
    """Return 150 irises: `inputs` float32 [150, 4] in cm; three species."""
    from sklearn.datasets import load_iris

    data = load_iris()
    return Samples(
        name="iris",
        title="Iris flowers",
        inputs=data.data.astype(np.float32),
        labels=data.target.astype(np.int64),
        class_names=tuple(str(name) for name in data.target_names),
        feature_names=tuple(data.feature_names),
        part=None,
        files=(),
        homepage="https://archive.ics.uci.edu/dataset/53",
        licence="CC BY 4.0",
        citation="Fisher RA (1936). Iris. UCI Machine Learning Repository. doi:10.24432/C56C76",
        note="All 150 rows that scikit-learn carries, as one pool.",
    )


def _enlarged(images: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return images [N, 8, 8] of levels 0 to 16 as uint8 [N, 28, 28] from 0 to 255, bilinear in float64.

    float64 keeps a pixel from falling to either side of a rounding on another CPU.
    """
    import torch

    resize = load_torchvision().transforms.v2.Resize((28, 28))
    enlarged = resize(torch.from_numpy(images)[:, None] * (255 / _LEVELS))
    pixels: NDArray[np.uint8] = enlarged[:, 0].round().clamp(0, 255).to(torch.uint8).numpy()
    return pixels
