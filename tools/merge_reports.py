"""``glean-plus merge``, for ``mim run glean_plus merge_reports``."""

import sys

from glean_plus.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['merge', *sys.argv[1:]]))
