"""``sstpsocks import``: profiles of other programs made into profiles of ours. One format per file."""
