"""``glean-plus fidelity``, for ``mim run glean_plus fidelity``."""

import sys

from glean_plus.cli import main as cli

main = cli.tool('fidelity')

if __name__ == '__main__':
    sys.exit(main())
