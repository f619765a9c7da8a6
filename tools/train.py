"""``glean-plus train``, for ``mim train``."""

import sys

from glean_plus.cli import main as cli

main = cli.tool('train')

if __name__ == '__main__':
    sys.exit(main())
