//! One request on its way, which a redirect may lead on.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::HeaderMap;
use url::Url;

use super::redirect::{self, MOST_REDIRECTS};
use super::request::{checked_headers, checked_url};
use super::{Answer, Body, Credential, Outgoing, RequestError, Scheme};
use crate::config;

/// What the plugin asks for. Nothing that the gateway adds on the way stands in it, so that the next hop begins without.
pub(super) struct Hop {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    pub(super) auth: Option<(Credential, Scheme)>,
}

impl Hop {
    pub(super) fn new(
        outgoing: Outgoing,
        auth: Option<(Credential, Scheme)>,
    ) -> Result<Self, RequestError> {
        if outgoing.max_redirects > MOST_REDIRECTS {
            let message = format!("max-redirects is {MOST_REDIRECTS} at most");
            return Err(RequestError::Invalid(message));
        }
        if !config::METHODS.contains(&outgoing.method) {
            let message = format!("plugins have no method {}", outgoing.method);
            return Err(RequestError::Invalid(message));
        }
        Ok(Self {
            method: outgoing.method,
            url: checked_url(&outgoing.url)?,
            headers: checked_headers(outgoing.headers)?,
            body: outgoing.body,
            auth,
        })
    }

    /// Becomes the request that a redirect asks for, if the answer is one.
    pub(super) fn follow(&mut self, answer: &Answer) -> Result<bool, RequestError> {
        let next = redirect::next(&self.url, &self.method, answer.status, &answer.headers)?;
        let Some(next) = next else {
            return Ok(false);
        };
        redirect::carry(&mut self.headers, &next);
        if !next.keeps_origin {
            // And it does not come back when a later hop returns.
            self.auth = None;
        }
        if !next.keeps_body {
            self.body = Body::Whole(Bytes::new());
            // The form was sent; what it brought is the session.
            if let Some((_, scheme @ Scheme::FormField(_))) = &mut self.auth {
                *scheme = Scheme::Session;
            }
        }
        self.url = next.url;
        self.method = next.method;
        Ok(true)
    }
}
