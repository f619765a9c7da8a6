"""``python -m glean_plus`` is ``glean-plus``."""

import sys

from glean_plus.cli.main import main

if __name__ == '__main__':
    sys.exit(main())
