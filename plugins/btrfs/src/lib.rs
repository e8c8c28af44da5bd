//! Provider on btrfs subvolumes.
