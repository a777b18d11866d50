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

#define A0 void
#define A1 int32_t
#define A2 A1, int32_t
#define A3 A2, int32_t
#define A4 A3, int32_t
#define A5 A4, int32_t
#define A6 A5, int32_t
#define A7 A6, int32_t
#define I(n) (int32_t)a[n]
#define L(n) a[n]
#define FUNCTIONS(F)                                                                              \
  F(args_get, (A2), (I(0), I(1)))                                                                 \
  F(args_sizes_get, (A2), (I(0), I(1)))                                                           \
  F(environ_get, (A2), (I(0), I(1)))                                                              \
  F(environ_sizes_get, (A2), (I(0), I(1)))                                                        \
  F(clock_res_get, (A2), (I(0), I(1)))                                                            \
  F(clock_time_get, (int32_t, int64_t, int32_t), (I(0), L(1), I(2)))                              \
  F(fd_advise, (int32_t, int64_t, int64_t, int32_t), (I(0), L(1), L(2), I(3)))                    \
  F(fd_allocate, (int32_t, int64_t, int64_t), (I(0), L(1), L(2)))                                 \
  F(fd_close, (A1), (I(0)))                                                                       \
  F(fd_datasync, (A1), (I(0)))                                                                    \
  F(fd_fdstat_get, (A2), (I(0), I(1)))                                                            \
  F(fd_fdstat_set_flags, (A2), (I(0), I(1)))                                                      \
  F(fd_fdstat_set_rights, (int32_t, int64_t, int64_t), (I(0), L(1), L(2)))                        \
  F(fd_filestat_get, (A2), (I(0), I(1)))                                                          \
  F(fd_filestat_set_size, (int32_t, int64_t), (I(0), L(1)))                                       \
  F(fd_filestat_set_times, (int32_t, int64_t, int64_t, int32_t), (I(0), L(1), L(2), I(3)))        \
  F(fd_pread, (A3, int64_t, int32_t), (I(0), I(1), I(2), L(3), I(4)))                             \
  F(fd_prestat_get, (A2), (I(0), I(1)))                                                           \
  F(fd_prestat_dir_name, (A3), (I(0), I(1), I(2)))                                                \
  F(fd_pwrite, (A3, int64_t, int32_t), (I(0), I(1), I(2), L(3), I(4)))                            \
  F(fd_read, (A4), (I(0), I(1), I(2), I(3)))                                                      \
  F(fd_readdir, (A3, int64_t, int32_t), (I(0), I(1), I(2), L(3), I(4)))                           \
  F(fd_renumber, (A2), (I(0), I(1)))                                                              \
  F(fd_seek, (int32_t, int64_t, int32_t, int32_t), (I(0), L(1), I(2), I(3)))                      \
  F(fd_sync, (A1), (I(0)))                                                                        \
  F(fd_tell, (A2), (I(0), I(1)))                                                                  \
  F(fd_write, (A4), (I(0), I(1), I(2), I(3)))                                                     \
  F(path_create_directory, (A3), (I(0), I(1), I(2)))                                              \
  F(path_filestat_get, (A5), (I(0), I(1), I(2), I(3), I(4)))                                      \
  F(path_filestat_set_times, (A4, int64_t, int64_t, int32_t),                                     \
    (I(0), I(1), I(2), I(3), L(4), L(5), I(6)))                                                   \
  F(path_link, (A7), (I(0), I(1), I(2), I(3), I(4), I(5), I(6)))                                  \
  F(path_open, (A5, int64_t, int64_t, int32_t, int32_t),                                          \
    (I(0), I(1), I(2), I(3), I(4), L(5), L(6), I(7), I(8)))                                       \
  F(path_readlink, (A6), (I(0), I(1), I(2), I(3), I(4), I(5)))                                    \
  F(path_remove_directory, (A3), (I(0), I(1), I(2)))                                              \
  F(path_rename, (A6), (I(0), I(1), I(2), I(3), I(4), I(5)))                                      \
  F(path_symlink, (A5), (I(0), I(1), I(2), I(3), I(4)))                                           \
  F(path_unlink_file, (A3), (I(0), I(1), I(2)))                                                   \
  F(poll_oneoff, (A4), (I(0), I(1), I(2), I(3)))                                                  \
  F(proc_raise, (A1), (I(0)))                                                                     \
  F(random_get, (A2), (I(0), I(1)))                                                               \
  F(sched_yield, (A0), ())                                                                        \
  F(sock_accept, (A3), (I(0), I(1), I(2)))                                                        \
  F(sock_recv, (A6), (I(0), I(1), I(2), I(3), I(4), I(5)))                                        \
  F(sock_send, (A5), (I(0), I(1), I(2), I(3), I(4)))                                              \
  F(sock_shutdown, (A2), (I(0), I(1)))

#define IMPORT(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name)))
#define DECLARE(name, parameters, arguments)                                                      \
  IMPORT(name) int32_t raw_##name parameters;                                                     \
  static int32_t call_##name(const int64_t *a) { (void)a; return raw_##name arguments; }
FUNCTIONS(DECLARE)
IMPORT(proc_exit) _Noreturn void raw_proc_exit(int32_t);

#define ENTRY(name, parameters, arguments) {#name, call_##name},
static const struct {
  const char *name;
  int32_t (*call)(const int64_t *);
} functions[] = {FUNCTIONS(ENTRY)};

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
