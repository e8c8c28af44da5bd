//! Tests on real storage systems.
