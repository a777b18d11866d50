#include "hostile.h"

static char path[70000];
static void all(u32 length, const char *pattern) {
  u32 size = length_of(pattern);
  for (u32 i = 0; i < length; i++) path[i] = pattern[i % size];
  everywhere_at(top, path, length);
}
/* Long names, long paths, and paths of thousands of parts. */
void _start(void) {
  all(256, "n");
  all(4096, "n");
  all(4096, "./");
  all(4095, "./");
  all(4097, "./");
  all(4096, "../");
  all(4096, "d/");
  all(65536, "/");
  all(65536, "a/");
  all(65537, "a/");
  all(70000, ".");
}
