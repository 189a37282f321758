//! The way out for an answer's body.
//!
//! Promises: it is handed on in pieces of 16 KiB, so that a client which does not read holds no more of it; no message is
//! larger than 4 MiB; it ends with a status that has a reason; it ends when its lease does; and when it is over, however that came about, the call is
//! counted and logged once.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use rollcall_core::{Fault, Reason, limits};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Code, Status};

use crate::gate::{Count, Messages};
use crate::lease::Lease;
use crate::refusal;
use crate::telemetry::Record;

/// An answer's body.
pub(crate) struct Answer {
    inner: Option<Source>,
    piece: Bytes,
    messages: Messages,
    record: Record,
}

struct Source {
    body: tonic::body::Body,
    lease: Arc<Lease>,
    ending: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Answer {
    /// An answer that is in its headers.
    pub(crate) fn empty(record: Record) -> Self {
        Self { inner: None, piece: Bytes::new(), messages: messages(), record }
    }

    /// An answer with messages.
    pub(crate) fn new(body: tonic::body::Body, lease: Arc<Lease>, record: Record) -> Self {
        let ending = Box::pin(lease.ending());
        let inner = Some(Source { body, lease, ending });
        Self { inner, piece: Bytes::new(), messages: messages(), record }
    }

    fn last(&mut self, mut trailers: HeaderMap) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        refusal::explain(&mut trailers);
        self.record.code(refusal::code(&trailers).unwrap_or(Code::Unknown));
        self.inner = None;
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    /// A fault of ours: nobody could take the answer.
    fn too_large(&mut self, fault: &Fault) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        tracing::error!(error = %fault.message, "an answer is larger than clients take");
        let message = "the answer is larger than clients take; ask for a smaller page";
        self.last(refusal::trailers(refusal::status(&Fault::new(Reason::LimitReached, message))))
    }

    fn next_piece(&mut self, lease: &Lease) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let size = self.piece.len().min(limits::ANSWER_PIECE_SIZE_BYTES);
        lease.offered();
        Poll::Ready(Some(Ok(Frame::data(self.piece.split_to(size)))))
    }
}

fn messages() -> Messages {
    Messages::new(limits::ANSWER_SIZE_BYTES, Count::Many)
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(source) = &mut this.inner else { return Poll::Ready(None) };
        let lease = Arc::clone(&source.lease);
        lease.taken();
        if source.ending.as_mut().poll(cx).is_ready() {
            let status = refusal::status(&lease.fault());
            return this.last(refusal::trailers(status));
        }
        if !this.piece.is_empty() {
            return this.next_piece(&lease);
        }
        loop {
            match Pin::new(&mut source.body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => {
                    this.inner = None;
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(status))) => return this.last(refusal::trailers(status)),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => {
                        if let Err(fault) = this.messages.pass(&data) {
                            return this.too_large(&fault);
                        }
                        this.piece = data;
                        return this.next_piece(&lease);
                    }
                    Err(frame) => return this.last(frame.into_trailers().unwrap_or_default()),
                },
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
