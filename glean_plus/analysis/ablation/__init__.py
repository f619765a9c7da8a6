"""Ablations of a trained GLEAN (paper section 6), which show what its bank does."""

from glean_plus.analysis.ablation.data import SETS, Source, config_source, folder_source
from glean_plus.analysis.ablation.evaluator import FUSION_OFF, Inspector, View
from glean_plus.analysis.ablation.load import load_glean, own_image_bank
from glean_plus.analysis.ablation.run import Inspection, Settings, check_out
from glean_plus.analysis.ablation.switches import Switch, Walk, switches_of
from glean_plus.analysis.ablation.table import DISTANCES, Scores, Table
from glean_plus.analysis.errors import InspectionError

__all__ = [
    'DISTANCES', 'FUSION_OFF', 'Inspection', 'InspectionError', 'Inspector', 'SETS', 'Scores', 'Settings', 'Source',
    'Switch', 'Table', 'View', 'Walk', 'check_out', 'config_source', 'folder_source', 'load_glean',
    'own_image_bank', 'switches_of',
]  # fmt: skip
