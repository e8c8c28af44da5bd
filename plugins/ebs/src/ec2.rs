//! EC2's query API: one request at a time, its answer or what went wrong.
//!
//! The host signs and sends; here the parameters are put together and the XML is read. What a fault means is decided by
//! [`fault`] alone, and which faults a call lives through by its [`Patience`].

mod fault;
mod instances;
mod locks;
mod query;
mod snapshots;
mod volumes;
mod xml;

use stillframe_sdk::aws::{Aws, AwsError, Payload, QueryPayload, Request};
use stillframe_sdk::{Error, Host, Level};

use crate::Config;

pub(crate) use fault::{Class, Fault};
pub(crate) use instances::Instance;
pub(crate) use locks::{Lock, LockState};
pub(crate) use query::{Query, query};
pub(crate) use snapshots::{Snapshot, State};
pub(crate) use volumes::{NewVolume, Volume};

/// Version of EC2's API.
const VERSION: &str = "2016-11-15";

/// Version of STS's API.
const STS_VERSION: &str = "2011-06-15";

/// Most tries of one request that can be repeated.
const MAX_TRIES: u32 = 6;

/// First pause before a repetition; it doubles.
const PAUSE_MS: u32 = 500;

/// Longest pause.
const MAX_PAUSE_MS: u32 = 15_000;

/// Pages of one listing: with 500 entries each, more than an account may have.
const MAX_PAGES: usize = 1_000;

/// Which faults a call lives through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// None: the host asks again by itself.
    None,
    /// What surely did not happen is tried again: a limit on the rate of requests.
    Refusals,
    /// Also what may have happened, for it does no harm twice.
    All,
}

/// EC2 in the configured region.
pub(crate) struct Ec2<'a, H> {
    pub(crate) host: &'a H,
    pub(crate) config: &'a Config,
    patience: Patience,
}

impl<'a, H: Host + Aws> Ec2<'a, H> {
    /// For a call that sees its work through.
    pub(crate) fn new(host: &'a H, config: &'a Config) -> Self {
        Self { host, config, patience: Patience::All }
    }

    /// For a call that the host repeats anyhow.
    pub(crate) fn impatient(host: &'a H, config: &'a Config) -> Self {
        Self { host, config, patience: Patience::None }
    }

    /// Sends a request that does no harm twice.
    fn send<T>(&self, request: &Query, read: impl Fn(xml::Node<'_, '_>) -> Option<T>) -> Result<T, Fault> {
        self.send_with(request, self.patience, read)
    }

    /// Sends a request that may be carried out once only.
    fn send_once<T>(&self, request: &Query, read: impl Fn(xml::Node<'_, '_>) -> Option<T>) -> Result<T, Fault> {
        self.send_with(request, Patience::Refusals, read)
    }

