/* What the guests in C share: preview 1 without a C library, so that nothing checks their arguments before the sandbox does. */
#pragma once
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned u32;
typedef unsigned long long u64;

#define WASI(result, name, ...)                                                                   \
  __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name))) result name(__VA_ARGS__);

WASI(u32, clock_res_get, u32 id, void *to)
WASI(u32, clock_time_get, u32 id, u64 precision, void *to)
WASI(u32, environ_sizes_get, void *count, void *size)
WASI(u32, fd_allocate, u32 fd, u64 from, u64 length)
WASI(u32, fd_close, u32 fd)
WASI(u32, fd_fdstat_get, u32 fd, void *to)
WASI(u32, fd_fdstat_set_rights, u32 fd, u64 base, u64 inheriting)
WASI(u32, fd_filestat_get, u32 fd, void *to)
WASI(u32, fd_filestat_set_size, u32 fd, u64 size)
WASI(u32, fd_filestat_set_times, u32 fd, u64 access, u64 modified, u32 flags)
WASI(u32, fd_pread, u32 fd, const void *vectors, u32 count, u64 offset, void *done)
WASI(u32, fd_prestat_dir_name, u32 fd, void *to, u32 length)
WASI(u32, fd_prestat_get, u32 fd, void *to)
WASI(u32, fd_pwrite, u32 fd, const void *vectors, u32 count, u64 offset, void *done)
WASI(u32, fd_read, u32 fd, const void *vectors, u32 count, void *done)
WASI(u32, fd_readdir, u32 fd, void *to, u32 length, u64 cookie, void *done)
WASI(u32, fd_renumber, u32 from, u32 to)
WASI(u32, fd_seek, u32 fd, u64 delta, u32 whence, void *to)
WASI(u32, fd_write, u32 fd, const void *vectors, u32 count, void *done)
WASI(u32, path_create_directory, u32 fd, const void *path, u32 length)
WASI(u32, path_filestat_get, u32 fd, u32 follow, const void *path, u32 length, void *to)
WASI(u32, path_filestat_set_times, u32 fd, u32 follow, const void *path, u32 length, u64 access, u64 modified, u32 flags)
WASI(u32, path_link, u32 fd, u32 follow, const void *path, u32 length, u32 to_fd, const void *to, u32 to_length)
WASI(u32, path_open, u32 fd, u32 follow, const void *path, u32 length, u32 flags, u64 base, u64 inheriting, u32 fd_flags, void *opened)
WASI(u32, path_readlink, u32 fd, const void *path, u32 length, void *to, u32 room, void *done)
WASI(u32, path_remove_directory, u32 fd, const void *path, u32 length)
WASI(u32, path_rename, u32 fd, const void *path, u32 length, u32 to_fd, const void *to, u32 to_length)
WASI(u32, path_symlink, const void *target, u32 target_length, u32 fd, const void *path, u32 length)
WASI(u32, path_unlink_file, u32 fd, const void *path, u32 length)
WASI(u32, poll_oneoff, const void *from, void *to, u32 count, void *done)
WASI(__attribute__((noreturn)) void, proc_exit, u32 code)
WASI(u32, random_get, void *to, u32 length)
WASI(u32, sched_yield, void)

enum { creat = 1, directory = 2, excl = 4, trunc = 8, follow = 1, top = 3 };
#define all_rights 0x1fffffffULL
#define read_rights 2ULL
/* All but those that write to a file, which a directory is refused with. */
#define folder_rights (all_rights & ~((1ULL << 6) | (1ULL << 8) | (1ULL << 22)))
#define P(path) (path), (sizeof(path) - 1)

static u32 length_of(const char *text) {
  u32 length = 0;
  while (text[length]) length++;
  return length;
}

static char line[1 << 14];
static u32 used;

static void flush(void) {
  struct { const char *at; u32 size; } vector = {line, used};
  u32 done;
  fd_write(1, &vector, 1, &done);
  used = 0;
}
static void put(char c) {
  line[used++] = c;
  if (c == '\n' || used == sizeof line) flush();
}
static void say(const char *text) {
  while (*text) put(*text++);
}
static void say_number(u64 value) {
  char digits[20];
  int count = 0;
  do digits[count++] = '0' + value % 10; while (value /= 10);
  while (count) put(digits[--count]);
}
/* Bytes of a path; what is not plain ASCII as \xNN, and no more than 60 of them. */
static void say_path(const char *path, u32 length) {
  put('"');
  for (u32 i = 0; i < length && i < 60; i++) {
    u8 c = path[i];
    if (c >= 32 && c < 127) put(c);
    else say("\\x"), put("0123456789abcdef"[c >> 4]), put("0123456789abcdef"[c & 15]);
  }
  put('"');
  if (length > 60) say(" and "), say_number(length - 60), say(" more");
}

