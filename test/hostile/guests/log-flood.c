#include "hostile.h"

/* As much output as goes, in large blocks, by 1,000 vectors at once. */
void _start(void) {
  static char block[65536];
  static struct { const char *at; u32 size; } vectors[1000];
  for (u32 i = 0; i < 1000; i++) vectors[i].at = block, vectors[i].size = sizeof block;
  u32 done;
  for (;;) fd_write(1, vectors, 1000, &done);
}
