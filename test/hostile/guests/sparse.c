#include "hostile.h"

/* Sizes and places far beyond what a file may have. */
void _start(void) {
  static const u64 sizes[] = {1ULL << 31, 1ULL << 32, (1ULL << 53) - 1, 1ULL << 53, 1ULL << 62, (1ULL << 63) - 1, 1ULL << 63, ~0ULL};
  u32 fd = make_file("f", "x"), done, number;
  u64 at;
  struct { const char *at; u32 size; } vector = {"y", 1};
  for (u32 i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    say_number(sizes[i]), say(": size "), say_errno(fd_filestat_set_size(fd, sizes[i]));
    say(", allocate "), say_errno(fd_allocate(fd, 0, sizes[i]));
    say(", allocate from there "), say_errno(fd_allocate(fd, sizes[i], sizes[i]));
    say(", pwrite "), say_errno(fd_pwrite(fd, &vector, 1, sizes[i], &done));
    say(", pread "), say_errno(fd_pread(fd, &vector, 1, sizes[i], &done));
    say(", seek "), say_errno(number = fd_seek(fd, sizes[i], 0, &at));
    if (!number) say(", write "), say_errno(fd_write(fd, &vector, 1, &done));
    put('\n');
  }
  char stat[64];
  fd_filestat_get(fd, stat);
  say("size "), say_number(*(u64 *)(stat + 32)), put('\n');
}
