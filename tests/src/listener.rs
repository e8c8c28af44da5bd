//! A socket on the loopback interface that serves from a thread of its own: what the harness's server and its proxy have in common.

use std::net::TcpListener as BlockingListener;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// A listening socket whose connections are served by a thread of its own while the value lives.
#[derive(Debug)]
pub(crate) struct Listener {
    endpoint: String,
    _stop: oneshot::Sender<()>,
}

impl Listener {
    /// Serves every connection with `serve`; `path` is what the base URL ends with.
    pub(crate) fn start<F>(path: &str, serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = BlockingListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let endpoint = format!("http://{}{path}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                let accept = async {
                    while let Ok((stream, _)) = listener.accept().await {
                        tokio::spawn(serve(stream));
                    }
                };
                tokio::select! {
                    () = accept => {}
                    _ = stopped => {}
                }
            });
        });
        Self { endpoint, _stop: stop }
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }
}
