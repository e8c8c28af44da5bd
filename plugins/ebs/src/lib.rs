//! Provider on Amazon EBS.
