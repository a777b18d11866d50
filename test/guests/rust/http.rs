//! A GET in Rust over `atalanta_http`, without any crate: `get URL` prints the status and the body.
use std::io::Write;

mod atalanta_http {
    #[repr(C)]
    pub struct Header {
        pub name: *const u8,
        pub name_length: usize,
        pub value: *const u8,
        pub value_length: usize,
    }

    #[repr(C)]
    #[derive(Default)]
    pub struct Response {
        pub handle: u32,
        pub status: u32,
    }

    #[link(wasm_import_module = "atalanta_http")]
    extern "C" {
        pub fn send(
            method: *const u8, method_length: usize, url: *const u8, url_length: usize,
            headers: *const Header, header_count: usize, body: *const u8, body_length: usize,
            timeout_ms: u32, redirects: u32, response: *mut Response,
        ) -> i32;
        pub fn headers(handle: u32, buffer: *mut u8, length: usize, size: *mut usize) -> i32;
        pub fn read(handle: u32, buffer: *mut u8, length: usize, size: *mut usize) -> i32;
        pub fn close(handle: u32) -> i32;
        pub fn error(buffer: *mut u8, length: usize, size: *mut usize) -> i32;
    }
}

/// The host's words for what went wrong.
fn checked(number: i32) -> Result<(), String> {
    if number == 0 {
        return Ok(());
    }
    let mut text = vec![0; 1024];
    let mut size = 0;
    unsafe { atalanta_http::error(text.as_mut_ptr(), text.len(), &mut size) };
    text.truncate(size);
    Err(format!("error {}: {}", number, String::from_utf8_lossy(&text)))
}

fn get(url: &str, accept: &str, out: &mut dyn Write) -> Result<(), String> {
    let headers = [atalanta_http::Header {
        name: "accept".as_ptr(), name_length: 6, value: accept.as_ptr(), value_length: accept.len(),
    }];
    let mut response = atalanta_http::Response::default();
    checked(unsafe {
        atalanta_http::send(
            "GET".as_ptr(), 3, url.as_ptr(), url.len(), headers.as_ptr(), headers.len(),
            std::ptr::null(), 0, 10_000, 5, &mut response,
        )
    })?;
    let mut size = 0;
    let mut text = vec![0; 64 * 1024];
    checked(unsafe { atalanta_http::headers(response.handle, text.as_mut_ptr(), text.len(), &mut size) })?;
    let type_line = String::from_utf8_lossy(&text[..size]).lines().find(|line| line.starts_with("content-type: ")).map(str::to_owned);
    writeln!(out, "{} {}", response.status, type_line.unwrap_or_default()).map_err(|error| error.to_string())?;
    loop {
        checked(unsafe { atalanta_http::read(response.handle, text.as_mut_ptr(), text.len(), &mut size) })?;
        if size == 0 {
            break;
        }
        out.write_all(&text[..size]).map_err(|error| error.to_string())?;
    }
    checked(unsafe { atalanta_http::close(response.handle) })
}

fn main() {
    let url = std::env::args().nth(1).expect("get URL");
    if let Err(error) = get(&url, "text/plain", &mut std::io::stdout()) {
        println!("{}", error);
        std::process::exit(1);
    }
}
