"""Our restorers beside trained networks of others, and beside filters, on the same images."""
