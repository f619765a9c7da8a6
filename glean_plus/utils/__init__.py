"""What all other folders use: files, locks, text, images as files, color, random state."""
