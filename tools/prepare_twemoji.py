"""``glean-plus twemoji``, for ``mim run glean_plus prepare_twemoji``."""

import sys

from glean_plus.cli import main as cli

main = cli.tool('twemoji')

if __name__ == '__main__':
    sys.exit(main())
