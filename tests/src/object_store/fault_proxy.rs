//! A proxy in front of an object store that loses exactly what a test tells it to lose.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

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
}

/// A loss that waits for its request.
#[derive(Debug)]
struct Order {
    method: String,
    part_of_target: String,
    loss: Loss,
}

#[derive(Debug, Default)]
struct Plan {
    is_cut: bool,
    cuts_at: Option<String>,
    orders: VecDeque<Order>,
    seen: Vec<String>,
}

/// The proxy; it runs while the value lives.
#[derive(Debug)]
pub struct FaultProxy {
    plan: Arc<Mutex<Plan>>,
    listener: Listener,
}

impl FaultProxy {
    /// Stands before the server at this base URL.
    pub fn before(endpoint: &str) -> Self {
        let rest = endpoint.trim_start_matches("http://");
        let (host, path) = rest.split_once('/').map_or((rest, String::new()), |(host, path)| (host, format!("/{path}")));
        let (host, plan) = (host.to_owned(), Arc::<Mutex<Plan>>::default());
        let shared = Arc::clone(&plan);
        let listener = Listener::start(&path, move |stream| serve(stream, host.clone(), Arc::clone(&shared)));
        Self { plan, listener }
    }

    /// Base URL of the proxy, with the path of the server's.
    pub fn endpoint(&self) -> &str {
        self.listener.endpoint()
    }

    /// Loses the next request of this method whose path and query, decoded, hold this text; several of these are used in their order.
    pub fn lose_next(&self, method: &str, part_of_target: &str, loss: Loss) -> &Self {
        let order = Order { method: method.to_owned(), part_of_target: part_of_target.to_owned(), loss };
        self.plan().orders.push_back(order);
        self
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
        self.plan.lock().unwrap()
    }
}

async fn serve(mut client: TcpStream, host: String, plan: Arc<Mutex<Plan>>) {
    let Some(request) = http::read(&mut client).await else { return };
    let loss = {
        let mut plan = plan.lock().unwrap();
        plan.seen.push(format!("{} {}", request.method, request.target));
        let target = http::decoded(&request.target);
        plan.is_cut |= plan.cuts_at.as_ref().is_some_and(|text| target.contains(text));
        if plan.is_cut {
            return;
        }
        let is_for_it = |order: &Order| order.method == request.method && target.contains(&order.part_of_target);
        plan.orders.iter().position(is_for_it).and_then(|position| plan.orders.remove(position)).map(|order| order.loss)
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
            let head = answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(answer.len(), |end| end + 4);
            let half = head + (answer.len() - head) / 2;
            let _gone = client.write_all(&answer[..half]).await;
        }
        None => {
            let _gone = client.write_all(&forward(&host, &request).await).await;
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
