"""Where the benchmarks run: namespaces without a way out, the servers and targets in them, and the peers.

::

    client namespace                          gateway namespace "lab-N"               target namespace
    the harness, the peers'    veth pair      sstpd, ocserv, sshd, the services       the same services
    clients, the programs   <------------->   (source, sink, echo) behind sstpd's  <------------------->
    that load and measure                     and ocserv's TUN devices                through impairment.py

namespaces.py puts the whole harness into the client namespace before anything else: no packet of it can leave. Every
case states *conditions* (conditions.py), and the rig (rig.py) makes them: a server with other options, a stage of
impairment. What a peer needs to know of them is a *place*: the addresses to use. peers.py starts the peers there, and
a case is handed a running one.
"""
