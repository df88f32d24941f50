"""``sstpsocks browser``: a web browser whose only way out is the tunnel."""
