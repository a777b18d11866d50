/* Every function of preview 1 with every pointer at every edge. A call must answer; where the place does not lie in memory it must
   answer with an error, and nothing outside the place that was named may change. */
typedef unsigned char u8;
typedef unsigned u32;
typedef unsigned long long u64;

/* p: a pointer to BYTES that the call reads or writes; P: a pointer to a path, whose length follows; V: to vectors, whose count follows;
   n: the length of the `b` before it; i: any number of 32 bits; I: of 64. The digits after `p` are the bytes that it needs. */
#define i u32
#define I u64
#define FUNCTIONS(F)                                                                              \
  F(args_get, "p4b0", (i, i), (A, B))                                                             \
  F(args_sizes_get, "p4p4", (i, i), (A, B))                                                       \
  F(environ_get, "b0b0", (i, i), (A, B))                                                          \
  F(environ_sizes_get, "p4p4", (i, i), (A, B))                                                    \
  F(clock_res_get, "ip8", (i, i), (A, B))                                                         \
  F(clock_time_get, "iIp8", (i, I, i), (A, B, C))                                                 \
  F(fd_advise, "fIIi", (i, I, I, i), (A, B, C, D))                                                \
  F(fd_allocate, "fII", (i, I, I), (A, B, C))                                                     \
  F(fd_close, "x", (i), (A))                                                                      \
  F(fd_datasync, "f", (i), (A))                                                                   \
  F(fd_fdstat_get, "fp24", (i, i), (A, B))                                                        \
  F(fd_fdstat_set_flags, "fi", (i, i), (A, B))                                                    \
  F(fd_fdstat_set_rights, "xII", (i, I, I), (A, B, C))                                            \
  F(fd_filestat_get, "fp64", (i, i), (A, B))                                                      \
  F(fd_filestat_set_size, "fI", (i, I), (A, B))                                                   \
  F(fd_filestat_set_times, "fIIi", (i, I, I, i), (A, B, C, D))                                    \
  F(fd_pread, "fVcIp4", (i, i, i, I, i), (A, B, C, D, E))                                         \
  F(fd_prestat_get, "tp8", (i, i), (A, B))                                                        \
  F(fd_prestat_dir_name, "tb2n", (i, i, i), (A, B, C))                                            \
  F(fd_pwrite, "fVcIp4", (i, i, i, I, i), (A, B, C, D, E))                                        \
  F(fd_read, "fVcp4", (i, i, i, i), (A, B, C, D))                                                 \
  F(fd_readdir, "tb64nIp4", (i, i, i, I, i), (A, B, C, D, E))                                     \
  F(fd_renumber, "ff", (i, i), (A, B))                                                            \
  F(fd_seek, "fIip8", (i, I, i, i), (A, B, C, D))                                                 \
  F(fd_sync, "f", (i), (A))                                                                       \
  F(fd_tell, "fp8", (i, i), (A, B))                                                               \
  F(fd_write, "fVcp4", (i, i, i, i), (A, B, C, D))                                                \
  F(path_create_directory, "tPl", (i, i, i), (A, B, C))                                           \
  F(path_filestat_get, "tiPlp64", (i, i, i, i, i), (A, B, C, D, E))                               \
  F(path_filestat_set_times, "tiPlIIi", (i, i, i, i, I, I, i), (A, B, C, D, E, G, H))             \
  F(path_link, "tiPltPl", (i, i, i, i, i, i, i), (A, B, C, D, E, G, H))                           \
  F(path_open, "tiPliIIip4", (i, i, i, i, i, I, I, i, i), (A, B, C, D, E, G, H, J, K))            \
  F(path_readlink, "tLlb1np4", (i, i, i, i, i, i), (A, B, C, D, E, G))                            \
  F(path_remove_directory, "tPl", (i, i, i), (A, B, C))                                           \
  F(path_rename, "tPltPl", (i, i, i, i, i, i), (A, B, C, D, E, G))                                \
  F(path_symlink, "PltPl", (i, i, i, i, i), (A, B, C, D, E))                                      \
  F(path_unlink_file, "tPl", (i, i, i), (A, B, C))                                                \
  F(poll_oneoff, "S48e32op4", (i, i, i, i), (A, B, C, D))                                         \
  F(proc_raise, "i", (i), (A))                                                                    \
  F(random_get, "b16n", (i, i), (A, B))                                                           \
  F(sched_yield, "", (void), ())                                                                  \
  F(sock_accept, "fip4", (i, i, i), (A, B, C))                                                    \
  F(sock_recv, "fVcip4p4", (i, i, i, i, i, i), (A, B, C, D, E, G))                                \
  F(sock_send, "fVcip4", (i, i, i, i, i), (A, B, C, D, E))                                        \
  F(sock_shutdown, "fi", (i, i), (A, B))
