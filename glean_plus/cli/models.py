"""List the models that have a name."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace) -> None:
    from glean_plus.inference.source import listing

    print(listing())
    print('Configs of your own: --model CONFIG.py --checkpoint FILE; a checkpoint of training: --model FILE.pth')
