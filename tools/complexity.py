"""``glean-plus complexity``, for ``mim run glean_plus complexity``."""

import sys

from glean_plus.cli import main as cli

main = cli.tool('complexity')

if __name__ == '__main__':
    sys.exit(main())
