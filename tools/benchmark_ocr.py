"""``glean-plus ocr``, for ``mim run glean_plus benchmark_ocr``."""

import sys

from glean_plus.cli import main as cli

main = cli.tool('ocr')

if __name__ == '__main__':
    sys.exit(main())
