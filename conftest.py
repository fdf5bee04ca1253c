"""The tests run on pinned numerics, as training does: this file is read before anything imports torch or NumPy."""

import os

from fgbench.numerics import set_numerics

set_numerics(os.environ, native=False)
