"""``python -m blazen.cli``: the command line where its script is not on the path."""

import sys

from blazen.cli import main

sys.exit(main())