    fn send_with<T>(&self, request: &Query, patience: Patience, read: impl Fn(xml::Node<'_, '_>) -> Option<T>) -> Result<T, Fault> {
        let mut tries = 1;
        loop {
            let fault = match self.try_once("ec2", VERSION, request, &read) {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            let again = match patience {
                Patience::None => false,
                Patience::Refusals => fault.class == Class::Throttled,
                Patience::All => matches!(fault.class, Class::Throttled | Class::Unknown),
            };
            if !again || tries == MAX_TRIES || !self.pause(tries, &fault) {
                return Err(fault);
            }
            self.host.log(Level::Debug, &format!("`{}` is sent again: {}", request.action, fault.text));
            tries += 1;
        }
    }

    fn try_once<T>(
        &self,
        service: &str,
        version: &str,
        request: &Query,
        read: impl Fn(xml::Node<'_, '_>) -> Option<T>,
    ) -> Result<T, Fault> {
        let payload = QueryPayload { version: version.to_owned(), params: request.params.clone() };
        let request = Request {
            service: service.to_owned(),
            region: Some(self.config.region.clone()),
            action: request.action.to_owned(),
            payload: Payload::Query(payload),
            timeout_ms: None,
        };
        let action = &request.action;
        let response = self.host.call(&request).map_err(|error| match error {
            AwsError::Denied(text) => Fault::new(Class::Denied, action, text),
            AwsError::NoCredentials(text) => Fault::new(Class::Unauthenticated, action, text),
            AwsError::TimedOut => Fault::new(Class::Unknown, action, "no answer came in time".to_owned()),
            AwsError::Failed(text) => Fault::new(Class::Unknown, action, text),
        })?;
        if response.status != 200 {
            return Err(Fault::of_response(action, &response));
        }
        let answer = xml::parse(&response.body).and_then(|document| read(xml::answer(&document)?));
        // The request was carried out, and nobody knows what came of it.
        answer.ok_or_else(|| Fault::new(Class::Unknown, action, "the answer cannot be read".to_owned()))
    }

    /// Pauses before a repetition, longer each time and never twice as long as others do; false when no time is left for it.
    fn pause(&self, tries: u32, fault: &Fault) -> bool {
        let pause = (PAUSE_MS << (tries - 1)).max(fault.pause_ms()).min(MAX_PAUSE_MS);
        self.host.sleep_ms(self.jitter(pause))
    }

    /// Between a half and the whole of it. The clock is all the chance that a sandbox has.
    fn jitter(&self, pause_ms: u32) -> u32 {
        let mixed = self.host.now_ms().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
        let half = u64::from(pause_ms / 2);
        pause_ms - u32::try_from(mixed % (half + 1)).unwrap_or(0)
    }

    /// Looks again and again with growing pauses, from `first_ms` on and for `total_ms` at most, until `look` has an answer.
    pub(crate) fn wait<T>(
        &self,
        first_ms: u32,
        total_ms: u32,
        mut look: impl FnMut() -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        let (mut pause, mut left) = (first_ms, total_ms);
        loop {
            if let Some(found) = look()? {
                return Ok(Some(found));
            }
            if left == 0 || !self.host.sleep_ms(pause.min(left)) {
                return Ok(None);
            }
            left -= pause.min(left);
            pause = (pause * 2).min(MAX_PAUSE_MS);
        }
    }

    /// All pages of a listing.
    fn pages<T>(&self, request: &Query, read: impl Fn(xml::Node<'_, '_>) -> Option<Vec<T>>) -> Result<Vec<T>, Fault> {
        let mut all = Vec::new();
        let mut next: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let page = match &next {
                Some(token) => request.clone().with("NextToken", token),
                None => request.clone(),
            };
            let (entries, token) = self.send(&page, |root| Some((read(root)?, xml::text(root, "nextToken"))))?;
            all.extend(entries);
            match token.filter(|token| !token.is_empty()) {
                // A service that gives the same token again would be asked for ever.
                Some(token) if next.as_ref() == Some(&token) => break,
                Some(token) => next = Some(token),
                None => return Ok(all),
            }
        }
        Err(Fault::new(Class::Other, request.action, "its listing does not end".to_owned()))
    }

    /// The account that the host's credentials belong to.
    pub(crate) fn account(&self) -> Result<String, Fault> {
        let request = query("GetCallerIdentity");
        self.try_once("sts", STS_VERSION, &request, |root| xml::text(xml::child(root, "GetCallerIdentityResult")?, "Account"))
    }

    /// Whether a request would be allowed; none when EC2 does not say, as for an object that does not exist.
    pub(crate) fn dry_run(&self, request: Query) -> Result<Option<bool>, Fault> {
        let action = request.action;
        match self.send(&request.with("DryRun", "true"), |_| Some(())) {
            // Nobody may take this for a question again.
            Ok(()) => Err(Fault::new(Class::Other, action, "the service ignored `DryRun`, and did it")),
            Err(fault) if fault.code == "DryRunOperation" => Ok(Some(true)),
            Err(fault) if fault.code == "UnauthorizedOperation" => Ok(Some(false)),
            Err(fault) if matches!(fault.class, Class::Denied | Class::Unauthenticated | Class::Throttled | Class::Unknown) => {
                Err(fault)
            }
            Err(_) => Ok(None),
        }
    }
}
