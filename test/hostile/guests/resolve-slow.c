#include "hostile.h"

/* The costliest path there is: 40 links, each of which leads through 4096 bytes of dots. */
static char dots[4096];
void _start(void) {
  for (u32 i = 0; i < sizeof dots; i++) dots[i] = i & 1 ? '/' : '.';
  char name[2] = "a";
  for (u32 i = 0; i < 40; i++) {
    name[0] = 'A' + i, dots[4094] = 'A' + i + 1, dots[4095] = 0;
    path_symlink(dots, 4095, top, name, 1);
  }
  char stat[64];
  for (;;) path_filestat_get(top, follow, P("A/A/A/A/A/A/A/A/A/A/A"), stat);
}
