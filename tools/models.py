"""``glean-plus models``, for ``mim run glean_plus models``."""

import sys

from glean_plus.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['models', *sys.argv[1:]]))
