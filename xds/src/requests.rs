//! gRPC messages of a request body.
//!
//! Read by hand, as a generated decoder keeps the buffer of the largest message: the 61 KB of an Envoy's first request,
//! for every idle client.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body as _;
use prost::Message;
use tonic::{Status, body::Body};

use crate::{
    response::Variant,
    stream::Request,
    wire::{DeltaRequest, SotwRequest},
};

/// One byte of flags (0: not compressed) and four of length.
const PREFIX_BYTES: usize = 5;

/// The requests of one stream.
pub(crate) struct Requests {
    body: Body,
    variant: Variant,
    /// The largest message.
    bytes_max: usize,
    chunks: VecDeque<Bytes>,
    buffered: usize,
    ended: bool,
}

impl Requests {
    pub(crate) fn new(body: Body, variant: Variant, bytes_max: usize) -> Self {
        Self { body, variant, bytes_max, chunks: VecDeque::new(), buffered: 0, ended: false }
    }

    /// The next request; `None` once the client has closed its half. Nothing is lost if the future is dropped.
    pub(crate) async fn message(&mut self) -> Result<Option<Request>, Status> {
        poll_fn(|cx| self.poll_message(cx)).await
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Request>, Status>> {
        loop {
            if let Some(message) = self.take_message()? {
                return Poll::Ready(self.decode(message).map(Some));
            }
            if self.ended {
                return Poll::Ready(match self.buffered {
                    0 => Ok(None),
                    _ => Err(Status::internal("the requests end within a message")),
                });
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(chunk) = frame.into_data()
                        && !chunk.is_empty()
                    {
                        self.buffered += chunk.len();
                        self.chunks.push_back(chunk);
                    }
                }
                Some(Err(status)) => return Poll::Ready(Err(status)),
                None => self.ended = true,
            }
        }
    }

    /// The next message, if all of it has arrived.
    fn take_message(&mut self) -> Result<Option<Bytes>, Status> {
        if self.buffered < PREFIX_BYTES {
            return Ok(None);
        }
        let mut prefix = self.chunks.iter().flatten().copied();
        let compressed = prefix.next() != Some(0);
        let len = prefix.take(4).fold(0, |len, byte| len << 8 | usize::from(byte));
        if compressed {
            return Err(Status::unimplemented("requests must not be compressed"));
        }
        if len > self.bytes_max {
            let max = self.bytes_max;
            return Err(Status::out_of_range(format!(
                "the request has {len} bytes, at most {max} are taken"
            )));
        }
        if self.buffered < PREFIX_BYTES + len {
            return Ok(None);
        }
        drop(self.take(PREFIX_BYTES));
        Ok(Some(self.take(len)))
    }

    /// The next bytes, which have arrived. They are copied only where they came in several parts.
    fn take(&mut self, len: usize) -> Bytes {
        self.buffered -= len;
        let mut parts = BytesMut::new();
        while let Some(mut chunk) = self.chunks.pop_front() {
            let missing = len - parts.len();
            if chunk.len() > missing {
                let part = chunk.split_to(missing);
                self.chunks.push_front(chunk);
                chunk = part;
            }
            if chunk.len() == len {
                return chunk;
            }
            parts.reserve(missing);
            parts.extend_from_slice(chunk.chunk());
            if parts.len() == len {
                break;
            }
        }
        parts.freeze()
    }

    fn decode(&self, message: Bytes) -> Result<Request, Status> {
        let request = match self.variant {
            Variant::Delta => DeltaRequest::decode(message).map(Request::Delta),
            Variant::Sotw => SotwRequest::decode(message).map(Request::Sotw),
        };
        request.map_err(|error| Status::invalid_argument(format!("cannot decode the request: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body::Frame;
    use proptest::prelude::*;

    use super::*;

    fn framed(message: &DeltaRequest) -> Vec<u8> {
        let bytes = message.encode_to_vec();
        [&[0], &u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], &bytes].concat()
    }

    fn requests(chunks: Vec<Vec<u8>>, bytes_max: usize) -> Requests {
        struct Chunks<S>(S);
        impl<S: futures_util::Stream<Item = Vec<u8>> + Unpin> http_body::Body for Chunks<S> {
            type Data = Bytes;
            type Error = Infallible;
            fn poll_frame(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
                Pin::new(&mut self.0)
                    .poll_next(cx)
                    .map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk.into()))))
            }
        }
        Requests::new(Body::new(Chunks(stream::iter(chunks))), Variant::Delta, bytes_max)
    }

    fn named(name: &str) -> DeltaRequest {
        DeltaRequest { type_url: name.to_owned(), ..Default::default() }
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    proptest! {
        #[test]
        fn messages_arrive_however_they_are_cut(
            names in proptest::collection::vec("[a-z]{0,20}", 0..8),
            cuts in proptest::collection::vec(0usize..12, 0..60),
        ) {
            let mut bytes: Vec<u8> = names.iter().flat_map(|name| framed(&named(name))).collect();
            let mut chunks = Vec::new();
            for cut in cuts {
                chunks.push(bytes.drain(..cut.min(bytes.len())).collect());
            }
            chunks.push(bytes);
            let mut requests = requests(chunks, 1000);
            let mut read = Vec::new();
            while let Some(request) = block_on(requests.message()).unwrap() {
                let Request::Delta(request) = request else { panic!("of the wrong variant") };
                read.push(request.type_url);
            }
            prop_assert_eq!(read, names);
            prop_assert!(requests.chunks.is_empty(), "nothing is kept");
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let code = |chunks: Vec<Vec<u8>>| block_on(requests(chunks, 10).message()).unwrap_err().code();
        assert_eq!(code(vec![framed(&named("longer than ten"))]), tonic::Code::OutOfRange);
        assert_eq!(code(vec![vec![1, 0, 0, 0, 0]]), tonic::Code::Unimplemented);
        assert_eq!(code(vec![vec![0, 0, 0, 0, 1, 0xff]]), tonic::Code::InvalidArgument);
        assert_eq!(code(vec![vec![0, 0, 0, 0, 9, 1]]), tonic::Code::Internal);
    }
}
