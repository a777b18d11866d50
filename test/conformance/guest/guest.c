/* Makes the calls of preview 1 that its second argument lists, one step a line, and tells on descriptor 2 what came of each.
 * Descriptors 0 and 1 are left to the calls. There is no library between: what a call answers is what is told.
 *   s OFFSET HEX     bytes into the scratch memory
 *   f OFFSET COUNT BYTE  the same byte many times
 *   p OFFSET N       the address of scratch byte N into four bytes
 *   k OFFSET N       copies four bytes from scratch byte N
 *   g OFFSET COUNT   tells bytes of the scratch memory, as hex
 *   c NAME ARGUMENT...   tells the errno. An argument is a number, @N (the address of scratch byte N),
 *                    *N (the 32-bit number at scratch byte N) or &N (the 64-bit one)
 *   m PAGES          grows the memory; tells the pages before
 *   x CODE           proc_exit */
#include <stddef.h>
#include <stdint.h>

#define SCRATCH (1 << 20)
static unsigned char scratch[SCRATCH] __attribute__((aligned(16)));
static char script[1 << 20];

#include "../../guests/preview1.h"

IMPORT(proc_exit) _Noreturn void raw_proc_exit(int32_t);

/* Asked for by the compiler. */
void *memset(void *to, int byte, size_t count) {
  for (unsigned char *at = to; count > 0; count--) *at++ = (unsigned char)byte;
  return to;
}

static unsigned char told[1 << 16];
static size_t tellable;

static void flush(void) {
  for (size_t done = 0; done < tellable;) {
    struct { const unsigned char *from; size_t length; } part = {told + done, tellable - done};
    size_t count;
    if (raw_fd_write(2, (int32_t)&part, 1, (int32_t)&count)) __builtin_trap();
    done += count;
  }
  tellable = 0;
}

static void tell(char c) {
  told[tellable++] = (unsigned char)c;
  if (tellable == sizeof told) flush();
}

static void tell_number(int32_t value) {
  char digits[12];
  int count = 0;
  do digits[count++] = (char)('0' + value % 10); while (value /= 10);
  while (count) tell(digits[--count]);
  tell('\n');
}

static const char *at;
static void skip(void) { while (*at == ' ') at++; }
static int ends(void) { skip(); return *at == '\n' || !*at; }
static int digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

static int64_t number(void) {
  skip();
  char kind = *at;
  if (kind == '@' || kind == '*' || kind == '&') at++;
  int negative = *at == '-';
  if (negative) at++;
  uint64_t value = 0;
  while (*at >= '0' && *at <= '9') value = value * 10 + (uint64_t)(*at++ - '0');
  if (negative) value = -value;
  if (kind == '@') return (int64_t)(intptr_t)(scratch + value);
  if (kind == '*') return *(uint32_t *)(scratch + value);
  if (kind == '&') return *(int64_t *)(scratch + value);
  return (int64_t)value;
}

static void call(void) {
  skip();
  const char *name = at;
  while (*at != ' ' && *at != '\n' && *at) at++;
  size_t length = (size_t)(at - name), which = 0, count = sizeof functions / sizeof *functions;
  for (; which < count; which++) {
    const char *known = functions[which].name;
    size_t i = 0;
    while (i < length && known[i] == name[i]) i++;
    if (i == length && !known[i]) break;
  }
  if (which == count) __builtin_trap();
  int64_t a[9] = {0};
  for (int i = 0; i < 9 && !ends(); i++) a[i] = number();
  flush();
  tell_number(functions[which].call(a));
}

void _start(void) {
  static char *arguments[16];
  if (raw_args_get((int32_t)arguments, (int32_t)script)) __builtin_trap();
  for (at = arguments[1]; *at; at++) {
    char what = *at++;
    if (what == 'c') call();
    else {
      int64_t offset = number();
      if (what == 'x') {
        flush();
        raw_proc_exit((int32_t)offset);
      } else if (what == 'm') {
        tell_number((int32_t)__builtin_wasm_memory_grow(0, (size_t)offset));
      } else if (what == 's') {
        for (skip(); *at && *at != '\n'; at += 2) scratch[offset++] = (unsigned char)(digit(at[0]) * 16 + digit(at[1]));
      } else if (what == 'f') {
        int64_t count = number();
        unsigned char byte = (unsigned char)number();
        while (count-- > 0) scratch[offset++] = byte;
      } else if (what == 'p') {
        *(uint32_t *)(scratch + offset) = (uint32_t)(scratch + number());
      } else if (what == 'k') {
        *(uint32_t *)(scratch + offset) = *(uint32_t *)(scratch + number());
      } else if (what == 'g') {
        for (int64_t count = number(); count-- > 0; offset++) {
          tell("0123456789abcdef"[scratch[offset] >> 4]);
          tell("0123456789abcdef"[scratch[offset] & 15]);
        }
        tell('\n');
      } else __builtin_trap();
    }
    if (!*at) break;
  }
  flush();
}
