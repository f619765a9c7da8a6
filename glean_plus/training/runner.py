"""What a run prints."""

from __future__ import annotations

import logging
from typing import Any

from mmengine.logging import MMLogger
from mmengine.runner import Runner

from glean_plus.utils.logs import is_needed


class TerseRunner(Runner):
    """MMEngine's runner, whose console leaves out what ``is_needed`` does; the log file has everything."""

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler) and is_needed not in handler.filters:
                handler.addFilter(is_needed)
        return logger
