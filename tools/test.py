"""``glean-plus test``, for ``mim test``."""

import sys

from glean_plus.cli import main as cli

main = cli.tool('test')

if __name__ == '__main__':
    sys.exit(main())
