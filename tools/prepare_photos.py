"""``glean-plus photos``, for ``mim run glean_plus prepare_photos``."""

import sys

from glean_plus.cli import main as cli

main = cli.tool('photos')

if __name__ == '__main__':
    sys.exit(main())
