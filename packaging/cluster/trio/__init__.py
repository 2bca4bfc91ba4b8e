"""A Kuvert cluster on one machine: three PostgreSQL under Patroni, three etcd, and relays in front.

| module | holds |
|---|---|
| `layout` | what a cluster consists of, and where: names, ports, addresses, passwords, kept in `cluster.json` |
| `programs` | which programs are needed, and how they are found or installed |
| `network` | namespaces, a bridge, and cutting machines off, for tests |
| `processes` | starting, knowing again and ending processes |
| `keeper` | the process that starts the others and starts them again when they die |
| `group` | asking the group: who is primary, is it whole |
| `roles` | what each process is started with |
| `relays` | relays in front of the group |
| `faults` | what can go wrong, done on purpose |
| `hosts` | Patroni's configuration on real hosts |
| `rejoin` | a server that cannot catch up is made anew |
| `words` | what is said on stderr, and how a command ends |

Standard library of Python 3.11 only.
"""
