"""``glean-plus publish``, for ``mim run glean_plus export_weights``."""

import sys

from glean_plus.cli import main as cli

main = cli.tool('publish')

if __name__ == '__main__':
    sys.exit(main())
