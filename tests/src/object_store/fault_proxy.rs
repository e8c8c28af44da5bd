//! A proxy in front of an object store that loses exactly what a test tells it to lose, lies as it is told, and holds a request up.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::http;
use crate::listener::Listener;

/// What happens to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// The server is not asked; this status, with this code as S3 writes it, is the answer.
    Answer(u16, &'static str),
    /// The server is not asked, and there is no answer while the connection lasts.
    Silence,
    /// The server is not asked; the connection ends.
    Reset,
    /// The server does what it is asked to, and its answer is lost with the connection.
    LostAnswer,
    /// The server does what it is asked to, and its answer ends in the middle of the body.
    HalfAnswer,
    /// The server is not asked; this status and this text are the answer.
    Text(u16, String),
    /// The server is not asked; it is told that its object was written.
    Swallow,
    /// The server does what it is asked to, and its answer comes in so slowly that it never ends.
    Trickle,
    /// The server does what it is asked to, and a bit of the body of its answer is another one.
    Flip,
    /// The server does what it is asked to, and its answer does not say how long the body is, of which the half is missing.
    NoLength,
    /// The server is asked without the condition of the write.
    Unconditional,
}

/// Pause between two bytes of an answer that trickles.
const TRICKLE: Duration = Duration::from_millis(50);

/// Longest wait of a test for a request that is to be held up.
const PATIENCE: Duration = Duration::from_mins(1);

/// A loss that waits for its request.
#[derive(Debug)]
struct Order {
    method: String,
    part_of_target: String,
    loss: Loss,
    /// Whether it is for every such request.
    is_lasting: bool,
}

/// Where a request stops.
#[derive(Debug)]
struct Barrier {
    method: String,
    part_of_target: String,
    has_arrived: bool,
}

#[derive(Debug, Default)]
struct Plan {
    is_cut: bool,
    cuts_at: Option<String>,
    orders: VecDeque<Order>,
    seen: Vec<String>,
    barrier: Option<Barrier>,
}

#[derive(Debug, Default)]
struct Shared {
    plan: Mutex<Plan>,
    /// Told when a request has come to the barrier, and when it may go on.
    arrived: Condvar,
    goes_on: Notify,
}

/// The proxy; it runs while the value lives.
#[derive(Debug)]
pub struct FaultProxy {
    shared: Arc<Shared>,
    listener: Listener,
}

impl FaultProxy {
    /// Stands before the server at this base URL.
    pub fn before(endpoint: &str) -> Self {
        let rest = endpoint.trim_start_matches("http://");
        let (host, path) = rest.split_once('/').map_or((rest, String::new()), |(host, path)| (host, format!("/{path}")));
        let (host, shared) = (host.to_owned(), Arc::<Shared>::default());
        let served = Arc::clone(&shared);
        let listener = Listener::start(&path, move |stream| serve(stream, host.clone(), Arc::clone(&served)));
        Self { shared, listener }
    }

    /// Base URL of the proxy, with the path of the server's.
    pub fn endpoint(&self) -> &str {
        self.listener.endpoint()
    }

    /// Loses the next request of this method whose path and query, decoded, hold this text; several of these are used in their order.
    pub fn lose_next(&self, method: &str, part_of_target: &str, loss: Loss) -> &Self {
        self.order(method, part_of_target, loss, false)
    }

    /// Loses every such request until losses are forgotten.
    pub fn lose_all(&self, method: &str, part_of_target: &str, loss: Loss) -> &Self {
        self.order(method, part_of_target, loss, true)
    }

    fn order(&self, method: &str, part_of_target: &str, loss: Loss, is_lasting: bool) -> &Self {
        let order = Order { method: method.to_owned(), part_of_target: part_of_target.to_owned(), loss, is_lasting };
        self.plan().orders.push_back(order);
        self
    }

    /// Holds the next such request up, before the server is asked.
    pub fn hold_next(&self, method: &str, part_of_target: &str) {
        let barrier = Barrier { method: method.to_owned(), part_of_target: part_of_target.to_owned(), has_arrived: false };
        self.plan().barrier = Some(barrier);
    }

    /// Waits until that request has come.
    #[track_caller]
    pub fn wait_until_held(&self) {
        let is_awaited = |plan: &mut Plan| !plan.barrier.as_ref().expect("something is to be held up").has_arrived;
        let (_plan, waited) = self.shared.arrived.wait_timeout_while(self.plan(), PATIENCE, is_awaited).unwrap();
        assert!(!waited.timed_out(), "the request that is to be held up does not come");
    }

    /// Lets it go on.
    pub fn let_go(&self) {
        self.plan().barrier = None;
        self.shared.goes_on.notify_waiters();
    }

    /// From the first request whose path and query, decoded, hold this text, ends every connection without an answer, as if the
    /// server had died.
    pub fn cut_from(&self, part_of_target: &str) {
        self.plan().cuts_at = Some(part_of_target.to_owned());
    }

    /// Lets everything pass again after a cut.
    pub fn mend(&self) {
        let mut plan = self.plan();
        (plan.is_cut, plan.cuts_at) = (false, None);
    }

