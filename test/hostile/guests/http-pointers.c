#include "hostile.h"

/* The five functions for HTTP, with every pointer and length at every edge, in a sandbox that has no network. */
#define HTTP(name, ...) __attribute__((import_module("atalanta_http"), import_name(#name))) u32 http_##name(__VA_ARGS__)
HTTP(send, u32 method, u32 method_length, u32 url, u32 url_length, u32 headers, u32 header_count, u32 body, u32 body_length, u32 timeout, u32 redirects, u32 response);
HTTP(headers, u32 handle, u32 buffer, u32 length, u32 size);
HTTP(read, u32 handle, u32 buffer, u32 length, u32 size);
HTTP(close, u32 handle);
HTTP(error, u32 buffer, u32 length, u32 size);

static u32 calls, sent, wrong;
static void count(u32 got) {
  calls++;
  if (got > 76) wrong++;
}
void _start(void) {
  static const char method[] = "GET", url[] = "http://169.254.169.254/latest/meta-data/";
  static u32 headers[4], response[2], size;
  static char room[256];
  u32 end = __builtin_wasm_memory_size(0) << 16;
  u32 edges[] = {0, 1, end - 9, end - 8, end - 4, end - 1, end, end + 1, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff};
  enum { edge_count = sizeof edges / sizeof *edges };
  headers[0] = (u32)"Host", headers[1] = 4, headers[2] = (u32)"evil", headers[3] = 4;
  for (u32 argument = 0; argument < 12; argument++) {
    for (u32 edge = 0; edge < edge_count; edge++) {
      u32 v[11] = {(u32)method, 3, (u32)url, sizeof url - 1, (u32)headers, 1, (u32)room, 0, 0, 0, (u32)response};
      /* A response that is written over this program's own first bytes would say nothing. */
      if (argument < 11 && !(argument == 10 && edges[edge] < 1024)) v[argument] = edges[edge];
      if (argument == 11) headers[edge & 3] = edges[edge];
      u32 got = http_send(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10]);
      if (got == 0) sent++;
      count(got);
      if (argument > 3) continue;
      u32 w[4] = {0, (u32)room, sizeof room, (u32)&size};
      if (argument && edges[edge] < end - 9) continue;
      w[argument] = edges[edge];
      count(http_headers(w[0], w[1], w[2], w[3]));
      count(http_read(w[0], w[1], w[2], w[3]));
      count(http_error(w[1], w[2], w[3]));
      if (!argument) count(http_close(w[0]));
    }
  }
  report("a plain request", http_send((u32)method, 3, (u32)url, sizeof url - 1, 0, 0, 0, 0, 0, 0, (u32)response));
  report("a response that there is not", http_read(0, (u32)room, sizeof room, (u32)&size));
  say_number(sent), say(" were sent, "), say_number(wrong), say(" wrong\n");
}
