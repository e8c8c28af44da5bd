//! The glob patterns that the `tree` capability skips by: `*` within a name, `**` for any number of directories.

/// Whether the path matches the pattern as a whole.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').collect();
    let path: Vec<&str> = path.split('/').collect();
    parts_match(&pattern, &path)
}

fn parts_match(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**", rest @ ..], _) => (0..=path.len()).any(|from| parts_match(rest, &path[from..])),
        ([first, pattern @ ..], [name, path @ ..]) => name_matches(first, name) && parts_match(pattern, path),
        _ => false,
    }
}

fn name_matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((literal, rest)) => name
            .strip_prefix(literal)
            .is_some_and(|tail| (0..=tail.len()).filter(|at| tail.is_char_boundary(*at)).any(|at| name_matches(rest, &tail[at..]))),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn matches_whole_paths_part_by_part() {
        for (pattern, path, expected) in [
            ("*", "a", true),
            ("*", "a/b", false),
            ("pg_wal/*", "pg_wal/0001", true),
            ("pg_wal/*", "pg_wal", false),
            ("pg_wal/*", "pg_wal/archive_status/x", false),
            ("**/pgsql_tmp*", "pgsql_tmp", true),
            ("**/pgsql_tmp*", "base/1/pgsql_tmp1.0", true),
            ("**/pgsql_tmp*", "base/pgsql", false),
            ("postmaster.pid", "postmaster.pid", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }
}
