//! The engine: its configuration, the choice between native code and the interpreter, and the clock of its epochs.

use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use thiserror::Error;
use wasmtime::{Cache, Config, Engine, EngineWeak, Module};

use crate::settings::EngineKind;

/// A guest that computes is interrupted this often, to look at its deadline and to let other tasks run.
const TICK: Duration = Duration::from_millis(10);

/// Address space of one memory. The engine's default of 4 GiB fails under `ulimit -v`; nothing slower was measured with this.
const MEMORY_RESERVATION: u64 = 64 << 20;

/// Unmapped space behind a memory.
const MEMORY_GUARD: u64 = 64 << 10;

/// Space to grow into after a memory had to move.
const MEMORY_RESERVATION_FOR_GROWTH: u64 = 16 << 20;

/// Frames of a backtrace that are kept.
const MAX_BACKTRACE_FRAMES: usize = 32;

/// A module with one empty function: the smallest thing that needs executable memory.
const PROBE: &[u8] = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a\x04\x01\x02\0\x0b";

/// Why there is no engine.
#[derive(Debug, Error)]
#[error("the WebAssembly engine cannot be started: {0}")]
pub(crate) struct EngineFailure(String);

/// Starts the engine and its clock.
pub(crate) fn start(kind: EngineKind, cache: Option<&Cache>) -> Result<Engine, EngineFailure> {
    let engine = choose(kind, || native(cache), || interpreter(cache))?;
    tick(engine.weak())?;
    Ok(engine)
}

fn choose(
    kind: EngineKind,
    native: impl FnOnce() -> Result<Engine, EngineFailure>,
    interpreter: impl FnOnce() -> Result<Engine, EngineFailure>,
) -> Result<Engine, EngineFailure> {
    match kind {
        EngineKind::Native => native(),
        EngineKind::Pulley => interpreter(),
        EngineKind::Auto => native().or_else(|EngineFailure(reason)| {
            tracing::info!("providers run in the interpreter, since native code does not run here: {reason}");
            interpreter()
        }),
    }
}

/// Native code. Fails also where executable memory is forbidden (systemd's `MemoryDenyWriteExecute`, SELinux): only trying shows.
fn native(cache: Option<&Cache>) -> Result<Engine, EngineFailure> {
    let engine = Engine::new(&config(cache)).map_err(failure)?;
    Module::new(&engine, PROBE).map_err(failure)?;
    Ok(engine)
}

fn interpreter(cache: Option<&Cache>) -> Result<Engine, EngineFailure> {
    let mut config = config(cache);
    config.target("pulley64").map_err(failure)?;
    Engine::new(&config).map_err(failure)
}

fn config(cache: Option<&Cache>) -> Config {
    let mut config = Config::new();
    config
        .cache(cache.cloned())
        .epoch_interruption(true)
        .memory_reservation(MEMORY_RESERVATION)
        .memory_guard_size(MEMORY_GUARD)
        .memory_reservation_for_growth(MEMORY_RESERVATION_FOR_GROWTH)
        .wasm_backtrace_max_frames(NonZeroUsize::new(MAX_BACKTRACE_FRAMES));
    config
}

/// Advances the epoch until the engine is gone.
fn tick(engine: EngineWeak) -> Result<(), EngineFailure> {
    let clock = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
        }
    };
    thread::Builder::new().name("stillframe-epoch".to_owned()).spawn(clock).map_err(|error| EngineFailure(error.to_string()))?;
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that `map_err` wants")]
fn failure(error: wasmtime::Error) -> EngineFailure {
    EngineFailure(format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use wasmtime::component::Component;
    use wasmtime::{Cache, CacheConfig};

    use super::{EngineFailure, choose, interpreter, start};
    use crate::settings::EngineKind;

    const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    fn component_with_code(seed: u8) -> Vec<u8> {
        wat::parse_str(format!("(component (core module (func (result i32) i32.const {seed})))")).unwrap()
    }

    #[test]
    fn both_engines_start() {
        for kind in [EngineKind::Auto, EngineKind::Native, EngineKind::Pulley] {
            let engine = start(kind, None).unwrap();
            Component::from_binary(&engine, EMPTY_COMPONENT).unwrap();
            assert_eq!(engine.is_pulley(), kind == EngineKind::Pulley);
        }
    }

    #[test]
    fn without_executable_memory_it_interprets_unless_told_not_to() {
        let forbidden = || Err(EngineFailure("unable to make memory executable".to_owned()));
        assert!(choose(EngineKind::Auto, forbidden, || interpreter(None)).unwrap().is_pulley());
        assert!(choose(EngineKind::Native, forbidden, || interpreter(None)).is_err());
    }

    #[test]
    fn compiled_code_is_kept_by_content_and_by_engine() {
        let place = tempfile::tempdir().unwrap();
        let cache = Cache::new(CacheConfig::new().with_directory(place.path()).clone()).unwrap();
        let (first, second) = (component_with_code(1), component_with_code(2));
        let compile = |kind, bytes: &[u8]| {
            let engine = start(kind, Some(&cache)).unwrap();
            let before = cache.cache_misses();
            Component::from_binary(&engine, bytes).unwrap();
            cache.cache_misses() > before
        };
        assert!(compile(EngineKind::Native, &first));
        assert!(!compile(EngineKind::Native, &first), "the second time it comes from the disk");
        assert!(compile(EngineKind::Native, &second), "other content");
        assert!(compile(EngineKind::Pulley, &first), "another engine");
        assert!(!compile(EngineKind::Pulley, &first));
    }
}
