"""`python -m hflm`: the same as `hflm`."""

import sys

from hflm.cli.app import main

sys.exit(main())