static void say_errno(u32 number) {
  static const char *const names[] = {
      [0] = "done", [2] = "acces", [8] = "badf", [10] = "busy", [20] = "exist", [21] = "fault", [22] = "fbig", [25] = "ilseq",
      [28] = "inval", [29] = "io", [31] = "isdir", [32] = "loop", [33] = "mfile", [34] = "mlink", [37] = "nametoolong",
      [44] = "noent", [48] = "nomem", [51] = "nospc", [54] = "notdir", [55] = "notempty", [57] = "notsock",
      [58] = "notsup", [61] = "overflow", [63] = "perm", [69] = "rofs", [70] = "spipe", [75] = "xdev", [76] = "notcapable"};
  if (number < sizeof names / sizeof *names && names[number]) say(names[number]);
  else say("errno "), say_number(number);
}
static void report(const char *what, u32 number) {
  say(what), say(": "), say_errno(number), put('\n');
}

static u32 open_at(u32 fd, const char *path, u32 length, u32 flags, u64 rights, u32 *opened) {
  return path_open(fd, follow, path, length, flags, rights, rights, 0, opened);
}
/* Makes a file with a text in it; returns its descriptor, or 0xffffffff. */
__attribute__((unused)) static u32 make_file(const char *path, const char *text) {
  u32 fd, done;
  if (open_at(top, path, length_of(path), creat, all_rights, &fd)) return -1;
  struct { const char *at; u32 size; } vector = {text, length_of(text)};
  fd_write(fd, &vector, 1, &done);
  return fd;
}
/* Prints what a file holds: the proof when something was let through. */
__attribute__((unused)) static void say_file(u32 fd) {
  char block[256];
  struct { char *at; u32 size; } vector = {block, sizeof block};
  u32 done = 0;
  u32 number = fd_pread(fd, &vector, 1, 0, &done);
  if (number) say_errno(number);
  else say("holds "), say_path(block, done);
}

/* Tries one path in every function that takes one, and prints the answers: one word when all are the same. */
__attribute__((unused)) static void everywhere_at(u32 fd, const char *path, u32 length) {
  static const char *const names[] = {"open", "create", "list", "stat", "times", "readlink", "mkdir", "symlink",
                                      "link from", "link to", "rename from", "rename to", "rmdir", "unlink"};
  u32 opened[3] = {0, 0, 0}, done;
  char room[256];
  u32 source = 0;
  open_at(top, P("source"), creat, all_rights, &source), fd_close(source);
  u32 got[] = {
      open_at(fd, path, length, 0, read_rights, &opened[0]),
      open_at(fd, path, length, creat, all_rights, &opened[1]),
      open_at(fd, path, length, directory, read_rights, &opened[2]),
      path_filestat_get(fd, follow, path, length, room),
      path_filestat_set_times(fd, follow, path, length, 0, 0, 4),
      path_readlink(fd, path, length, room, sizeof room, &done),
      path_create_directory(fd, path, length),
      path_symlink(P("source"), fd, path, length),
      path_link(fd, follow, path, length, top, P("linked")),
      path_link(top, 0, P("source"), fd, path, length),
      path_rename(fd, path, length, top, P("renamed")),
      path_rename(top, P("source"), fd, path, length),
      path_remove_directory(fd, path, length),
      path_unlink_file(fd, path, length),
  };
  enum { count = sizeof got / sizeof *got };
  path_unlink_file(top, P("linked")), path_unlink_file(top, P("renamed")), path_unlink_file(top, P("source"));
  say_path(path, length), say(": ");
  int same = 1;
  for (u32 i = 1; i < count; i++) same &= got[i] == got[0];
  if (same) say("always "), say_errno(got[0]);
  for (u32 i = 0; !same && i < count; i++) {
    if (i) say(", ");
    say(names[i]), put(' '), say_errno(got[i]);
    if (i == 0 && !got[i]) put(' '), say_file(opened[0]);
  }
  put('\n');
  for (u32 i = 0; i < 3; i++) if (opened[i]) fd_close(opened[i]);
}
#define everywhere(path) everywhere_at(top, path, sizeof(path) - 1)
