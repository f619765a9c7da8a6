"""What of MMEngine's log a console shows."""

from __future__ import annotations

import logging

# Beginnings of what the log file has and nobody needs to read during a run. None of them reports a lost result.
NOISE = (
    'Config:\n',  # which is in the work directory, too
    'Hooks will be executed in the following order',
    'Distributed training is not used, all SyncBatchNorm',
    'The prefix is not set in metric class',
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
)
# The same, but with a value first.
NOISE_WITHIN = ('\nSystem environment:', 'is not a meta file, simply parsed as meta information')


def is_needed(record: logging.LogRecord) -> bool:
    """Whether a message of a run is shown on the console."""
    text = record.getMessage()
    return not text.startswith(NOISE) and not any(part in text for part in NOISE_WITHIN)
