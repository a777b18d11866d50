/*
 * HTTP for a WebAssembly guest of Atalanta, in C and C++. Copy this file; docs/http.md says what each call does.
 * Every call answers 0 or an error number of WASI (with wasi-libc: those of <errno.h>).
 */
#ifndef ATALANTA_HTTP_H
#define ATALANTA_HTTP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ATALANTA_HTTP(name) __attribute__((import_module("atalanta_http"), import_name(name)))

typedef struct {
  const char *name;
  size_t name_length;
  const char *value;
  size_t value_length;
} atalanta_http_header;

typedef struct {
  uint32_t handle;
  uint32_t status;
} atalanta_http_response;

/* Sends a request and waits for the status and the headers of its response. `timeout_ms` 0 is the host's own. The host follows at most
   `redirects` redirects. Close the handle when the body is not wanted to its end. */
ATALANTA_HTTP("send")
int32_t atalanta_http_send(const char *method, size_t method_length, const char *url, size_t url_length,
                           const atalanta_http_header *headers, size_t header_count, const void *body,
                           size_t body_length, uint32_t timeout_ms, uint32_t redirects,
                           atalanta_http_response *response);

/* Writes the response's headers as lines "name: value\n", names in lower case. `size` becomes their length, also when the buffer is too small
   (EOVERFLOW). */
ATALANTA_HTTP("headers")
int32_t atalanta_http_headers(uint32_t handle, char *buffer, size_t length, size_t *size);

/* Reads the next bytes of the body; `size` becomes how many there were, 0 at its end. */
ATALANTA_HTTP("read")
int32_t atalanta_http_read(uint32_t handle, void *buffer, size_t length, size_t *size);

/* Lets go of a response. */
ATALANTA_HTTP("close")
int32_t atalanta_http_close(uint32_t handle);

/* Writes why the last call failed, as one line of text. `size` as for the headers. */
ATALANTA_HTTP("error")
int32_t atalanta_http_error(char *buffer, size_t length, size_t *size);

#ifdef __cplusplus
}
#endif

#endif
