"""Speed and memory of our models beside MMagic's, in one run: each in a process of its own, taking turns."""