#define A v[0]
#define B v[1]
#define C v[2]
#define D v[3]
#define E v[4]
#define G v[5]
#define H v[6]
#define J v[7]
#define K v[8]
#define DECLARE(name, shape, parameters, values)                                                  \
  __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name))) u32 name parameters; \
  static u32 call_##name(const u64 *v) { (void)v; return name values; }
FUNCTIONS(DECLARE)
#undef i
#undef I
__attribute__((import_module("wasi_snapshot_preview1"), import_name("proc_exit"))) void proc_exit(u32 code);

#define ROW(name, shape, parameters, values) {#name, shape, call_##name},
static const struct { const char *name, *shape; u32 (*call)(const u64 *); } functions[] = {FUNCTIONS(ROW)};
enum { count = sizeof functions / sizeof *functions, success = 0, fault = 21 };

/* Two pages of canaries before the last page, which is the room for what calls may write. */
enum { whole = 9, canaries = 1 << 16, room = 3 << 16, end = 4 << 16 };
static u8 text[4096];
static u32 used, calls, wrong;

static void put(const char *what) { while (*what) text[used++] = *what++; }
static void put_number(u64 value) {
  char digits[21], *at = digits + 20;
  *at = 0;
  do *--at = '0' + value % 10; while (value /= 10);
  put(at);
}
static void print(void) {
  struct { u8 *at; u32 size; } vector = {text, used};
  u32 done;
  fd_write(1, (u32)&vector, 1, (u32)&done);
  used = 0;
}
static void *fill(void *to, u32 value, u32 length) {
  for (u32 at = 0; at < length; at++) ((u8 *)to)[at] = value;
  return to;
}

/* A valid place for one argument: pointers to places of their own, so that no two overlap. */
static u64 valid(const char *shape, u32 place) {
  u32 at = room + place * 1024;
  switch (*shape) {
  case 'f': return 4;
  case 't': return 3;
  case 'x': return 99;
  case 'c': case 'o': return 1;
  case 'l': return 1;
  case 'n': return shape[-1] >= '0' ? 64 : 0;
  case 'P': *(u8 *)at = 'a' + place; return at;
  case 'L': *(u8 *)at = 'l'; return at;
  case 'V': ((u32 *)at)[0] = at + 512, ((u32 *)at)[1] = 8; return at;
  case 'S': fill((void *)at, 0, 48); *(u8 *)(at + 8) = 1; return at;
  case 'p': case 'b': case 'e': return at;
  default: return 0;
  }
}
static int is_pointer(char c) { return c == 'p' || c == 'b' || c == 'P' || c == 'L' || c == 'V' || c == 'S' || c == 'e'; }

static void complain(u32 function, const char *what, u32 argument, u64 value, u32 got) {
  if (++wrong > 20) return;
  put(functions[function].name), put(" argument "), put_number(argument), put(" = "), put_number(value);
  put(": "), put(what), put(" "), put_number(got), put("\n"), print();
}
static int canaries_are_gone(void) {
  for (u64 *at = (u64 *)canaries; at < (u64 *)room; at++) if (*at != 0xa5a5a5a5a5a5a5a5) return 1;
  return 0;
}

/* Calls once with one argument replaced. `needs`: bytes that must lie in memory from there on; 0 when that is not known. */
static void once(u32 function, const u64 *v, u32 argument, u32 needs) {
  /* What lies at the end is read as vectors, too: not what an earlier call has left there. */
  if (v[argument] >= room + 16384) fill((void *)(end - 256), 0, 256);
  u32 got = functions[function].call(v);
  calls++;
  if (got > 76) complain(function, "answered", argument, v[argument], got);
  if (needs && (u32)v[argument] + (u64)needs > end && got == success) complain(function, "was content", argument, v[argument], got);
  if ((calls & 63) == 0 && canaries_are_gone()) complain(function, "wrote elsewhere", argument, v[argument], got), proc_exit(1);
}

