"""Looking at a running program from outside: ``sstpsocks status`` and ``sstpsocks top``, clients of its status port."""
