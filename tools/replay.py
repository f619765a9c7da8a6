"""``glean-plus replay``, for ``mim run glean_plus replay``."""

import sys

from glean_plus.cli import main as cli

main = cli.tool('replay')

if __name__ == '__main__':
    sys.exit(main())
