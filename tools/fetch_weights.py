"""``glean-plus fetch``, for ``mim run glean_plus fetch_weights``."""

import sys

from glean_plus.cli import main as cli

main = cli.tool('fetch')

if __name__ == '__main__':
    sys.exit(main())
