//! What the engine's macro makes of `wit/`: the world with everything that this host knows.

#![allow(missing_docs, unreachable_pub, clippy::pedantic, reason = "generated from the WIT, which documents every item")]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "full-provider",
    imports: { default: async | trappable },
    exports: { default: async },
});
