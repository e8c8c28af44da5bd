//! Provider on ZFS.
