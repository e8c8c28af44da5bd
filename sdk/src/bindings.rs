//! What `wit-bindgen` makes of the interface in `wit/`.
//!
//! Three worlds instead of one, because a component must export all that its world exports: the obligatory part, and one world
//! for each optional interface. [`crate::export_provider`] exports those that the author asks for. Imports need no such care:
//! the linker drops those that are never called.

#![allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    clippy::pedantic,
    reason = "generated code; what its public types mean is in their own documents, copied from `wit/`"
)]

pub mod base {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "
            package stillframe:sdk;
            world base {
                import stillframe:provider/host@1.0.0;
                import stillframe:provider/command@1.0.0;
                import stillframe:provider/aws@1.0.0;
                import stillframe:provider/http@1.0.0;
                import stillframe:provider/tree@1.0.0;
                export stillframe:provider/provider@1.0.0;
            }
        ",
        world: "stillframe:sdk/base",
        generate_all,
        additional_derives: [PartialEq, Eq],
        pub_export_macro: true,
        export_macro_name: "export_base",
    });
}

pub mod restore {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "
            package stillframe:sdk;
            world restore {
                export stillframe:provider/restore@1.0.0;
            }
        ",
        world: "stillframe:sdk/restore",
        with: { "stillframe:provider/types@1.0.0": crate::bindings::base::stillframe::provider::types },
        generate_all,
        additional_derives: [PartialEq, Eq],
        pub_export_macro: true,
        export_macro_name: "export_restore",
    });
}

pub mod lock {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "
            package stillframe:sdk;
            world lock {
                export stillframe:provider/lock@1.0.0;
            }
        ",
        world: "stillframe:sdk/lock",
        with: { "stillframe:provider/types@1.0.0": crate::bindings::base::stillframe::provider::types },
        generate_all,
        additional_derives: [PartialEq, Eq],
        pub_export_macro: true,
        export_macro_name: "export_lock",
    });
}
