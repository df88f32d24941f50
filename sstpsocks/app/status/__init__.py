"""What a running sstpsocks tells about itself: the status page, JSON, an event stream, metrics and health."""
