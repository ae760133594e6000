//! Control, tips and calls through [`weir_pull::Pull`], over a pipe in virtual time. One scenario a file.

mod a_call_is_one_request_and_one_response;
mod common;
