"""``glean-plus calibrate``, for ``mim run glean_plus calibrate``."""

import sys

from glean_plus.cli import main as cli

main = cli.tool('calibrate')

if __name__ == '__main__':
    sys.exit(main())
