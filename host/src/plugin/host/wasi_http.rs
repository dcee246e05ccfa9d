//! `wasi:http/outgoing-handler`: what `fetch` and `requests` speak, for guests whose language has them.
//!
//! It is our `http` in another form. Each request goes the same way, by `Egress::dispatch`, with the same rules, headers and
//! limits. What differs: bodies may be written in pieces, several requests may be under way at once, redirects are the
//! guest's to follow, and there is no way to name a credential. Bodies are gathered whole both ways: a rule bounds them, and
//! what a plugin makes of one has to be in its memory anyway.
//!
//! Whatever is refused is an error to the guest, never a trap: languages with `fetch` may try it when they start.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response};
use reqwest::header::{CONTENT_LENGTH, HOST, HeaderName};
use tracing::Instrument as _;
use wasmtime::component::ResourceTable;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpCtx,
    WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use super::http::log_failure;
use crate::egress::{self, Body, Outgoing, RequestError, Unfinished, Within};
use crate::plugin::call::{Call, Phase};
use crate::plugin::grants::Grants;

/// One piece of a request's body as the guest writes it.
const PIECE_BYTES: usize = 64 << 10;

/// What a guest that imports `wasi:http` has of it.
pub(in crate::plugin) struct WasiHttp {
    ctx: WasiHttpCtx,
    way: Way,
}

/// From the guest's request to our own.
struct Way {
    grants: Arc<Grants>,
    /// None where nothing may be sent.
    within: Option<Within>,
}

type Sent = Result<
    (
        Response<WasiBody>,
        Box<dyn Future<Output = Result<(), Error>> + Send>,
    ),
    Error,
>;

impl WasiHttp {
    pub(in crate::plugin) fn new(grants: Arc<Grants>, phase: Phase, within: Within) -> Self {
        let may_send = grants.wasi_http && phase == Phase::Provide;
        Self {
            ctx: WasiHttpCtx::new(),
            way: Way {
                within: may_send.then_some(within),
                grants,
            },
        }
    }

    pub(in crate::plugin) fn view<'a>(
        &'a mut self,
        table: &'a mut ResourceTable,
    ) -> WasiHttpCtxView<'a> {
        WasiHttpCtxView {
            ctx: &mut self.ctx,
            hooks: &mut self.way,
            table,
        }
    }
}

impl WasiHttpView for Call {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.wasi_http()
    }
}

impl WasiHttpHooks for Way {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        // Libraries set a length by themselves. wasmtime holds the body against it, and ours is the one that is sent.
        let reserved = |name: &HeaderName| *name != CONTENT_LENGTH && egress::is_reserved(name);
        Arc::new(move |name| reserved(name) || DEFAULT_FORBIDDEN_HEADERS.contains(name))
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        PIECE_BYTES
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let Some(within) = self.within.clone() else {
            tracing::warn!(
                "refused a request of the plugin by wasi:http; to permit those that `egress` covers, set wasi_http = true \
                 in [targets.{}]",
                self.grants.target
            );
            return Box::new(std::future::ready(Err(Error::HttpRequestDenied)));
        };
        let grants = self.grants.clone();
        let sending = async move {
            let outgoing = outgoing(request, options);
            let answer = grants.egress.dispatch(outgoing, None, &within).await;
            let incoming = answer.inspect_err(log_failure).map_err(error)?;
            let body = Full::new(Bytes::from(incoming.body))
                .map_err(|never| match never {})
                .boxed_unsync();
            let mut response = Response::new(body);
            *response.headers_mut() = incoming.headers;
            *response.status_mut() =
                reqwest::StatusCode::from_u16(incoming.status).unwrap_or_default();
            let nothing_more: Box<dyn Future<Output = _> + Send> =
                Box::new(std::future::ready(Ok(())));
            Ok((response, nothing_more))
        };
        // It runs as a task of its own, which would lose the request's id.
        Box::new(sending.in_current_span())
    }
}

fn outgoing(request: Request<WasiBody>, options: Option<RequestOptions>) -> Outgoing {
    let (parts, body) = request.into_parts();
    let of_the_gateway = [HOST, CONTENT_LENGTH];
    let headers = parts.headers.iter();
    let headers = headers.filter(|(name, _)| !of_the_gateway.contains(name));
    let options = options.unwrap_or_default();
    Outgoing {
        method: parts.method,
        url: parts.uri.to_string(),
        headers: headers
            .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_owned()))
            .collect(),
        body: Body::Arriving(body.map_err(|_given_up| Unfinished).boxed_unsync()),
        timeout: None,
        first_byte_timeout: options.first_byte_timeout,
        max_redirects: 0,
    }
}

fn error(error: RequestError) -> Error {
    match error {
        RequestError::Denied { .. } => Error::HttpRequestDenied,
        RequestError::Address { .. } => Error::DestinationIpProhibited,
        RequestError::TooMany => Error::ConnectionLimitReached,
        RequestError::BodyTooLarge { limit, .. } => Error::HttpRequestBodySize(Some(limit as u64)),
        RequestError::TooLarge(limit) => Error::HttpResponseBodySize(Some(limit as u64)),
        RequestError::Credential(_) => Error::ConfigurationError,
        RequestError::Dns { .. } => Error::DnsError {
            rcode: None,
            info_code: None,
        },
        RequestError::Connect { .. } => Error::ConnectionRefused,
        RequestError::Tls { .. } => Error::TlsCertificateError,
        RequestError::Timeout => Error::HttpResponseTimeout,
        RequestError::Protocol { .. } => Error::HttpProtocolError,
        RequestError::Invalid(text) => Error::InternalError(Some(text)),
    }
}