    /// Forgets the losses that nobody has met.
    pub fn forget_losses(&self) {
        self.plan().orders.clear();
    }

    /// Method, path and query of the requests so far, and forgets them.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.plan().seen)
    }

    /// Losses that nobody has met yet.
    pub fn pending(&self) -> usize {
        self.plan().orders.len()
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.shared.plan.lock().unwrap()
    }
}

async fn serve(mut client: TcpStream, host: String, shared: Arc<Shared>) {
    let Some(mut request) = http::read(&mut client).await else { return };
    shared.pass_barrier(&request).await;
    let loss = {
        let mut plan = shared.plan.lock().unwrap();
        plan.seen.push(format!("{} {}", request.method, request.target));
        let target = http::decoded(&request.target);
        plan.is_cut |= plan.cuts_at.as_ref().is_some_and(|text| target.contains(text));
        if plan.is_cut {
            return;
        }
        let is_for_it = |order: &Order| order.method == request.method && target.contains(&order.part_of_target);
        let position = plan.orders.iter().position(is_for_it);
        match position.map(|position| (position, plan.orders[position].is_lasting)) {
            Some((position, true)) => Some(plan.orders[position].loss.clone()),
            Some((position, false)) => plan.orders.remove(position).map(|order| order.loss),
            None => None,
        }
    };
    match loss {
        Some(Loss::Answer(status, code)) => {
            let answer = if request.method == "HEAD" { http::answer(status, &[], b"") } else { http::refusal(status, code) };
            let _gone = client.write_all(&answer).await;
        }
        Some(Loss::Silence) => {
            // Until the client gives up and closes.
            let mut rest = Vec::new();
            let _gone = client.read_to_end(&mut rest).await;
        }
        Some(Loss::Reset) => {}
        Some(Loss::LostAnswer) => {
            let _lost = forward(&host, &request).await;
        }
        Some(Loss::HalfAnswer) => {
            let answer = forward(&host, &request).await;
            let head = head_bytes(&answer);
            let half = head + (answer.len() - head) / 2;
            let _gone = client.write_all(&answer[..half]).await;
        }
        Some(Loss::Text(status, text)) => {
            let _gone = client.write_all(&http::answer(status, &[("content-type", "application/xml")], text.as_bytes())).await;
        }
        Some(Loss::Swallow) => {
            let _gone = client.write_all(&http::answer(200, &[("etag", "\"1\"")], b"")).await;
        }
        Some(Loss::Trickle) => {
            for byte in forward(&host, &request).await.chunks(1).chain(std::iter::repeat(b" ".as_slice())) {
                if client.write_all(byte).await.is_err() {
                    return;
                }
                tokio::time::sleep(TRICKLE).await;
            }
        }
        Some(Loss::Flip) => {
            let mut answer = forward(&host, &request).await;
            let head = head_bytes(&answer);
            let middle = head + (answer.len() - head) / 2;
            if let Some(byte) = answer.get_mut(middle) {
                *byte ^= 1;
            }
            let _gone = client.write_all(&answer).await;
        }
        Some(Loss::NoLength) => {
            let answer = forward(&host, &request).await;
            let (head, body) = answer.split_at(head_bytes(&answer));
            let head = String::from_utf8_lossy(head).into_owned();
            let is_kept = |line: &&str| !line.to_ascii_lowercase().starts_with("content-length");
            let head = head.split("\r\n").filter(is_kept).collect::<Vec<_>>().join("\r\n");
            let _gone = client.write_all(&[head.as_bytes(), &body[..body.len() / 2]].concat()).await;
        }
        Some(Loss::Unconditional) => {
            request.headers.retain(|(name, _)| name != "if-none-match");
            let _gone = client.write_all(&forward(&host, &request).await).await;
        }
        None => {
            let _gone = client.write_all(&forward(&host, &request).await).await;
        }
    }
}

fn head_bytes(answer: &[u8]) -> usize {
    answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(answer.len(), |end| end + 4)
}

impl Shared {
    /// Waits as long as the request is held up.
    async fn pass_barrier(&self, request: &http::Request) {
        loop {
            let goes_on = self.goes_on.notified();
            tokio::pin!(goes_on);
            // Before the look, so that a word between the two is heard.
            goes_on.as_mut().enable();
            {
                let mut plan = self.plan.lock().unwrap();
                let target = http::decoded(&request.target);
                let is_for_it =
                    |barrier: &&mut Barrier| barrier.method == request.method && target.contains(&barrier.part_of_target);
                let Some(barrier) = plan.barrier.as_mut().filter(is_for_it) else { return };
                barrier.has_arrived = true;
                self.arrived.notify_all();
            }
            goes_on.await;
        }
    }
}

/// The whole answer of the server, as it sent it.
async fn forward(host: &str, request: &http::Request) -> Vec<u8> {
    let mut answer = Vec::new();
    let Ok(mut server) = TcpStream::connect(host).await else { return answer };
    if server.write_all(&request.bytes()).await.is_ok() {
        let _ended = server.read_to_end(&mut answer).await;
    }
    answer
}
