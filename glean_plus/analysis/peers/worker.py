"""The process of one entry: loads it, then restores image after image.

Its one argument is JSON: ``runner``, ``scale``, ``threads`` and ``options``. Each line of the standard input is JSON,
the paths of an image and of its result as .npy files. It answers on the standard output with a line of JSON each.
"""

from __future__ import annotations

import importlib
import json
import signal
import sys
import time

import numpy as np

from glean_plus.analysis.errors import PeersError
from glean_plus.analysis.process import answers


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process ends this one
    stream = answers()
    order = json.loads(sys.argv[1])
    module, _, name = order['runner'].partition(':')
    try:
        load = getattr(importlib.import_module(module), name)
        runner = load(order['scale'], order['threads'], **order['options'])
        print(json.dumps(dict(parameters=runner.parameters)), file=stream)
        for line in sys.stdin:
            source, target = json.loads(line)
            image = np.load(source)
            begin = time.perf_counter()
            result = runner.restore(image)
            seconds = time.perf_counter() - begin
            np.save(target, result)
            print(json.dumps(dict(seconds=seconds)), file=stream)
    except (PeersError, ImportError) as error:
        print(json.dumps(dict(error=str(error))), file=stream)


if __name__ == '__main__':
    main()
