"""Micro-benchmarks: what one step of the data path costs, without sockets, TLS and other processes.

    pip install -e '.[bench]'
    pytest benchmarks/micro

Each figure is for one batch as the driver makes it: what fits a read of 32 KiB from the tunnel, or one write to it. The
head of the report says which build ran. To compare two builds, or two commits, save one and compare with it:

    pytest benchmarks/micro --benchmark-save before
    pytest benchmarks/micro --benchmark-compare
"""
