// Calls the HTTP import as no client would. `edges URL` prints one line for each call: what was tried, and the error number.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HTTP(name) __attribute__((import_module("atalanta_http"), import_name(name)))
// Pointers as numbers, so that they may lead anywhere.
HTTP("send")
int32_t http_send(uint32_t method, uint32_t method_length, uint32_t url, uint32_t url_length, uint32_t headers,
                  uint32_t header_count, uint32_t body, uint32_t body_length, uint32_t timeout, uint32_t redirects,
                  uint32_t out);
HTTP("headers") int32_t http_headers(uint32_t handle, uint32_t buffer, uint32_t length, uint32_t size);
HTTP("read") int32_t http_read(uint32_t handle, uint32_t buffer, uint32_t length, uint32_t size);
HTTP("close") int32_t http_close(uint32_t handle);
HTTP("error") int32_t http_error(uint32_t buffer, uint32_t length, uint32_t size);

#define AT(pointer) ((uint32_t)(uintptr_t)(pointer))
static uint32_t out[2], size;
static uint32_t table[4 * 1000];
static char buffer[70000];
static const char *url;

static void say(const char *what, int32_t number) { printf("%s: %d\n", what, (int)number); }

static int32_t get(uint32_t at) {
  return http_send(AT("GET"), 3, AT(url), strlen(url), 0, 0, 0, 0, 0, 0, at);
}

int main(int count, char **arguments) {
  if (count < 2) return 64;
  url = arguments[1];
  uint32_t end = (uint32_t)__builtin_wasm_memory_size(0) * 65536;
  say("error before any failure", http_error(AT(buffer), sizeof buffer, AT(&size)));
  printf("its size: %u\n", (unsigned)size);
  // Pointers that lead outside, wholly and at their end.
  say("method outside", http_send(end, 3, AT(url), strlen(url), 0, 0, 0, 0, 0, 0, AT(out)));
  say("method over the end", http_send(end - 1, 3, AT(url), strlen(url), 0, 0, 0, 0, 0, 0, AT(out)));
  say("method at the top", http_send(0xffffffff, 3, AT(url), strlen(url), 0, 0, 0, 0, 0, 0, AT(out)));
  say("url outside", http_send(AT("GET"), 3, end, 9, 0, 0, 0, 0, 0, 0, AT(out)));
  say("url too long", http_send(AT("GET"), 3, AT(url), 0xffffffff, 0, 0, 0, 0, 0, 0, AT(out)));
  say("headers outside", http_send(AT("GET"), 3, AT(url), strlen(url), end - 8, 1, 0, 0, 0, 0, AT(out)));
  say("headers without number", http_send(AT("GET"), 3, AT(url), strlen(url), AT(table), 0xffffffff, 0, 0, 0, 0, AT(out)));
  say("201 headers", http_send(AT("GET"), 3, AT(url), strlen(url), AT(table), 201, 0, 0, 0, 0, AT(out)));
  table[0] = AT("x"), table[1] = 1, table[2] = end, table[3] = 1;
  say("value outside", http_send(AT("GET"), 3, AT(url), strlen(url), AT(table), 1, 0, 0, 0, 0, AT(out)));
  table[2] = AT(buffer), table[3] = 0xffffffff;
  say("value too long", http_send(AT("GET"), 3, AT(url), strlen(url), AT(table), 1, 0, 0, 0, 0, AT(out)));
  for (int at = 0; at < 150; at++) table[4 * at] = AT("x"), table[4 * at + 1] = 1, table[4 * at + 2] = AT(buffer), table[4 * at + 3] = 1000;
  say("headers too large together", http_send(AT("GET"), 3, AT(url), strlen(url), AT(table), 150, 0, 0, 0, 0, AT(out)));
  say("body outside", http_send(AT("POST"), 4, AT(url), strlen(url), 0, 0, end - 1, 2, 0, 0, AT(out)));
  say("body of 4 GiB", http_send(AT("POST"), 4, AT(url), strlen(url), 0, 0, 0, 0xffffffff, 0, 0, AT(out)));
  say("answer outside", get(end - 4));
  say("answer at the top", get(0xfffffffc));
  say("no method", http_send(0, 0, AT(url), strlen(url), 0, 0, 0, 0, 0, 0, AT(out)));
  say("no url", http_send(AT("GET"), 3, 0, 0, 0, 0, 0, 0, 0, 0, AT(out)));
  say("error outside", http_error(end, 10, AT(&size)));
  say("error's size outside", http_error(AT(buffer), sizeof buffer, end));
  say("error in too little room", http_error(AT(buffer), 1, AT(&size)));
  // Handles that are none.
  say("headers of nothing", http_headers(0, AT(buffer), sizeof buffer, AT(&size)));
  say("read of nothing", http_read(1, AT(buffer), sizeof buffer, AT(&size)));
  say("read of -1", http_read(0xffffffff, AT(buffer), sizeof buffer, AT(&size)));
  say("close of nothing", http_close(1));
  // A response, read in every odd way.
  say("get", get(AT(out)));
  uint32_t handle = out[0];
  say("headers without room", http_headers(handle, AT(buffer), 0, AT(&size)));
  uint32_t wanted = size;
  say("headers in just too little room", http_headers(handle, AT(buffer), wanted - 1, AT(&size)));
  say("headers in just enough", http_headers(handle, AT(buffer), wanted, AT(&size)));
  say("headers outside of the memory", http_headers(handle, end - 1, wanted, AT(&size)));
  say("read outside", http_read(handle, end - 1, 2, AT(&size)));
  say("read with its size outside", http_read(handle, AT(buffer), 1, end));
  say("read of nothing at all", http_read(handle, AT(buffer), 0, AT(&size)));
  say("read of one byte", http_read(handle, AT(buffer), 1, AT(&size)));
  printf("size: %u, \"%c\"\n", (unsigned)size, buffer[0]);
  // The memory grows while the guest waits for the rest, and views of the old one are no use.
  char *more = malloc(1 << 20);
  say("read into new memory", http_read(handle, AT(more), 1 << 20, AT(&size)));
  printf("size: %u, \"%.*s\"\n", (unsigned)size, (int)size, more);
  say("read at the end", http_read(handle, AT(buffer), 10, AT(&size)));
  printf("size: %u\n", (unsigned)size);
  say("read after the end", http_read(handle, AT(buffer), 10, AT(&size)));
  say("close", http_close(handle));
  say("close again", http_close(handle));
  say("read when closed", http_read(handle, AT(buffer), 10, AT(&size)));
  // An answer that overlaps what was asked.
  char *own = malloc(strlen(url) + 1);
  strcpy(own, url);
  say("answer over the url", http_send(AT("GET"), 3, AT(own), strlen(url), 0, 0, 0, 0, 0, 0, AT(own)));
  uint32_t *answer = (uint32_t *)(void *)own;
  printf("status: %u\n", (unsigned)answer[1]);
  return 0;
}
