//! A streaming standby, made as a backup tool would: a copy in backup mode. Works for every major version without client tools.

use std::fs;
use std::path::Path;

use super::{Cluster, builder, template};
use crate::{Account, ScratchDirectory};

pub(super) fn create(primary: &Cluster) -> Cluster {
    let account = Account::unprivileged();
    let major = primary.postgres.major;
    let scratch = ScratchDirectory::create();
    let data_directory = scratch.join("data");
    let (start, stop) = if major >= 15 {
        ("SELECT pg_backup_start('standby', true)", "SELECT labelfile FROM pg_backup_stop(false)")
    } else {
        ("SELECT pg_start_backup('standby', true, false)", "SELECT labelfile FROM pg_stop_backup(false, false)")
    };
    let session = primary.session();
    session.sql(start);
    template::copy_tree(&primary.data_directory, &data_directory);
    copy_what_lies_elsewhere(&data_directory, &scratch);
    let label = session.sql(stop)[0][0].clone().expect("a label");
    for left_over in ["postmaster.pid", "postmaster.opts"] {
        let _absent = fs::remove_file(data_directory.join(left_over));
    }
    account.write(&data_directory.join("backup_label"), label);
    let upstream = primary.conninfo();
    if major >= 12 {
        builder::append_settings(&data_directory, &[("primary_conninfo".to_owned(), upstream)]);
        account.write(&data_directory.join("standby.signal"), "");
    } else {
        let settings = format!("standby_mode = on\nrecovery_target_timeline = 'latest'\nprimary_conninfo = '{upstream}'\n");
        account.write(&data_directory.join("recovery.conf"), settings);
    }
    builder::append_settings(&data_directory, &[("hot_standby".to_owned(), "on".to_owned())]);
    Cluster::with_directory(scratch, data_directory, primary.postgres.clone())
}

/// Gives the copy a `pg_wal` and tablespaces of its own where those of the primary are links: two servers must not share them.
fn copy_what_lies_elsewhere(data_directory: &Path, scratch: &ScratchDirectory) {
    let tablespaces = fs::read_dir(data_directory.join("pg_tblspc")).expect("a copy of a data directory");
    let tablespaces = tablespaces.map(|entry| entry.expect("it can be read").path());
    for link in tablespaces.chain([data_directory.join("pg_wal")]).filter(|path| path.is_symlink()) {
        let own = scratch.join(link.file_name().expect("it has a name"));
        let target = fs::read_link(&link).expect("it is a link");
        template::copy_tree(&target, &own);
        fs::remove_file(&link).expect("it is a link of the copy");
        builder::link(&own, &link);
    }
}
