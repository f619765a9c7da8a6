"""The page of ``glean-plus web``: pictures are uploaded, restored by models that are here, and downloaded.

Gradio draws the page and keeps the queue; pictures go in and out by routes of our own (`routes`), through a temporary
store (`store`), so that nothing of Gradio's reads or names files. `gate` stands before both: it lets pass what the page
needs and nothing else. `accept` looks at headers before anything is decoded, `restorers` has the models, `work` does
one restoration, `page` and `result` are what is seen, `server` runs it, and `settings` are its limits.
"""
