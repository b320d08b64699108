//! The front of the shop.
//!
//! Every visit is counted in the store, so that all replicas show one number. The service is alive as long
//! as it answers, and ready only while the store does: a replica that cannot count takes no visitors.
//!
//! Configuration: `GREETING` (text), `STORE` (host:port), `STORE_PASSWORD`, `LISTEN` (address), and the file
//! named by `SHOP_CONFIG`, which is read again whenever it changes.

mod settings;
mod store;

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{header, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::Router;
use prometheus::{Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};
use tokio::signal::unix::{signal, SignalKind};
use tracing::{error, info, warn};

use settings::{Settings, SettingsFile};
use store::Store;

struct Shop {
    greeting: String,
    settings: SettingsFile,
    store: Store,
    meters: Meters,
}

struct Meters {
    registry: Registry,
    requests: IntCounterVec,
    seconds: HistogramVec,
    store_up: IntGauge,
}

impl Meters {
    fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let requests = IntCounterVec::new(
            Opts::new("shop_http_requests_total", "Requests answered, by route and status."),
            &["route", "status"],
        )?;
        let seconds = HistogramVec::new(
            HistogramOpts::new("shop_http_request_seconds", "Time to answer a request, by route."),
            &["route"],
        )?;
        let store_up = IntGauge::new("shop_store_up", "1 while the store answered the last time it was asked.")?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        registry.register(Box::new(store_up.clone()))?;
        Ok(Self { registry, requests, seconds, store_up })
    }
}

async fn greet(State(shop): State<Arc<Shop>>) -> Response {
    let Settings { title, .. } = shop.settings.current();
    match shop.store.count_visit().await {
        Ok(visits) => {
            shop.meters.store_up.set(1);
            format!("{title}: {}\nvisits: {visits}\n", shop.greeting).into_response()
        }
        Err(cause) => {
            shop.meters.store_up.set(0);
            warn!(%cause, "the visit was not counted");
            (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n").into_response()
        }
    }
}

async fn live() -> &'static str {
    "ok\n"
}

async fn ready(State(shop): State<Arc<Shop>>) -> Response {
    match shop.store.ping().await {
        Ok(()) => {
            shop.meters.store_up.set(1);
            "ready\n".into_response()
        }
        Err(cause) => {
            shop.meters.store_up.set(0);
            warn!(%cause, "not ready: the store does not answer");
            (StatusCode::SERVICE_UNAVAILABLE, format!("store: {cause}\n")).into_response()
        }
    }
}

async fn metrics(State(shop): State<Arc<Shop>>) -> Response {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    if let Err(cause) = encoder.encode(&shop.meters.registry.gather(), &mut text) {
        error!(%cause, "metrics cannot be written");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    ([(header::CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response()
}

/// Measures and logs every request; routes, not paths, so that a scanner cannot grow the set of series.
async fn observe(State(shop): State<Arc<Shop>>, request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let method = request.method().clone();
    let start = Instant::now();
    let response = next.run(request).await;
    let seconds = start.elapsed().as_secs_f64();
    let status = response.status();
    shop.meters.requests.with_label_values(&[route.as_str(), status.as_str()]).inc();
    shop.meters.seconds.with_label_values(&[route.as_str()]).observe(seconds);
    if route == "/" || status.is_server_error() {
        info!(%method, route, status = status.as_u16(), seconds, "request");
    }
    response
}

async fn asked_to_stop() {
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be listened to");
    let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be listened to");
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    info!(signal = name, "stopping: no new connections, open requests are finished");
}

fn variable(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().json().flatten_event(true).with_current_span(false).init();

    let address = variable("LISTEN", "0.0.0.0:8080");
    let store = variable("STORE", "store:6379");
    let shop = Arc::new(Shop {
        greeting: variable("GREETING", "Welcome"),
        settings: SettingsFile::new(variable("SHOP_CONFIG", "/etc/shop/shop.toml")),
        store: Store::new(&store, std::env::var("STORE_PASSWORD").ok())?,
        meters: Meters::new()?,
    });
    let app = Router::new()
        .route("/", get(greet))
        .route("/healthz", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route_layer(middleware::from_fn_with_state(shop.clone(), observe))
        .with_state(shop);
    let listener = tokio::net::TcpListener::bind(&address).await?;
    info!(address, store, "listening");
    axum::serve(listener, app).with_graceful_shutdown(asked_to_stop()).await?;
    info!("stopped");
    Ok(())
}
