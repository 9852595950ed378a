//! A filter that removes the body from Envoy's buffer chunk by chunk and puts it back whole: the minimum cost of any
//! filter that must see the whole body before it forwards a request.

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, BufferType, ContextType};

mod start {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|_| Box::new(super::Root));
    }}
}

struct Root;

#[derive(Default)]
struct Stream {
    body: Vec<u8>,
}

impl Context for Root {}

impl RootContext for Root {
    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream::default()))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if let Ok(Some(chunk)) = hostcalls::get_buffer(BufferType::HttpRequestBody, 0, size) {
            self.body.extend_from_slice(&chunk);
        }
        let out = if end_of_stream { &self.body[..] } else { b"" };
        let _ = hostcalls::set_buffer(BufferType::HttpRequestBody, 0, size, out);
        if end_of_stream { Action::Continue } else { Action::Pause }
    }
}
