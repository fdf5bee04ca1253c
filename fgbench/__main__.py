"""`python -m fgbench` is `fgbench`."""

import sys

from fgbench.cli import main

sys.exit(main())
