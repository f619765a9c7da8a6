"""``glean-plus convert``, for ``mim run glean_plus convert_bank``."""

import sys

from glean_plus.cli import main as cli

main = cli.tool('convert')

if __name__ == '__main__':
    sys.exit(main())
