//! Searches for bytes that break what `stillframe_fuzz::backup_label` says of them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _: stillframe_fuzz::Verdict = stillframe_fuzz::backup_label::target(data);
});
