//! The short tests, which every change must pass on every version: one list, in one place.
//!
//! They are what a version can do otherwise: the session of a backup and its rights, the label and the seal, the settings of a
//! recovery, the archive, the records of WAL, standbys, the control file, and odd names and paths.

/// Executable and name of each; a name that nothing bears stops every run.
pub(crate) const SHORT: &[(&str, &str)] = &[
    ("harness", "the_version_under_test_starts_and_says_its_version"),
    ("snapshot_push", "backups_with_every_option_are_listed"),
    ("snapshot_push", "a_role_without_rights_is_told_which_grants_it_needs_and_they_suffice"),
    ("snapshot_push", "a_push_whose_connection_dies_leaves_no_backup_mode_no_sentinel_and_no_snapshot"),
    ("snapshot_push", "a_killed_push_leaves_no_backup_mode_and_no_snapshot_without_an_intent"),
    ("snapshot_push", "a_standby_is_backed_up_when_its_primary_can_be_asked_to_switch"),
    ("snapshot_fetch", "after_a_point_in_time_recovery_no_row_from_after_the_target_appears"),
    ("snapshot_fetch", "label_and_map_are_restored_byte_for_byte_and_two_tablespaces_survive"),
    // The seal.
    ("snapshot_fetch", "a_restored_copy_without_its_label_cannot_start"),
    ("snapshot_fetch", "what_the_operator_mounted_is_prepared_in_place"),
    ("recovery", "what_the_old_server_had_not_archived_is_replayed_up_to_its_last_commit_and_stays_where_it_was"),
    ("recovery", "a_locked_out_server_admits_the_operator_only_until_the_recovery_is_accepted"),
    ("recovery", "a_recovery_is_called_complete_only_at_its_target"),
    ("recovery", "after_three_recoveries_in_a_row_each_choice_of_a_timeline_leads_to_its_own_branch"),
    ("wal", "a_segment_comes_back_byte_for_byte_and_is_never_overwritten"),
    ("wal", "recovery_does_not_end_early_when_the_archive_cannot_be_read"),
    ("check", "a_cluster_with_a_backup_is_well_in_every_part_and_a_segment_makes_the_round_trip"),
    ("drill", "backups_of_old_and_new_versions_are_proven_by_servers_of_their_own"),
    ("window", "restore_points_and_prepared_transactions_are_found_in_the_wal_of_the_oldest_and_the_newest_version"),
    ("archive_guard", "a_standby_that_archives_always_is_not_blocked_between_promotion_and_checkpoint"),
    ("odd_clusters", "spaces_and_quotes_in_every_path_and_name_survive_a_point_in_time_recovery"),
    ("odd_clusters", "tablespaces_in_places_with_spaces_are_restored_to_others_with_spaces"),
    ("odd_clusters", "paths_of_more_than_300_bytes_survive_a_point_in_time_recovery"),
    ("odd_clusters", "databases_of_other_encodings_and_names_beside_each_other_are_restored"),
    ("odd_clusters", "unlogged_tables_are_empty_and_usable_after_a_restore"),
];
