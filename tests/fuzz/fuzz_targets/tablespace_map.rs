//! Searches for bytes that break what `stillframe_fuzz::tablespace_map` says of them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _: stillframe_fuzz::Verdict = stillframe_fuzz::tablespace_map::target(data);
});
