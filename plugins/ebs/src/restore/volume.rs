//! The volume of one snapshot: found, or made.

use stillframe_sdk::aws::Aws;
use stillframe_sdk::command::Command;
use stillframe_sdk::{Error, Host, OWNER_LABEL};

use super::{MEMBER, RESTORE, Restore};
use crate::ec2::{Class, Fault, NewVolume, Volume};
use crate::restore::plan::Piece;
use crate::tags::{self, IN_VALUE, encode};

/// First pause, and longest time, until a volume is made.
const MAKING_MS: (u32, u32) = (1_000, 600_000);

/// Looks after which a volume that was never visible has never been, or is gone.
const UNSEEN_LOOKS: u32 = 6;

/// What a new volume came to.
enum Outcome {
    Usable,
    Gone,
}

impl<H: Host + Aws + Command> Restore<'_, H> {
    /// The volume of a piece, ready to be attached, or attached already.
    pub(super) fn volume(&self, piece: &Piece, made: &mut Vec<String>) -> Result<String, Error> {
        if let Some(there) = self.existing(piece)? {
            return match self.usable(&there.id)? {
                Outcome::Usable => Ok(there.id),
                Outcome::Gone => Err(Error::Transient(format!("the volume `{}` disappeared", there.id))),
            };
        }
        let first = format!("{}-{}", self.token, piece.member);
        // EC2 remembers a client token longer than a volume lives: after a failure that was taken back, the same request gives the
        // volume that was deleted.
        let second = format!("{first}-{:x}", self.ec2.host.now_ms());
        for client_token in [&first, &second] {
            let volume = match self.make(piece, client_token) {
                Ok(volume) => volume,
                // The configuration has changed since.
                Err(fault) if fault.code == "IdempotentParameterMismatch" && *client_token == first => continue,
                Err(fault) if fault.class == Class::NotFound => {
                    return Err(Error::Transient(format!("the snapshot disappeared: {}", fault.text)));
                }
                Err(fault) => return Err(fault.about("volume_type")),
            };
            Self::check_origin(&volume, piece)?;
            made.push(volume.id.clone());
            if let Outcome::Usable = self.usable(&volume.id)? {
                return Ok(volume.id);
            }
        }
        Err(Error::Transient(format!(
            "the volume made of `{}` is gone again: the key that it is encrypted with may not be usable",
            piece.snapshot
        )))
    }

    /// The volume that an earlier request of this restore has made.
    fn existing(&self, piece: &Piece) -> Result<Option<Volume>, Error> {
        let volumes = self.ec2.volumes_tagged(RESTORE, self.token)?;
        let member = piece.member.to_string();
        let is_it = |volume: &Volume| volume.is_alive() && volume.tags.get(MEMBER) == Some(&member);
        let Some(volume) = volumes.into_iter().find(is_it) else { return Ok(None) };
        Self::check_origin(&volume, piece)?;
        Ok(Some(volume))
    }

    fn make(&self, piece: &Piece, client_token: &str) -> Result<Volume, Fault> {
        let mut tags = vec![(RESTORE.to_owned(), self.token.to_owned()), (MEMBER.to_owned(), piece.member.to_string())];
        if let Some((key, owner)) = self.record.labels.iter().find(|(key, _)| key == OWNER_LABEL) {
            tags.push((key.clone(), tags::filter_value(&encode(owner, IN_VALUE)).to_owned()));
        }
        tags.extend(self.ec2.config.tags.clone());
        let zone = self.ec2.config.availability_zone.as_deref().unwrap_or(&self.instance.zone);
        let new = NewVolume { snapshot: &piece.snapshot, zone, client_token, tags: &tags };
        self.ec2.create_volume(&new)
    }

    /// Whoever can tag can make a volume look like ours. Its origin he cannot change.
    pub(super) fn check_origin(volume: &Volume, piece: &Piece) -> Result<(), Error> {
        if volume.snapshot == piece.snapshot {
            return Ok(());
        }
        Err(Error::Conflict(format!("{}, which was made from `{}` and not from `{}`", volume.id, volume.snapshot, piece.snapshot)))
    }

    fn usable(&self, id: &str) -> Result<Outcome, Error> {
        let (first, total) = MAKING_MS;
        let mut unseen = 0;
        let found = self.ec2.wait(first, total, || {
            let volumes = self.ec2.visible_volumes(&[id])?;
            Ok(match volumes.first().map(|volume| volume.status.as_str()) {
                Some("available" | "in-use") => Some(Outcome::Usable),
                Some("deleting" | "deleted" | "error") => Some(Outcome::Gone),
                Some(_) => None,
                None => {
                    unseen += 1;
                    (unseen >= UNSEEN_LOOKS).then_some(Outcome::Gone)
                }
            })
        })?;
        found.ok_or_else(|| Error::Transient(format!("the volume `{id}` was not made in time")))
    }
}
