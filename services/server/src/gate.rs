//! The way in for a request's body: every gRPC message is looked at by its five-byte head before it is taken in.
//!
//! Promises: a message that is larger than its call allows is refused before memory is taken for it; compressed
//! messages are refused without being inflated; a call with one request takes one; whoever stops sending is refused
//! after a while.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use rollcall_core::{Fault, Reason};
use tokio::time::{Instant, Sleep};
use tonic::Status;

use crate::contract::Rpc;
use crate::contract::Shape;
use crate::refusal;

const HEAD_SIZE_BYTES: usize = 5;

/// A request's body, looked at.
pub(crate) struct Gate<B = Incoming> {
    body: B,
    messages: Messages,
    stall: Duration,
    patience: Pin<Box<Sleep>>,
    /// Since the handler has asked for more: while it works on what it has, nobody waits for the client.
    waiting: bool,
    over: bool,
}

impl<B> Gate<B> {
    pub(crate) fn new(body: B, rpc: &Rpc, stall: Duration) -> Self {
        let many = matches!(rpc.shape, Shape::Upload | Shape::Both);
        Self {
            body,
            messages: Messages::new(rpc.request_size_bytes, if many { Count::Many } else { Count::One }),
            stall,
            patience: Box::pin(tokio::time::sleep(stall)),
            waiting: false,
            over: false,
        }
    }

    fn refuse(&mut self, fault: &Fault) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.over = true;
        Poll::Ready(Some(Err(refusal::status(fault))))
    }
}

impl<B> Body for Gate<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            if !this.waiting {
                this.waiting = true;
                this.patience.as_mut().reset(Instant::now() + this.stall);
            }
            ready!(this.patience.as_mut().poll(cx));
            let message = format!("nothing more of the request came within {:?}", this.stall);
            return this.refuse(&Fault::new(Reason::DeadlineExceeded, message));
        };
        this.waiting = false;
        match frame {
            None => Poll::Ready(None),
            // The client has gone or has reset the call: nobody hears what is answered.
            Some(Err(error)) => {
                this.over = true;
                Poll::Ready(Some(Err(Status::cancelled(error.to_string()))))
            }
            Some(Ok(frame)) => match frame.data_ref().map_or(Ok(()), |data| this.messages.pass(data)) {
                Ok(()) => Poll::Ready(Some(Ok(frame))),
                Err(fault) => this.refuse(&fault),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How many messages a body has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    One,
    Many,
}

/// Where in the sequence of messages the body is.
pub(crate) struct Messages {
    limit: usize,
    count: Count,
    begun: u64,
    head: [u8; HEAD_SIZE_BYTES],
    head_size: usize,
    /// Bytes of the message that have not come yet.
    left: usize,
}

impl Messages {
    pub(crate) fn new(limit: usize, count: Count) -> Self {
        Self { limit, count, begun: 0, head: [0; HEAD_SIZE_BYTES], head_size: 0, left: 0 }
    }

    /// Looks at the next bytes of the body.
    pub(crate) fn pass(&mut self, mut data: &[u8]) -> Result<(), Fault> {
        while !data.is_empty() {
            if self.left > 0 {
                let taken = self.left.min(data.len());
                self.left -= taken;
                data = &data[taken..];
                continue;
            }
            self.head[self.head_size] = data[0];
            self.head_size += 1;
            data = &data[1..];
            if self.head_size == HEAD_SIZE_BYTES {
                self.head_size = 0;
                self.left = self.begin()?;
            }
        }
        Ok(())
    }

    /// The size of the message that begins with this head.
    fn begin(&mut self) -> Result<usize, Fault> {
        let [flag, length @ ..] = self.head;
        let length = u32::from_be_bytes(length);
        self.begun += 1;
        if self.count == Count::One && self.begun > 1 {
            return Err(Fault::new(Reason::FieldInvalid, "this call takes one message; more came"));
        }
        if flag != 0 {
            let message = format!("messages are taken as they are, not compressed (flag {flag})");
            return Err(Fault::new(Reason::NotServedHere, message));
        }
        match usize::try_from(length) {
            Ok(length) if length <= self.limit => Ok(length),
            _ => {
                let message =
                    format!("the message has {length} bytes; this call takes {} at most", self.limit);
                Err(Fault::new(Reason::LimitReached, message).with("limit", self.limit))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rollcall_core::limits;

    use super::*;
    use crate::contract::Rule;

    /// A body that never has anything.
    struct Silent;

    impl Body for Silent {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_client_has_its_time_from_when_the_handler_asks_for_more() {
        let stall = Duration::from_secs(30);
        let rpc = Rpc {
            path: "/a/B".into(),
            shape: Shape::Upload,
            rule: Rule::Anyone,
            request_size_bytes: limits::REQUEST_SIZE_BYTES,
        };
        let mut gate = Gate::new(Silent, &rpc, stall);
        // The handler works for an hour on what it has.
        tokio::time::advance(Duration::from_secs(3_600)).await;
        let asked = Instant::now();
        let refused = std::future::poll_fn(|cx| Pin::new(&mut gate).poll_frame(cx)).await;
        assert_eq!(refused.unwrap().unwrap_err().code(), tonic::Code::DeadlineExceeded);
        assert!(asked.elapsed() >= stall);
    }

    fn message(flag: u8, length: u32, body: &[u8]) -> Vec<u8> {
        [&[flag][..], &length.to_be_bytes(), body].concat()
    }

    fn reason(limit: usize, count: Count, bytes: &[u8]) -> Option<Reason> {
        let whole = Messages::new(limit, count).pass(bytes).err().map(|fault| fault.reason);
        let mut messages = Messages::new(limit, count);
        let single = bytes.chunks(1).find_map(|byte| messages.pass(byte).err()).map(|fault| fault.reason);
        assert_eq!(whole, single, "cut into single bytes it is the same");
        whole
    }

    #[test]
    fn what_a_message_claims_is_checked_before_it_comes() {
        let cases: [(Vec<u8>, Option<Reason>); 8] = [
            (message(0, 0, b""), None),
            (message(0, 10, b"0123456789"), None),
            (message(0, 11, b""), Some(Reason::LimitReached)),
            (message(0, u32::MAX, b"12345"), Some(Reason::LimitReached)),
            (message(1, 3, b"abc"), Some(Reason::NotServedHere)),
            (message(7, 0, b""), Some(Reason::NotServedHere)),
            ([message(0, 1, b"a"), message(0, 1, b"b")].concat(), Some(Reason::FieldInvalid)),
            (vec![0, 0, 0], None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(reason(10, Count::One, &bytes), expected, "{bytes:?}");
        }
        let three = [message(0, 1, b"a"), message(0, 0, b""), message(0, 2, b"bc")].concat();
        assert_eq!(reason(10, Count::Many, &three), None);
    }
}
