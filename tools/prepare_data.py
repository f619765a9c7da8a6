"""``glean-plus prepare``, for ``mim run glean_plus prepare_data``."""

import sys

from glean_plus.cli import main as cli

main = cli.tool('prepare')

if __name__ == '__main__':
    sys.exit(main())
