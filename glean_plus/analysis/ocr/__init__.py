"""Benchmark of legibility: pages with their ground truth, restored by each entry, read by Tesseract."""
