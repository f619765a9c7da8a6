"""``glean-plus text``, for ``mim run glean_plus prepare_text``."""

import sys

from glean_plus.cli import main as cli

main = cli.tool('text')

if __name__ == '__main__':
    sys.exit(main())
