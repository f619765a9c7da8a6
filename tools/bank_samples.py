"""``glean-plus samples``, for ``mim run glean_plus bank_samples``."""

import sys

from glean_plus.cli import main as cli

main = cli.tool('samples')

if __name__ == '__main__':
    sys.exit(main())
