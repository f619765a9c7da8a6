"""Faces on the command line."""

from __future__ import annotations

import argparse
from typing import Any

# Each option of faces as argparse names it, and what it is of FaceRestorer's.
OPTIONS = {
    'detector': 'detector', 'enlarge': 'enlarge', 'only_center': 'only_center', 'min_face': 'min_size',
    'min_score': 'min_score', 'save_faces': 'keep_crops', 'background': 'background',
}  # fmt: skip


def add_face_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``glean-plus restore``; what is not given is None."""
    group = parser.add_argument_group('faces in a photo')
    group.add_argument('--faces', action='store_true',
                       help='find the faces, restore them by the model, and paste them into the enlarged photo')
    group.add_argument('--detector', metavar='NAME',
                       help="retinaface, mtcnn, or a file of RetinaFace's weights (default: auto, RetinaFace where its "
                            'weights are there, else MTCNN where it is installed)')
    group.add_argument('--background', metavar='MODEL', help='what enlarges the rest of the photo (default: bicubic)')
    group.add_argument('--enlarge', type=int, metavar='N', help='the photo N times (default: as the model does)')
    group.add_argument('--only-center', action='store_const', const=True, help='the face nearest to the middle alone')
    group.add_argument('--min-face', type=float, metavar='PIXELS', help='leave smaller faces (default: 10)')
    group.add_argument('--min-score', type=float, metavar='0..1',
                       help='leave what the detector is less sure of (default: 0.9)')
    group.add_argument('--save-faces', action='store_const', const=True,
                       help='write each face as it was cut out and as it was restored, too')


def given_options(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments of FaceRestorer, those that are given.

    Raises:
        RestoreError: On options of faces without ``--faces``, and on those that do nothing with it.
    """
    from glean_plus.inference.errors import RestoreError

    given = {name: getattr(args, name) for name in OPTIONS if getattr(args, name) is not None}
    if given and not args.faces:
        names = ', '.join(f'--{name.replace("_", "-")}' for name in given)
        raise RestoreError(f'Without --faces, {names} does nothing: give --faces as well.')
    if args.faces and args.report:
        raise RestoreError('A report is of whole images that one model made: leave --report or --faces out.')
    if args.faces and args.mode and not args.background:
        raise RestoreError(
            "Faces are brought to the model's size, so that --mode is of the background's model: leave it out, or give "
            '--background.'
        )
    return {OPTIONS[name]: value for name, value in given.items()}
