"""How well restored text can be read: pages with their ground truth, restored by each entry, read by Tesseract."""
