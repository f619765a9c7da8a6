"""Several models under one budget, several seeds, and one table with paired tests.

A study file (`definition`) names the rows. `runs` turns each row and seed into a run: a folder with a config of its own
and a fingerprint of what its result depends on. `worker` trains and tests one run in a process of its own,
`execute` starts those that are missing, `statistics` compares the rows image by image, `report` and `curves` write
what came out.
"""