static void try_function(u32 function) {
  static const u32 edges[] = {0, 1, 3, end - 65, end - 64, end - 48, end - 24, end - 8, end - 7, end - 4, end - 3, end - 1, end, end + 1,
                              0x7fffffff, 0x80000000, 0x80000001, 0xffff0000, 0xfffffff0, 0xfffffffc, 0xffffffff};
  enum { edge_count = sizeof edges / sizeof *edges };
  const char *arguments[9];
  u32 needs[9] = {0}, n = 0;
  u64 v[10];
  for (const char *at = functions[function].shape; *at; at++) {
    if (*at >= '0' && *at <= '9') needs[n - 1] = needs[n - 1] * 10 + (*at - '0');
    else arguments[n++] = at;
  }
  for (u32 a = 0; a < n; a++) {
    char kind = *arguments[a];
    if (kind == 'P' || kind == 'L') needs[a] = 1;
    if (kind == 'V') needs[a] = 8;
    for (u32 edge = 0; edge < edge_count; edge++) {
      if (kind == 'x') break;
      for (u32 at = 0; at < n; at++) v[at] = valid(arguments[at], at);
      /* What lies below the canaries is this program; only a pointer that is read may point there. */
      if (is_pointer(kind) && edges[edge] < canaries && kind != 'P' && kind != 'L' && kind != 'S') continue;
      v[a] = edges[edge];
      once(function, v, a, is_pointer(kind) ? needs[a] : 0);
      /* The pointer of a vector, with lengths that go over the end and round it. */
      if (kind != 'V') continue;
      for (u32 length = 0; length < 4; length++) {
        static const u32 lengths[] = {0, 1, 0x80000000, 0xffffffff};
        u32 *vector = (u32 *)valid(arguments[a], a);
        if (edges[edge] < canaries && functions[function].name[3] != 'w') continue;
        for (u32 at = 0; at < n; at++) v[at] = valid(arguments[at], at);
        vector[0] = edges[edge], vector[1] = lengths[length];
        once(function, v, a, 0);
        /* Vectors that lie in themselves, and all results in one place. */
        vector[0] = (u32)vector, vector[1] = 64;
        v[a + 1] = 2;
        for (u32 at = 0; at < n; at++) if (*arguments[at] == 'p') v[at] = (u32)vector + length * 2;
        once(function, v, a, 0);
      }
    }
    /* Lengths and counts at every edge, beside valid pointers. */
    if (kind == 'n' || kind == 'l' || kind == 'c' || kind == 'o') {
      static const u32 more[] = {2, 1024, 1025, 65536, 65537, 1 << 28, (1u << 29) + 1, 89478486};
      for (u32 at = 0; at < 8; at++) {
        for (u32 b = 0; b < n; b++) v[b] = valid(arguments[b], b);
        v[a] = more[at];
        once(function, v, a, 0);
      }
    }
  }
  /* All pointers at one place, the last bytes of memory, and overlapping by one. */
  for (u32 step = 0; step < 9; step++) {
    for (u32 at = 0; at < n; at++) {
      v[at] = valid(arguments[at], at);
      if (is_pointer(*arguments[at])) v[at] = end - 80 - at * step;
    }
    v[whole] = end;
    once(function, v, whole, 0);
  }
}

void _start(void) {
  __builtin_wasm_memory_grow(0, end / 65536 - __builtin_wasm_memory_size(0));
  fill((void *)canaries, 0xa5, room - canaries);
  u32 *opened = (u32 *)room;
  *(u8 *)(room + 64) = 'o';
  path_open(3, 0, room + 64, 1, 1, 0x1fffffff, 0x1fffffff, 0, (u32)opened);
  for (u32 function = 0; function < count; function++) {
    if (functions[function].call == call_fd_renumber) continue;
    try_function(function);
    if (canaries_are_gone()) complain(function, "wrote elsewhere", 0, 0, 0), proc_exit(1);
  }
  put_number(count + 1), put(" functions, "), put_number(calls), put(" calls, "), put_number(wrong), put(" wrong\n"), print();
  proc_exit(wrong > 0);
}
