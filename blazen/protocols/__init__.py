"""What a backend can do, one module a capability. To have the methods is to have the capability."""
