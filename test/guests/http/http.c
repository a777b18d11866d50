// A small HTTP client. `http METHOD URL [option value]…` prints the status and the body.
//   -H "name: value"  a header (also with $NAME for a variable of the environment)
//   -d text           the body (also with $NAME)
//   -z count          a body of so many bytes
//   -r count          redirects to follow
//   -t ms             timeout
//   -n count          requests one after the other; the body of the last is printed
//   -b bytes          size of the buffer to read with
//   -i 1              prints the response's headers as well
//   -q 1              prints how many bytes the body has instead of the body
//   -m path           writes all of the guest's memory there at the end
//   -c 0             closes no response
//   -k count          responses to keep open, unread
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../../include/atalanta_http.h"

static void fail(const char *call, int number) {
  static char text[4096];
  size_t size = 0;
  if (atalanta_http_error(text, sizeof text, &size) != 0) size = 0;
  printf("%s: errno %d: %.*s\n", call, number, (int)size, text);
  exit(3);
}

// Puts in a variable of the environment for each $NAME.
static char *expanded(const char *text) {
  size_t room = strlen(text) + 4096, at = 0;
  char *to = malloc(room);
  while (*text) {
    char name[64];
    size_t length = strspn(text + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_");
    const char *value = NULL;
    if (*text == '$' && length > 0 && length < sizeof name) {
      memcpy(name, text + 1, length);
      name[length] = 0;
      value = getenv(name);
    }
    if (value) {
      at += (size_t)snprintf(to + at, room - at, "%s", value);
      text += 1 + length;
    } else {
      to[at++] = *text++;
    }
  }
  to[at] = 0;
  return to;
}

static void write_memory(const char *path) {
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  size_t end = __builtin_wasm_memory_size(0) * 65536;
  // The compiler knows that nothing lies at 0.
  for (size_t at = 16; at < end;) {
    ssize_t done = write(file, (const char *)at, end - at);
    if (done <= 0) exit(4);
    at += (size_t)done;
  }
  close(file);
}

int main(int count, char **arguments) {
  if (count < 3) return 64;
  static atalanta_http_header headers[256];
  size_t header_count = 0, body_length = 0, buffer_length = 65536;
  char *body = NULL, *memory = NULL;
  unsigned redirects = 0, timeout = 0, times = 1, show = 0, quiet = 0, keep = 0, closing = 1;
  for (int at = 3; at + 1 < count; at += 2) {
    char *value = arguments[at + 1];
    switch (arguments[at][1]) {
      case 'H': {
        char *text = expanded(value);
        char *colon = strchr(text, ':');
        if (!colon) return 64;
        headers[header_count++] = (atalanta_http_header){text, (size_t)(colon - text), colon + 1, strlen(colon + 1)};
        break;
      }
      case 'd': body = expanded(value), body_length = strlen(body); break;
      case 'z': body_length = strtoul(value, NULL, 10), body = calloc(1, body_length + 1); break;
      case 'r': redirects = (unsigned)strtoul(value, NULL, 10); break;
      case 't': timeout = (unsigned)strtoul(value, NULL, 10); break;
      case 'n': times = (unsigned)strtoul(value, NULL, 10); break;
      case 'b': buffer_length = strtoul(value, NULL, 10); break;
      case 'i': show = 1; break;
      case 'q': quiet = 1; break;
      case 'm': memory = value; break;
      case 'c': closing = value[0] != '0'; break;
      case 'k': keep = (unsigned)strtoul(value, NULL, 10); break;
      default: return 64;
    }
  }
  char *buffer = malloc(buffer_length);
  char *url = expanded(arguments[2]);
  atalanta_http_response response = {0, 0};
  for (unsigned round = 0; round < times + keep; round++) {
    int number = atalanta_http_send(arguments[1], strlen(arguments[1]), url, strlen(url), headers, header_count, body,
                                    body_length, timeout, redirects, &response);
    if (number != 0) {
      if (round > 0) printf("after %u: ", round);
      fail("send", number);
    }
    if (round < keep) continue;
    if (round + 1 == times + keep) printf("%u\n", (unsigned)response.status);
    if (show) {
      static char text[65536];
      size_t size = 0;
      number = atalanta_http_headers(response.handle, text, sizeof text, &size);
      if (number != 0) fail("headers", number);
      printf("%.*s\n", (int)size, text);
    }
    size_t total = 0;
    for (;;) {
      size_t size = 0;
      number = atalanta_http_read(response.handle, buffer, buffer_length, &size);
      if (number != 0) {
        printf("after %zu bytes: ", total);
        fail("read", number);
      }
      if (size == 0) break;
      total += size;
      if (!quiet && round + 1 == times + keep) fwrite(buffer, 1, size, stdout);
    }
    if (quiet && round + 1 == times + keep) printf("%zu bytes", total);
    number = closing ? atalanta_http_close(response.handle) : 0;
    if (number != 0) fail("close", number);
  }
  fflush(stdout);
  if (memory) write_memory(memory);
  return 0;
}
