"""``glean-plus invert``, for ``mim run glean_plus invert``."""

import sys

from glean_plus.cli import main as cli

main = cli.tool('invert')

if __name__ == '__main__':
    sys.exit(main())
