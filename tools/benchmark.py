"""``glean-plus benchmark``, for ``mim run glean_plus benchmark``."""

import sys

from glean_plus.cli import main as cli

main = cli.tool('benchmark')

if __name__ == '__main__':
    sys.exit(main())
