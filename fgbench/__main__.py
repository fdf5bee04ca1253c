"""`fgbench`, and `python -m fgbench`: the numerics are set before anything can import torch or NumPy."""

from __future__ import annotations

import gc
import os
import sys

from fgbench.numerics import NATIVE_COMMANDS, set_numerics


def main() -> int:
    """Set the numerics that the command wants, then run it; return its exit status."""
    set_numerics(os.environ, native=not NATIVE_COMMANDS.isdisjoint(sys.argv[1:2]))
    from fgbench import cli

    status = cli.main()
    gc.freeze()  # the process ends: to look for garbage once more would take the report half a second
    return status


if __name__ == "__main__":
    sys.exit(main())
