"""``glean-plus peers``, for ``mim run glean_plus compare_peers``."""

import sys

from glean_plus.cli import main as cli

main = cli.tool('peers')

if __name__ == '__main__':
    sys.exit(main())
