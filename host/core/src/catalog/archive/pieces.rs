//! Work on a long content in pieces, on two threads at once.
//!
//! Of compressing, hashing and writing, each takes about as long as the others, and the machine of a server has more than one
//! core. Pieces are small enough for the second-level cache, few, and used again: fresh memory costs as much as hashing it.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{channel, sync_channel};
use std::thread;

/// Length of one piece.
const PIECE_BYTES: usize = 256 << 10;

/// Pieces on their way at most: one is filled, and the others keep the second thread busy when the first one lags.
const PIECES: usize = 4;

/// One buffer and how much of it is filled.
struct Piece {
    buffer: Vec<u8>,
    length: usize,
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

/// Gives every piece that `fill` makes to `here`, on this thread, and to `beside`, on another one, each in order.
///
/// `fill` returns how many bytes it wrote into the buffer, and none at the end. The first failure ends it all.
pub(super) fn pass<E: Send>(
    mut fill: impl FnMut(&mut [u8]) -> Result<usize, E>,
    mut here: impl FnMut(&[u8]) -> Result<(), E>,
    mut beside: impl FnMut(&[u8]) -> Result<(), E> + Send,
) -> Result<(), E> {
    let mut piece = next(vec![0; PIECE_BYTES], &mut fill)?;
    // What fits one piece is not worth a thread.
    if piece.length < PIECE_BYTES {
        here(piece.bytes())?;
        return beside(piece.bytes());
    }
    thread::scope(|scope| {
        let (give, taken) = sync_channel::<Arc<Piece>>(PIECES);
        let (give_back, used) = channel::<Arc<Piece>>();
        let other = scope.spawn(move || {
            for piece in taken {
                beside(piece.bytes())?;
                // Nobody waits for it at the end.
                let _ = give_back.send(piece);
            }
            Ok(())
        });
        let mut made = 1;
        while piece.length > 0 {
            let is_last = piece.length < PIECE_BYTES;
            let shared = Arc::new(piece);
            if give.send(Arc::clone(&shared)).is_err() {
                break;
            }
            here(shared.bytes())?;
            // Not every decoder can be asked again after its end.
            if is_last {
                break;
            }
            drop(shared);
            let buffer = if made < PIECES {
                made += 1;
                vec![0; PIECE_BYTES]
            } else {
                // Ours is gone, so that what comes back is the last reference.
                let Some(piece) = used.recv().ok().and_then(Arc::into_inner) else { break };
                piece.buffer
            };
            piece = next(buffer, &mut fill)?;
        }
        drop(give);
        // A failure over there ends the loop above, and is told here.
        other.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Fills a buffer as far as it goes.
fn next<E>(mut buffer: Vec<u8>, fill: &mut impl FnMut(&mut [u8]) -> Result<usize, E>) -> Result<Piece, E> {
    let mut length = 0;
    while length < buffer.len() {
        match fill(&mut buffer[length..])? {
            0 => break,
            more => length += more,
        }
    }
    Ok(Piece { buffer, length })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes so many bytes through; returns what arrived on either side.
    fn passed(total: usize, fails_at: Option<usize>) -> Result<(Vec<u8>, Vec<u8>), &'static str> {
        let content: Vec<u8> = (0..total).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let (mut at, mut is_over, mut here, mut beside) = (0, false, Vec::new(), Vec::new());
        pass(
            |buffer| {
                // Short reads, as of a decoder, which need not be asked after its end.
                assert!(!is_over, "asked again");
                is_over = at == total;
                let length = buffer.len().min(100_003).min(total - at);
                buffer[..length].copy_from_slice(&content[at..at + length]);
                at += length;
                Ok(length)
            },
            |piece| {
                here.extend_from_slice(piece);
                Ok(())
            },
            |piece| {
                beside.extend_from_slice(piece);
                if fails_at.is_some_and(|at| beside.len() >= at) { Err("full") } else { Ok(()) }
            },
        )?;
        assert_eq!(here, content);
        Ok((here, beside))
    }

    #[test]
    fn both_sides_see_every_byte_in_order() {
        for total in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 4 * PIECE_BYTES, 9 * PIECE_BYTES + 7] {
            let (here, beside) = passed(total, None).unwrap();
            assert_eq!(here, beside, "{total}");
        }
    }

    #[test]
    fn a_failure_on_the_other_thread_is_told() {
        for total in [5, 2 * PIECE_BYTES, 20 * PIECE_BYTES] {
            for fails_at in [1, total / 2, total] {
                assert_eq!(passed(total, Some(fails_at)), Err("full"), "{fails_at} of {total}");
            }
        }
    }
}
