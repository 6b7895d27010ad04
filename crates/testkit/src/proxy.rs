//! A faulty line before an HTTP server: delays, drops, throttles, refuses, cuts bodies short.
//!
//! What happens to a request follows from a seed and the request's number, so a run can be
//! replayed. Nothing is ever changed but cut off: that is what networks do.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rand::{RngExt as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How often each thing happens, of a thousand requests, and how slow the line is.
#[derive(Debug, Clone, Default)]
pub struct LineFaults {
    /// The connection breaks before the request arrives.
    pub drop_request: u32,
    /// The request is carried out and the connection breaks before the answer.
    pub lose_reply: u32,
    /// The answer is `500 InternalError`, and nothing is carried out.
    pub internal_error: u32,
    /// The answer is `503 SlowDown`, and nothing is carried out.
    pub slow_down: u32,
    /// The answer's body breaks off half way.
    pub cut_body: u32,
    /// Every request waits this long.
    pub delay: Duration,
    /// Bytes a second that each answer's body comes at, if not as they are.
    pub bytes_per_sec: Option<u64>,
}

impl LineFaults {
    /// Returns faults of every kind that together meet `per_thousand` of the requests.
    pub fn evenly(per_thousand: u32) -> Self {
        let each = per_thousand / 5;
        Self {
            drop_request: each,
            lose_reply: each,
            internal_error: each,
            slow_down: each,
            cut_body: per_thousand - 4 * each,
            ..Self::default()
        }
    }

    fn choose(&self, seed: u64, number: u64) -> Option<Fault> {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed ^ number.rotate_left(32));
        let mut pick = random.random_range(0..1000_u32);
        for (share, fault) in [
            (self.drop_request, Fault::DropRequest),
            (self.lose_reply, Fault::LoseReply),
            (self.internal_error, Fault::InternalError),
            (self.slow_down, Fault::SlowDown),
            (self.cut_body, Fault::CutBody),
        ] {
            if pick < share {
                return Some(fault);
            }
            pick -= share;
        }
        None
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    DropRequest,
    LoseReply,
    InternalError,
    SlowDown,
    CutBody,
}

/// A running proxy. It ends when this is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    line: Arc<Line>,
    runtime: Option<tokio::runtime::Runtime>,
}

#[derive(Debug)]
struct Line {
    upstream: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    seed: u64,
    faults: Mutex<LineFaults>,
    requests: AtomicU64,
    met: AtomicU64,
    bytes: AtomicU64,
    /// The number of bytes after which the line goes dead by itself.
    dies_after: Mutex<Option<u64>>,
    is_dead: AtomicBool,
    dead: watch::Sender<bool>,
}

impl FaultProxy {
    /// Starts a proxy before `upstream`.
    ///
    /// # Errors
    /// Fails if the system grants no port or thread.
    pub fn start(upstream: SocketAddr, seed: u64, faults: LineFaults) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("fault-proxy")
            .enable_all()
            .build()?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let line = Arc::new(Line {
            upstream,
            client: Client::builder(TokioExecutor::new()).build_http(),
            seed,
            faults: Mutex::new(faults),
            requests: AtomicU64::new(0),
            met: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            dies_after: Mutex::new(None),
            is_dead: AtomicBool::new(false),
            dead: watch::Sender::new(false),
        });
        runtime.spawn(accept(listener, line.clone()));
        Ok(Self {
            address,
            line,
            runtime: Some(runtime),
        })
    }

    /// Returns the address to use instead of the server's.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes what happens from now on.
    pub fn set_faults(&self, faults: LineFaults) {
        *self.line.faults.lock().expect("no holder panics") = faults;
    }

    /// Returns how many requests met a fault so far.
    pub fn faults(&self) -> u64 {
        self.line.met.load(Ordering::Relaxed)
    }

    /// Returns how many requests came so far.
    pub fn requests(&self) -> u64 {
        self.line.requests.load(Ordering::Relaxed)
    }

    /// Cuts every connection and refuses new ones, until [`FaultProxy::revive`].
    pub fn kill(&self) {
        self.line.kill();
    }

    /// Lets the line go dead by itself once answers of `bytes` more have passed.
    pub fn kill_after(&self, bytes: u64) {
        let passed = self.line.bytes.load(Ordering::Relaxed);
        *self.line.dies_after.lock().expect("no holder panics") = Some(passed + bytes);
    }

    /// Lets a dead line live again.
    pub fn revive(&self) {
        *self.line.dies_after.lock().expect("no holder panics") = None;
        self.line.is_dead.store(false, Ordering::SeqCst);
        self.line.dead.send_replace(false);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Line {
    fn kill(&self) {
        self.is_dead.store(true, Ordering::SeqCst);
        self.dead.send_replace(true);
    }

    fn count(&self, bytes: usize) {
        let passed = self.bytes.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        let limit = *self.dies_after.lock().expect("no holder panics");
        if limit.is_some_and(|limit| passed >= limit) {
            self.kill();
        }
    }
}

async fn accept(listener: std::net::TcpListener, line: Arc<Line>) {
    let listener = TcpListener::from_std(listener).expect("the runtime has a driver for sockets");
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            continue;
        };
        if line.is_dead.load(Ordering::SeqCst) {
            continue;
        }
        // Without it, small answers wait for the client's delayed acknowledgement.
        let _ = socket.set_nodelay(true);
        let mut dead = line.dead.subscribe();
        let line = line.clone();
        tokio::spawn(async move {
            let handler = hyper::service::service_fn(move |request| carry(line.clone(), request));
            let server = auto::Builder::new(TokioExecutor::new());
            let connection = server.serve_connection(TokioIo::new(socket), handler);
            tokio::select! {
                // Whoever is at the other end sees how it ended.
                _ = connection => {}
                _ = dead.wait_for(|dead| *dead) => {}
            }
        });
    }
}

