//! Reading what `zfs allow` prints.

use super::{BACKUP, missing};

const PRINTED: &str = "\
---- Permissions on tank/pg ------------------------------------------
Permission sets:
\t@keep hold,release
Local permissions:
\tuser postgres snapshot
Local+Descendent permissions:
\tuser postgres @keep,destroy
\tuser backup snapshot
\teveryone mount
---- Permissions on tank ---------------------------------------------
Local permissions:
\tuser postgres userprop
Descendent permissions:
\tgroup dba userprop
";

#[test]
fn sets_everybody_and_parents_count_and_the_parents_own_rights_do_not() {
    assert_eq!(missing(PRINTED, "tank/pg", BACKUP), Vec::<&str>::new());
    let without_descendents = PRINTED.replace("Descendent permissions:\n\tgroup", "Local permissions:\n\tgroup");
    assert_eq!(missing(&without_descendents, "tank/pg", BACKUP), ["userprop"]);
}

#[test]
fn nothing_delegated_is_everything_missing() {
    assert_eq!(missing("", "tank/pg", BACKUP), BACKUP);
    assert_eq!(missing("strange\n\tuser\n\tuser a\n", "tank/pg", BACKUP), BACKUP);
}

#[test]
fn local_rights_on_a_child_are_no_rights_here() {
    let printed =
        "---- Permissions on tank/pg ---\nDescendent permissions:\n\tuser postgres destroy,hold,mount,release,snapshot,userprop\n";
    assert_eq!(missing(printed, "tank/pg", BACKUP), BACKUP);
    assert_eq!(missing(printed, "tank/pg/ts", BACKUP), Vec::<&str>::new());
}
