//! Each page that has something to be run is followed from its first block to its last.

use stillframe_tests::{Page, World, with_own_machine};

macro_rules! chapters {
    ($($name:ident: $page:literal,)*) => {
        /// Pages that are followed.
        pub(crate) const FOLLOWED: &[&str] = &[$($page),*];
        $(
            #[test]
            fn $name() {
                follow(concat!("chapters::", stringify!($name)), $page);
            }
        )*
    };
}

// A page with blocks has a line here: `contents` looks.
chapters! {
    about_this_book: "about-this-book.md",
    btrfs: "providers/btrfs.md",
    check: "check.md",
    cold_backups: "cold-backups.md",
    drill: "drill.md",
    ebs: "providers/ebs.md",
    encryption: "encryption.md",
    external_archive: "external-archive.md",
    grants: "grants.md",
    hardlink: "providers/hardlink.md",
    lvm: "providers/lvm.md",
    migrating_from_wal_g: "migrating-from-wal-g.md",
    object_stores: "object-stores.md",
    pitr: "pitr.md",
    quick_start: "quick-start.md",
    reconcile: "reconcile.md",
    recovery: "recovery.md",
    restore_points: "restore-points.md",
    retention: "retention.md",
    security: "security.md",
    session: "session.md",
    standby: "standby.md",
    traps: "traps.md",
    wal_archive: "wal-archive.md",
    wal_daemon: "wal-daemon.md",
    window: "window.md",
    writing_a_provider: "writing-a-provider.md",
    zfs: "providers/zfs.md",
}

#[track_caller]
fn follow(test: &str, name: &str) {
    let page = Page::open(name).unwrap_or_else(|error| panic!("{error}"));
    with_own_machine(test, || {
        let world = page.world.as_deref().unwrap_or_else(|| panic!("{name} does not say `<!-- world: … -->`"));
        println!("not as on a reader's machine: {:#?}", World::STAND_INS);
        let mut world = World::open(world);
        println!("--- the page itself ---");
        let report = world.reader.follow(&page).unwrap_or_else(|error| panic!("{error}"));
        println!("docs/{name}: {report}");
        assert_eq!(report.commands, page.prompts(), "{name}: every prompt was typed");
    });
}
