"""The page of ``glean-plus web`` and its HTTP API: upload images, restore them, compare, download.

``api`` has the routes, ``gate`` surrounds them with checks and headers, ``jobs`` is the queue, ``work`` does one
restoration, ``restorers`` holds the models, ``store`` the temporary files, ``settings`` the limits, ``server`` runs it.
The page is ``page.html``, ``page.css`` and ``page.js``, which use the API as other programs do.
"""
