//! Restoring a set: a new volume for each snapshot, attached to this instance and mounted.
//!
//! Volumes carry the token of the restore, so that a repeated request goes on with them and `release` finds them, wherever the
//! provider was killed. Nothing is mounted before EC2 has said that the volume was made from the set's snapshot. A failure takes
//! everything back.

mod attach;
mod plan;
mod volume;

use stillframe_sdk::aws::Aws;
use stillframe_sdk::command::Command;
use stillframe_sdk::{Error, Host, Level, RestoreRequest, Restored, RestoredDirectory, invalid, mount};

use crate::Config;
use crate::ec2::{Ec2, Instance};
use crate::find;
use crate::handle::Handle;
use crate::machine;
use crate::release;
use crate::set::Record;
use plan::Piece;

/// Tag with the token of a restore, on its volumes.
pub(crate) const RESTORE: &str = "stillframe:restore";

/// Tag with the number of the member that a volume was made from.
pub(crate) const MEMBER: &str = "stillframe:member";

pub(crate) fn restore_set<H: Host + Aws + Command>(host: &H, config: &Config, request: &RestoreRequest) -> Result<Restored, Error> {
    if !release::is_token(&request.token) {
        return Err(invalid("token", "it must be made of at most 40 letters, digits, `_` and `-`"));
    }
    let ec2 = Ec2::new(host, config);
    let handle = Handle::parse(&request.handle, &config.region)?;
    let Some(set) = find::by_handle(&ec2, &handle)? else { return Err(Error::NotFound(request.handle.clone())) };
    let pieces = plan::pieces(&set, &request.directories)?;
    let instance = machine::instance(&ec2)?;
    let restore = Restore { ec2: &ec2, token: &request.token, instance: &instance, record: &set.record };
    let mut made = Vec::new();
    let mut directories = Vec::new();
    for (done, piece) in (0..).zip(&pieces) {
        host.progress(done, Some(pieces.len() as u64), &format!("restoring `{}`", piece.snapshot));
        match restore.bring(piece, &mut made) {
            Ok(point) => directories.extend(piece.directories(&point)),
            Err(error) => {
                if let Err(left) = release::undo(&ec2, &request.token, &made) {
                    let text = format!("the restore `{}` could not be taken back, release it later: {left:?}", request.token);
                    host.log(Level::Warn, &text);
                }
                return Err(error);
            }
        }
    }
    let directories = directories.into_iter().map(|(name, path)| RestoredDirectory { name, path }).collect();
    Ok(Restored { handle: release::handle(config, &handle.account, &request.token), directories })
}

/// What one restore works with.
struct Restore<'a, H> {
    ec2: &'a Ec2<'a, H>,
    token: &'a str,
    instance: &'a Instance,
    record: &'a Record,
}

impl<H: Host + Aws + Command> Restore<'_, H> {
    /// Makes, attaches and mounts one volume; returns where. `made` tells of volumes that may not be visible yet.
    fn bring(&self, piece: &Piece, made: &mut Vec<String>) -> Result<String, Error> {
        let id = self.volume(piece, made)?;
        let device = self.attach(piece, &id)?;
        let point = release::point(self.ec2.config, self.token, piece.member);
        mount::attach(self.ec2.host, &device, &piece.fs_type, &point)?;
        Ok(point)
    }
}
