//! A set's handle: all that is needed to look for exactly its snapshots, and to know a wrong place for what it is.
//!
//! `<region>:<account>:<token>:<begin>:<ids>`, where the ids lack their `snap-`, `,` stands between the members and `+` between the
//! disks of one. Region and account are in it because an empty answer from anywhere else would prove a set gone that is not.

use stillframe_sdk::{Error, invalid};

use crate::tags::{IN_FIELD, decode, encode};

/// Longest handle that the interface allows, in bytes.
const MAX_BYTES: usize = 1_024;

/// Bytes of one id with its separator.
const ID_BYTES: usize = 18;

/// In place of an id that is not known.
const UNKNOWN: &str = "-";

/// A handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Handle {
    pub(crate) region: String,
    /// Empty when EC2 did not say it.
    pub(crate) account: String,
    pub(crate) token: String,
    pub(crate) begin_ms: u64,
    /// The snapshots of each member; none for one that has not been seen.
    pub(crate) members: Vec<Vec<Option<String>>>,
}

impl Handle {
    /// Refuses what will not fit, before anything is cut.
    pub(crate) fn check_room(region: &str, token: &str, disks: usize) -> Result<(), Error> {
        let fixed = region.len() + "123456789012".len() + encode(token, IN_FIELD).len() + "1795219200000".len() + 4;
        if token.is_empty() || fixed >= MAX_BYTES {
            return Err(invalid("token", "it is empty or too long for a handle"));
        }
        let room = (MAX_BYTES - fixed) / ID_BYTES;
        if disks > room {
            return Err(Error::Unsupported(format!("a set of {disks} EBS volumes: {room} is the most that has room in a handle")));
        }
        Ok(())
    }

    pub(crate) fn text(&self) -> String {
        let id = |id: &Option<String>| id.as_deref().map_or(UNKNOWN, |id| id.trim_start_matches("snap-")).to_owned();
        let member = |disks: &Vec<Option<String>>| disks.iter().map(id).collect::<Vec<_>>().join("+");
        let members = self.members.iter().map(member).collect::<Vec<_>>().join(",");
        format!("{}:{}:{}:{}:{members}", self.region, self.account, encode(&self.token, IN_FIELD), self.begin_ms)
    }

    /// Reads a handle of this region.
    pub(crate) fn parse(text: &str, region: &str) -> Result<Self, Error> {
        let handle = Self::read(text).ok_or_else(|| invalid("handle", format!("`{text}` was not given by this provider")))?;
        if handle.region != region {
            return Err(invalid("region", format!("the set lies in `{}`, and the configuration says `{region}`", handle.region)));
        }
        Ok(handle)
    }

    fn read(text: &str) -> Option<Self> {
        let mut fields = text.split(':');
        let mut next = || fields.next();
        let (region, account, token, begin, members) = (next()?, next()?, next()?, next()?, next()?);
        if next().is_some() || text.len() > MAX_BYTES || members.is_empty() {
            return None;
        }
        let id = |id: &str| match id {
            UNKNOWN => Some(None),
            _ => (!id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric())).then(|| Some(format!("snap-{id}"))),
        };
        let member = |member: &str| member.split('+').map(id).collect::<Option<Vec<_>>>();
        let members: Vec<Vec<Option<String>>> = members.split(',').map(member).collect::<Option<_>>()?;
        // With no snapshot to look for, every set would be gone.
        members.iter().flatten().any(Option::is_some).then_some(())?;
        Some(Self {
            region: region.to_owned(),
            account: account.to_owned(),
            token: decode(token).filter(|token| !token.is_empty())?,
            begin_ms: begin.parse().ok()?,
            members,
        })
    }

    /// The snapshots that are known.
    pub(crate) fn ids(&self) -> Vec<&str> {
        self.members.iter().flatten().flatten().map(String::as_str).collect()
    }
}
