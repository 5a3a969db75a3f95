//! Statements: a file each, in the folder `sql` of the capability that runs it.

/// A statement with its name.
#[derive(Debug, Clone, Copy)]
pub struct Sql {
    /// Path of its file below `src`, without ending; also names the operation in errors.
    pub name: &'static str,
    /// The statement.
    pub text: &'static str,
}

/// Declares statements: their folder below `src`, then a constant for each file in it.
macro_rules! statements {
    ($folder:literal; $($constant:ident = $name:literal),* $(,)?) => {
        $(
            #[doc = concat!("`src/", $folder, "/", $name, ".sql`.")]
            pub const $constant: $crate::db::sql::Sql = $crate::db::sql::Sql {
                name: concat!($folder, "/", $name),
                text: include_str!(concat!(
                    env!("CARGO_MANIFEST_DIR"), "/src/", $folder, "/", $name, ".sql"
                )),
            };
        )*

        /// All of them, for the test that prepares each against the migrated schema.
        pub const ALL: &[$crate::db::sql::Sql] = &[$($constant),*];
    };
}
pub(crate) use statements;

/// A statement that counts what a list finds, made of the list itself, so that both go by the same filters. It takes the
/// list's parameters, with null for the limit and for the place to go on from.
macro_rules! count_of {
    ($folder:literal, $name:literal) => {
        $crate::db::sql::Sql {
            name: concat!($folder, "/", $name, ", counted"),
            text: concat!(
                "select count(*) as total from (",
                include_str!(concat!(
                    env!("CARGO_MANIFEST_DIR"),
                    "/src/",
                    $folder,
                    "/",
                    $name,
                    ".sql"
                )),
                ") listed"
            ),
        }
    };
}
pub(crate) use count_of;