type Answer = Response<BoxBody<Bytes, io::Error>>;

/// Carries one request over the line. An error breaks the connection.
async fn carry(line: Arc<Line>, request: Request<Incoming>) -> Result<Answer, io::Error> {
    let number = line.requests.fetch_add(1, Ordering::Relaxed);
    let faults = line.faults.lock().expect("no holder panics").clone();
    let fault = faults.choose(line.seed, number);
    line.met
        .fetch_add(u64::from(fault.is_some()), Ordering::Relaxed);
    tokio::time::sleep(faults.delay).await;
    if fault == Some(Fault::DropRequest) {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    match fault {
        Some(Fault::InternalError) => {
            return Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"));
        }
        Some(Fault::SlowDown) => {
            return Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "SlowDown"));
        }
        _ => {}
    }
    let answer = forward(&line, head, body).await?;
    if fault == Some(Fault::LoseReply) {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    let (head, body) = answer.into_parts();
    let cut = fault == Some(Fault::CutBody);
    let body = StreamBody::new(pour(line, body, cut, faults.bytes_per_sec));
    Ok(Response::from_parts(head, BodyExt::boxed(body)))
}

async fn forward(
    line: &Line,
    mut head: hyper::http::request::Parts,
    body: Bytes,
) -> Result<Response<Incoming>, io::Error> {
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let uri = format!("http://{}{path}", line.upstream).parse::<Uri>();
    head.uri = uri.map_err(io::Error::other)?;
    // The `Host` header stays as the client signed it.
    let request = Request::from_parts(head, Full::new(body));
    line.client.request(request).await.map_err(io::Error::other)
}

fn refusal(status: StatusCode, code: &str) -> Answer {
    let text = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
    let body = Full::new(Bytes::from(text)).map_err(|never: Infallible| match never {});
    let mut answer = Response::new(BodyExt::boxed(body));
    *answer.status_mut() = status;
    answer
}

/// Lets a body through: all or half of it, as fast as the line is.
fn pour(line: Arc<Line>, body: Incoming, cut: bool, bytes_per_sec: Option<u64>) -> SyncStream {
    let whole = hyper::body::Body::size_hint(&body)
        .exact()
        .unwrap_or_default();
    let passes = if cut { whole / 2 } else { u64::MAX };
    let start = (body.into_data_stream(), passes, line);
    let frames = futures::stream::unfold(start, move |(mut body, left, line)| async move {
        if left == 0 {
            // Promised by its length and never coming: the connection breaks.
            let broken = Err(io::ErrorKind::ConnectionReset.into());
            return Some((broken, (body, u64::MAX, line)));
        }
        let mut part = match body.next().await? {
            Ok(part) => part,
            Err(error) => return Some((Err(io::Error::other(error)), (body, left, line))),
        };
        part.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        if let Some(speed) = bytes_per_sec {
            let secs = part.len() as f64 / speed as f64;
            tokio::time::sleep(Duration::from_secs_f64(secs)).await;
        }
        line.count(part.len());
        let left = left.saturating_sub(part.len() as u64);
        Some((Ok(Frame::data(part)), (body, left, line)))
    });
    SyncStream(Mutex::new(frames.boxed()))
}

/// A stream that may be shared, as bodies must be, though nobody does.
struct SyncStream(Mutex<BoxStream<'static, Result<Frame<Bytes>, io::Error>>>);

impl futures::Stream for SyncStream {
    type Item = Result<Frame<Bytes>, io::Error>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        let inner = &mut self.get_mut().0;
        inner
            .get_mut()
            .expect("no holder panics")
            .poll_next_unpin(cx)
    }
}
