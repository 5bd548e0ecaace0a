//! The first 24 bytes of an HTTP/2 connection.
//!
//! A client that is connected and says nothing would be waited for without end by everything above: so the preface is read
//! here, under a deadline, and replayed.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// A stream whose client has sent the preface, which is read again first.
pub(super) struct Prefaced<S> {
    unread: &'static [u8],
    stream: S,
}

impl<S: AsyncRead + Unpin> Prefaced<S> {
    /// Reads the preface.
    ///
    /// # Errors
    /// If the stream ends or holds anything else. There is no deadline here.
    pub(super) async fn read(mut stream: S) -> io::Result<Self> {
        let mut first = [0; PREFACE.len()];
        stream.read_exact(&mut first).await?;
        if first == *PREFACE {
            Ok(Self { unread: PREFACE, stream })
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "not HTTP/2"))
        }
    }

    /// The stream below.
    pub(super) fn stream(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefaced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, into);
        }
        let (now, later) = self.unread.split_at(self.unread.len().min(into.remaining()));
        into.put_slice(now);
        self.unread = later;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefaced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// RFC 9113 section 3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_preface_is_replayed_through_reads_of_any_size() {
        let said = [PREFACE.as_slice(), b"and more"].concat();
        let mut prefaced = Prefaced::read(said.as_slice()).await.unwrap();
        let mut first = [0; 5];
        prefaced.read_exact(&mut first).await.unwrap();
        let mut rest = Vec::new();
        prefaced.read_to_end(&mut rest).await.unwrap();
        assert_eq!([first.as_slice(), &rest].concat(), said);
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        for other in ["GET / HTTP/1.1\r\nHost: privet\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r", ""] {
            assert!(Prefaced::read(other.as_bytes()).await.is_err(), "{other:?}");
        }
    }
}
