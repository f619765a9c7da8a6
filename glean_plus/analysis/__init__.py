"""Measurements: complexity, benchmarks, ablations, inversion, studies, calibration of OOD scores."""
