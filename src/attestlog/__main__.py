"""`python -m attestlog`: the command line, where the script `attestlog` is not on the path."""

import sys

from attestlog._internal.cli import main

sys.exit(main())
