//! The gateway itself: an HTTP server on loopback that follows its script.
//!
//! `POST /payments` with an `Idempotency-Key` executes a payment. Knows its journal and its script, and nothing of
//! the shop.

use std::convert::Infallible;
use std::future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::RETRY_AFTER;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::journal::{Delivery, Journal};
use super::script::{Mood, mood};
use super::{Operation, Payment, Receipt};

/// The delay of a slow answer.
const SLOW: Duration = Duration::from_millis(120);

/// A running gateway. It stops when this is dropped; what it did stays in its journal.
#[derive(Debug)]
pub struct GatewayServer {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl GatewayServer {
    /// Opens a gateway on a free port of the loopback interface, with its journal in this file.
    ///
    /// # Errors
    /// Returns an error if there is no free port, or the journal cannot be opened.
    pub async fn open(journal: &Path) -> io::Result<Self> {
        let journal = Arc::new(Mutex::new(Journal::open(journal)?));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        Ok(GatewayServer { address, serving: tokio::spawn(serve(listener, journal)) })
    }

    /// Returns the address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for GatewayServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, journal: Arc<Mutex<Journal>>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(converse(stream, Arc::clone(&journal)));
            }
            // Out of file handles, most likely: some are free again once connections have ended.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Answers the requests of one connection until the client disconnects, which also ends an answer that it has waited
/// for in vain.
async fn converse(stream: TcpStream, journal: Arc<Mutex<Journal>>) {
    let answering = service_fn(|request| {
        let journal = Arc::clone(&journal);
        async move { Ok::<_, Infallible>(answer(request, &journal).await) }
    });
    // A client that disconnects is not an error.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answering).await;
}

async fn answer(request: Request<Incoming>, journal: &Mutex<Journal>) -> Response<Full<Bytes>> {
    if request.method() != Method::POST || request.uri().path() != "/payments" {
        return say(StatusCode::NOT_FOUND, "there is only POST /payments");
    }
    let key = request.headers().get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::to_owned);
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let (Some(key), Ok(payment)) = (key, serde_json::from_slice::<Payment>(&body)) else {
        return say(StatusCode::BAD_REQUEST, "expected an Idempotency-Key and a payment");
    };
    let done = carry_out(&mut journal.lock().unwrap_or_else(PoisonError::into_inner), &key, payment);
    let Ok((answer, mood)) = done else {
        return say(StatusCode::INTERNAL_SERVER_ERROR, "the journal cannot be written");
    };
    match mood {
        Mood::Slow => tokio::time::sleep(SLOW).await,
        Mood::Silent | Mood::LosesAnswer => future::pending().await,
        Mood::Ready | Mood::Busy | Mood::Declines => {}
    }
    answer
}

/// Follows the script, executes each key once, and records it before the answer is sent.
fn carry_out(journal: &mut Journal, key: &str, payment: Payment) -> io::Result<(Response<Full<Bytes>>, Mood)> {
    let mood = mood(&payment, journal.requests(key));
    let willing = matches!(mood, Mood::Ready | Mood::Slow | Mood::LosesAnswer);
    let (effect, answer) = match journal.done(key) {
        Some(done) if *done != payment => (false, say(StatusCode::CONFLICT, "another payment has this key")),
        _ if mood == Mood::Declines => (false, say(StatusCode::PAYMENT_REQUIRED, "the card was declined")),
        _ if !willing => (false, busy()),
        Some(_) => (false, receipt(key)),
        None => match payment.operation {
            Operation::Authorise => (true, receipt(key)),
            Operation::Void => (journal.is_authorised(&payment), receipt(key)),
            Operation::Capture if journal.is_authorised(&payment) => (true, receipt(key)),
            Operation::Capture => (false, say(StatusCode::UNPROCESSABLE_ENTITY, "no such amount was authorised")),
        },
    };
    let received = !matches!(mood, Mood::Silent | Mood::LosesAnswer);
    let answered = received.then(|| answer.status().as_u16());
    journal.record(Delivery { key: key.to_owned(), payment, effect, answer: answered })?;
    Ok((answer, mood))
}

fn receipt(key: &str) -> Response<Full<Bytes>> {
    let receipt = Receipt { id: format!("receipt-{key}") };
    say(StatusCode::OK, serde_json::to_string(&receipt).unwrap_or_default())
}

fn busy() -> Response<Full<Bytes>> {
    let mut answer = say(StatusCode::SERVICE_UNAVAILABLE, "come back later");
    answer.headers_mut().insert(RETRY_AFTER, 1.into());
    answer
}

fn say(status: StatusCode, text: impl Into<String>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(text.into())));
    *answer.status_mut() = status;
    answer
}
