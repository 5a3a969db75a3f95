//! One table of operations: from it come the routes, who may use them, and the API's document.

use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::form::Form;
use super::principal::{Access, Due};
use super::query::Parameter;
use crate::http::api::Api;

/// One operation of the API.
#[derive(Clone)]
pub struct Operation {
    pub(crate) meta: Meta,
    /// What carries it out.
    pub handler: MethodRouter<Api>,
}

/// What is known of an operation beside its handler.
#[derive(Clone)]
pub struct Meta {
    pub(crate) method: Method,
    /// As in `/api/seller/dids/{id}`.
    pub(crate) path: &'static str,
    /// Unique; names it in the document and in programs made from it.
    pub(crate) id: &'static str,
    /// Its group in the document; also the name of its scopes.
    pub(crate) tag: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) about: &'static str,
    pub(crate) access: Access,
    /// API keys do not do: it is about sessions and keys themselves.
    pub(crate) session_only: bool,
    /// Whether a request with this query takes long, and so goes through the gate for such.
    pub(crate) heavy: fn(&str) -> bool,
    /// Sessions only that proved lately who they are.
    pub(crate) fresh: bool,
    /// Sessions may use it though this must be done first.
    pub(crate) also_when: &'static [Due],
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) headers: Vec<Parameter>,
    pub(crate) form: Option<&'static Form>,
    /// It does without a body.
    pub(crate) body_optional: bool,
    pub(crate) answers: Vec<Answer>,
    /// Statuses of problems beside those that follow from the rest.
    pub(crate) problems: Vec<u16>,
    /// The path that it has by its proper name, if this is another one.
    pub(crate) alias_of: Option<&'static str>,
    /// An example of its body.
    pub(crate) example: Option<&'static str>,
}

/// An answer of an operation when all went well.
#[derive(Clone, Copy)]
pub struct Answer {
    pub(crate) status: u16,
    pub(crate) about: &'static str,
    pub(crate) content: Content,
}

/// What an answer holds.
#[derive(Clone, Copy)]
pub enum Content {
    /// Nothing.
    Nothing,
    /// JSON of a type.
    Json(MakeSchema),
    /// Something else, by media type.
    Other(&'static str),
    /// No text, by media type.
    Binary(&'static str),
    /// A stream of events: their names with what each holds.
    Events(&'static [(&'static str, MakeSchema)]),
}

/// Makes the schema of a type.
pub type MakeSchema = fn(&mut SchemaGenerator) -> Schema;

/// Which operation answered: in the extensions of its response.
#[derive(Debug, Clone, Copy)]
pub struct Served {
    /// Path of the operation.
    pub path: &'static str,
}

macro_rules! methods {
    ($($name:ident = $method:ident, $filter:ident;)*) => {
        $(
            #[doc = concat!("An operation by ", stringify!($method), ".")]
            pub fn $name<H, T>(path: &'static str, id: &'static str, handler: H) -> Self
            where
                H: Handler<T, Api>,
                T: 'static,
            {
                Self::new(Method::$method, path, id, on(MethodFilter::$filter, handler))
            }
        )*
    };
}

impl Operation {
    methods! {
        get = GET, GET;
        post = POST, POST;
        put = PUT, PUT;
        delete = DELETE, DELETE;
    }

    fn new(
        method: Method,
        path: &'static str,
        id: &'static str,
        handler: MethodRouter<Api>,
    ) -> Self {
        Self {
            meta: Meta {
                method,
                path,
                id,
                tag: "other",
                summary: "",
                about: "",
                access: Access::Admin,
                session_only: false,
                heavy: |_| false,
                fresh: false,
                also_when: &[],
                parameters: Vec::new(),
                headers: Vec::new(),
                form: None,
                body_optional: false,
                answers: Vec::new(),
                problems: Vec::new(),
                alias_of: None,
                example: None,
            },
            handler,
        }
    }

    /// Its group and what it does, in a few words.
    #[must_use]
    pub fn tagged(mut self, tag: &'static str, summary: &'static str) -> Self {
        self.meta.tag = tag;
        self.meta.summary = summary;
        self
    }

    /// What there is to know beyond the summary.
    #[must_use]
    pub fn about(mut self, about: &'static str) -> Self {
        self.meta.about = about;
        self
    }

