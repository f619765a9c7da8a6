"""``glean-plus web``, for ``mim run glean_plus web``."""

import sys

from glean_plus.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['web', *sys.argv[1:]]))
