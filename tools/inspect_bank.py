"""``glean-plus inspect``, for ``mim run glean_plus inspect_bank``."""

import sys

from glean_plus.cli import main as cli

main = cli.tool('inspect')

if __name__ == '__main__':
    sys.exit(main())
