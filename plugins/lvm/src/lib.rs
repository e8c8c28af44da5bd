//! Provider on LVM, thin and classic.
