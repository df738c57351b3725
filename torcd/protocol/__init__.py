"""The wire vocabulary: the only code that the daemon and the client share.

It knows nothing of storage, of actors or of how anything is shown. Whatever is defined here is a contract
with scripts and with older programs: fields are added, never renamed.
"""

PROTOCOL = 1
"""Major version of the protocol. A peer with another number is refused at `session.hello`."""
