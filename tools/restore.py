"""``glean-plus restore``, for ``mim run glean_plus restore``."""

import sys

from glean_plus.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['restore', *sys.argv[1:]]))