    /// Who may use it. Administrators, unless said.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.meta.access = access;
        self
    }

    /// API keys do not do.
    #[must_use]
    pub fn session_only(mut self) -> Self {
        self.meta.session_only = true;
        self
    }

    /// It searches, counts or sums up, and so may take long; see [`super::gates`].
    #[must_use]
    pub fn heavy(self) -> Self {
        self.heavy_if(|_| true)
    }

    /// As [`Self::heavy`], with some queries.
    #[must_use]
    pub fn heavy_if(mut self, heavy: fn(&str) -> bool) -> Self {
        self.meta.heavy = heavy;
        self
    }

    /// Sessions do only when their password was given within the last minutes.
    #[must_use]
    pub fn fresh(mut self) -> Self {
        self.meta.fresh = true;
        self.session_only()
    }

    /// Sessions do though this must be done before everything else.
    #[must_use]
    pub fn also_when(mut self, due: &'static [Due]) -> Self {
        self.meta.also_when = due;
        self
    }

    /// Headers of a request that it heeds.
    #[must_use]
    pub fn headers(mut self, headers: &[Parameter]) -> Self {
        self.meta.headers.extend_from_slice(headers);
        self
    }

    /// Its query parameters.
    #[must_use]
    pub fn query(mut self, parameters: &[Parameter]) -> Self {
        self.meta.parameters.extend_from_slice(parameters);
        self
    }

    /// Its body.
    #[must_use]
    pub fn body(mut self, form: &'static Form) -> Self {
        self.meta.form = Some(form);
        self
    }

    /// Its body, if there is one: the handler reads it with [`super::body::read_optional`].
    #[must_use]
    pub fn body_if_any(mut self, form: &'static Form) -> Self {
        self.meta.form = Some(form);
        self.meta.body_optional = true;
        self
    }

    /// An example of its body: JSON text.
    #[must_use]
    pub fn example(mut self, json: &'static str) -> Self {
        self.meta.example = Some(json);
        self
    }

    /// An answer with JSON.
    #[must_use]
    pub fn answers<T: JsonSchema>(mut self, status: u16, about: &'static str) -> Self {
        self.meta.answers.push(Answer {
            status,
            about,
            content: Content::Json(SchemaGenerator::subschema_for::<T>),
        });
        self
    }

    /// An answer without content.
    #[must_use]
    pub fn answers_nothing(mut self, status: u16, about: &'static str) -> Self {
        self.meta.answers.push(Answer {
            status,
            about,
            content: Content::Nothing,
        });
        self
    }

    /// An answer that is not JSON.
    #[must_use]
    pub fn answers_other(
        mut self,
        status: u16,
        about: &'static str,
        media_type: &'static str,
    ) -> Self {
        self.meta.answers.push(Answer {
            status,
            about,
            content: Content::Other(media_type),
        });
        self
    }

    /// An answer that is neither JSON nor text.
    #[must_use]
    pub fn answers_binary(
        mut self,
        status: u16,
        about: &'static str,
        media_type: &'static str,
    ) -> Self {
        self.meta.answers.push(Answer {
            status,
            about,
            content: Content::Binary(media_type),
        });
        self
    }

    /// An answer that is a stream of events.
    #[must_use]
    pub fn answers_events(
        mut self,
        status: u16,
        about: &'static str,
        events: &'static [(&'static str, MakeSchema)],
    ) -> Self {
        self.meta.answers.push(Answer {
            status,
            about,
            content: Content::Events(events),
        });
        self
    }

    /// The same operation under another path, where it was before: both stay.
    #[must_use]
    pub fn also_at(&self, path: &'static str, id: &'static str) -> Self {
        let mut alias = self.clone();
        alias.meta.path = path;
        alias.meta.id = id;
        alias.meta.alias_of = Some(self.meta.path);
        alias
    }

    /// It is another address of what is at this path.
    #[must_use]
    pub fn alias_of(mut self, path: &'static str) -> Self {
        self.meta.alias_of = Some(path);
        self
    }

    /// Statuses of problems that do not follow from access, path, query and body: 409, 412, …
    #[must_use]
    pub fn problems(mut self, statuses: &[u16]) -> Self {
        self.meta.problems.extend_from_slice(statuses);
        self
    }
}
