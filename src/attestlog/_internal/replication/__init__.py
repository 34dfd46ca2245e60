"""The writer's side of replication: sends the log to its replicas, and says who holds how much of it.

`batches` cuts what is durable into shipments, `client` speaks to one replica,
`cursor` keeps what it answered, `sender` is the loop of one replica, and
`replicator` all of them and those who wait for them. It reads the log as
anybody does, and is told by the log only that there is more. What a replica
does with what it is sent is in `replica`.
"""

from attestlog._internal.replication.replicator import Replicator, Work

__all__ = ["Replicator", "Work"]
"""What the log needs of it."""
