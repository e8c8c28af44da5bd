//! Copying a classic snapshot into a volume of its own, piece by piece.
//!
//! In pieces, so that progress is seen, and because a program has a deadline. The page cache is passed by: it is the server's. A
//! device that is not there is never made: `dd` would fill the machine's memory with a file in `/dev`, and call it a success.

use stillframe_sdk::command::Command;
use stillframe_sdk::{Error, Host, MemberState};

use crate::Config;
use crate::layout;
use crate::program::run;
use crate::report::LogicalVolume;
use crate::set::Inventory;

/// Bytes that `dd` moves at once.
const BLOCK_BYTES: u64 = 4 << 20;

/// Blocks of a piece: 4 GiB, which a disk of 20 MB/s copies within the policy's deadline.
const PIECE_BLOCKS: u64 = 1_024;

/// Copies, and makes sure that the snapshot was whole until the end.
pub(crate) fn copy<H: Host + Command>(
    host: &H,
    config: &Config,
    snapshot: &LogicalVolume,
    clone: &str,
    bytes: u64,
) -> Result<(), Error> {
    let (from, to) = (layout::device(&snapshot.group, &snapshot.name), layout::device(&snapshot.group, clone));
    let blocks = bytes.div_ceil(BLOCK_BYTES);
    let mut copied = 0;
    while copied < blocks {
        host.progress(copied * BLOCK_BYTES, Some(bytes), &format!("copying `{}`", snapshot.id()));
        run(host, "dd", &piece(&from, &to, copied))?;
        copied += PIECE_BLOCKS;
    }
    // What a snapshot shows that has run full meanwhile is an error on reading, and might be torn before.
    let inventory = Inventory::take(host, config)?;
    let now = inventory.volumes.iter().find(|volume| volume.uuid == snapshot.uuid);
    match now.map(|volume| inventory.state(volume)) {
        Some(MemberState::Ready) => Ok(()),
        Some(MemberState::Failed(reason)) => Err(Error::Internal(format!("while it was copied: {reason}"))),
        _ => Err(Error::Transient(format!("`{}` was gone before it was copied", snapshot.id()))),
    }
}

fn piece(from: &str, to: &str, done: u64) -> Vec<String> {
    vec![
        format!("if={from}"),
        format!("of={to}"),
        format!("skip={done}"),
        format!("seek={done}"),
        format!("count={PIECE_BLOCKS}"),
        "bs=4M".to_owned(),
        "iflag=direct,fullblock".to_owned(),
        "oflag=direct".to_owned(),
        "conv=nocreat,notrunc,fsync".to_owned(),
        "status=none".to_owned(),
    ]
}
