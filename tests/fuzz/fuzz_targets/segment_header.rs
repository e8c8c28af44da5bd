//! Searches for bytes that break what `stillframe_fuzz::segment_header` says of them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _: stillframe_fuzz::Verdict = stillframe_fuzz::segment_header::target(data);
});
