//! Tests that cannot mean anything on some versions, and why: each is counted as skipped there, and named.

use std::ops::RangeInclusive;

use super::plan::Test;

/// One such test.
#[derive(Debug)]
pub(crate) struct Exception {
    pub(crate) executable: &'static str,
    /// Or the beginning of it, which ends with `::`: a module.
    pub(crate) name: &'static str,
    /// The versions on which it runs.
    pub(crate) versions: RangeInclusive<u32>,
    pub(crate) why: &'static str,
}

const SEGMENTS_ARE_BUILT_IN: &str = "the size of a segment is an option of the compiler before 11, and the packages have 16 MiB";

const BOOK: &str = "the book is about the server that Debian 12 has, with the programs that Debian gives to it";

impl Exception {
    /// Whether it is about this test.
    pub(crate) fn is_about(&self, test: &Test) -> bool {
        let is_named = if self.name.ends_with("::") { test.name.starts_with(self.name) } else { test.name == self.name };
        test.executable == self.executable && is_named
    }
}

/// All of them.
pub(crate) const EXCEPTIONS: &[Exception] = &[
    Exception { executable: "harness", name: "segment_sizes_are_as_asked_for", versions: 11..=18, why: SEGMENTS_ARE_BUILT_IN },
    Exception {
        executable: "harness",
        name: "every_major_version_starts_and_says_its_version",
        versions: 15..=15,
        why: "it starts all versions by itself; here `the_version_under_test_starts_and_says_its_version` does",
    },
    Exception { executable: "book", name: "chapters::", versions: 15..=15, why: BOOK },
    Exception { executable: "book", name: "harness::", versions: 15..=15, why: BOOK },
    Exception {
        executable: "drill",
        name: "a_broken_page_in_the_snapshot_fails_the_drill_by_name_and_takes_the_proof_away",
        versions: 15..=15,
        why: "`pg_checksums` works with the data of its own version only, and the server packages from npm do not bring it",
    },
    Exception {
        executable: "odd_clusters",
        name: "a_cluster_of_64_mib_segments_is_restored",
        versions: 11..=18,
        why: SEGMENTS_ARE_BUILT_IN,
    },
    Exception {
        executable: "odd_clusters",
        name: "a_server_that_speaks_german_is_understood_by_its_codes",
        versions: 15..=15,
        why: "the server packages from npm bring no translated messages",
    },
    Exception {
        executable: "recovery",
        name: "a_server_that_somebody_has_paused_before_its_target_is_not_called_complete",
        versions: 12..=18,
        why: "before 12, a recovery reads its settings once, so that nobody can make it wait and then let it go to the pause",
    },
    Exception {
        executable: "snapshot_fetch",
        name: "a_cluster_with_small_segments_is_restored",
        versions: 11..=18,
        why: SEGMENTS_ARE_BUILT_IN,
    },
    Exception {
        executable: "window",
        name: "restore_points_transactions_and_the_last_commit_are_those_that_pg_waldump_reads",
        versions: 15..=15,
        why: "`pg_waldump` reads the WAL of its own version only, and the server packages from npm do not bring it",
    },
];
