//! Looks through the whole linear memory.

/// Bytes of a page of WebAssembly.
const PAGE_BYTES: usize = 64 << 10;

/// Digits of a signature.
const SIGNATURE_BYTES: usize = 64;

/// How often each of these occurs, none of which is in memory as it is looked for: every byte is raised by one.
pub(crate) fn count(raised: &[String]) -> Vec<usize> {
    let memory = whole();
    let occurs = |place: usize, raised: &[u8]| {
        let Some(found) = memory.get(place..place + raised.len()) else { return false };
        found.iter().zip(raised).all(|(found, raised)| found.wrapping_add(1) == *raised)
    };
    raised.iter().map(|raised| (0..memory.len()).filter(|place| occurs(*place, raised.as_bytes())).count()).collect()
}

/// Every run of as many hexadecimal digits as a signature has, each once.
pub(crate) fn signatures() -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let runs = whole().split(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    for run in runs.filter(|run| run.len() == SIGNATURE_BYTES) {
        let run = String::from_utf8_lossy(run).into_owned();
        if !found.contains(&run) {
            found.push(run);
        }
    }
    found
}

#[expect(unsafe_code, reason = "there is no other way to see memory that nothing points to any more")]
fn whole() -> &'static [u8] {
    let bytes = core::arch::wasm32::memory_size(0) * PAGE_BYTES;
    // SAFETY: all of it exists and can be read; nothing writes while the slice is read. Address 0 is no valid pointer.
    unsafe { core::slice::from_raw_parts(core::ptr::with_exposed_provenance(1), bytes - 1) }
}
