"""`python -m elinvar` is the program `elinvar`."""

import sys

from .cli.main import main

sys.exit(main())
