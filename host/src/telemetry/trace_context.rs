//! `traceparent`, the header of W3C Trace Context: which trace a request belongs to.
//!
//! It is read strictly, and what does not read is ignored: a header that somebody's proxy garbled must not cost an instance
//! its vendordata. `tracestate` is not read: it is text of others, and nothing here would look at it.
//!
//! What goes on to the plugin and its upstreams is the header as it came, or, where the gateway sends traces itself, one
//! that names the gateway's own span as parent.

use std::sync::Arc;

use axum::http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The header.
pub const TRACEPARENT: &str = "traceparent";

/// `VERSION-TRACE-PARENT-FLAGS`, as version 00 has it and later ones begin.
const LENGTH: usize = 55;

/// Makes the request's span a child of the caller's, and returns the caller's `traceparent` for the plugin. Call it before
/// the span is entered, and for callers that were let in: a trace that is asked for is sent.
pub fn adopt(span: &Span, headers: &HeaderMap) -> Option<Arc<str>> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    // Two of them say nothing.
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let parent = parse(value.to_str().ok()?)?;
    let text = text(&parent);
    // Without a collector, or when the span is not recorded, there is nothing to be a child.
    let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    Some(text)
}

/// The `traceparent` that names this span as parent; none where no traces are sent.
pub fn outgoing(span: &Span) -> Option<Arc<str>> {
    let context = span.context();
    let span = context.span();
    span.span_context()
        .is_valid()
        .then(|| text(span.span_context()))
}

/// Of a later version only what version 00 knows is read, and handed on as version 00.
fn parse(header: &str) -> Option<SpanContext> {
    let (fields, rest) = header.split_at_checked(LENGTH)?;
    let mut fields = fields.split('-');
    let mut field = |digits: usize| {
        let field = fields.next().filter(|field| field.len() == digits)?;
        let lower_hex = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        field.bytes().all(lower_hex).then_some(field)
    };
    let (version, trace, parent, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
    let ends = match version {
        "00" => rest.is_empty(),
        "ff" => false,
        _ => rest.is_empty() || rest.starts_with('-'),
    };
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let parent = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(parent).ok()?,
        flags,
        true,
        TraceState::default(),
    );
    // Ids of zeros only are no ids.
    (ends && parent.is_valid()).then_some(parent)
}

fn text(span: &SpanContext) -> Arc<str> {
    format!(
        "00-{}-{}-{:02x}",
        span.trace_id(),
        span.span_id(),
        span.trace_flags()
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const PARENT: &str = "b7ad6b7169203331";

    fn adopted(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT, value.parse().expect("a header's value"));
        }
        adopt(&Span::none(), &headers).map(|text| text.to_string())
    }

    #[test]
    fn a_good_header_is_handed_on() {
        for flags in ["00", "01"] {
            let header = format!("00-{TRACE}-{PARENT}-{flags}");
            assert_eq!(adopted(&[&header]), Some(header));
        }
    }

    #[test]
    fn of_a_later_version_or_flag_only_what_is_known_is_handed_on() {
        let known = Some(format!("00-{TRACE}-{PARENT}-01"));
        for header in [
            format!("cc-{TRACE}-{PARENT}-01"),
            format!("cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like"),
            format!("00-{TRACE}-{PARENT}-ff"),
        ] {
            assert_eq!(adopted(&[&header]), known, "{header}");
        }
    }

    #[test]
    fn what_is_no_traceparent_is_ignored() {
        let good = format!("00-{TRACE}-{PARENT}-01");
        for header in [
            String::new(),
            "garbage".to_owned(),
            format!("{good}-"),
            format!("{good}0"),
            format!("ff-{TRACE}-{PARENT}-01"),
            format!("cc-{TRACE}-{PARENT}-01.what"),
            format!("00-{}-{PARENT}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{}-{PARENT}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{PARENT}-0x"),
            format!("00-{TRACE}0-{}-01", &PARENT[1..]),
            format!("00_{TRACE}_{PARENT}_01"),
            format!("+0-{TRACE}-{PARENT}-01"),
        ] {
            assert_eq!(adopted(&[&header]), None, "{header}");
        }
        assert_eq!(adopted(&[]), None);
        assert_eq!(adopted(&[&good, &good]), None);
    }

    #[test]
    fn without_traces_nothing_of_ours_goes_out() {
        assert_eq!(outgoing(&tracing::info_span!("unseen")), None);
    }
}
