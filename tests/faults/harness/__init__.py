"""What causes faults: a proxy before a server, a killer, holders of locks, a full disk, a clock that steps."""
