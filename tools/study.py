"""``glean-plus study``, for ``mim run glean_plus study``."""

import sys

from glean_plus.cli import main as cli

main = cli.tool('study')

if __name__ == '__main__':
    sys.exit(main())
