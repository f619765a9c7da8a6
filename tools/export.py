"""``glean-plus export``, for ``mim run glean_plus export``."""

import sys

from glean_plus.cli import main as cli

main = cli.tool('export')

if __name__ == '__main__':
    sys.exit(main())
