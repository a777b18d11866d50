#include "hostile.h"

/* One byte a write, on both streams. */
void _start(void) {
  struct { const char *at; u32 size; } vector = {"x", 1};
  u32 done;
  for (;;) fd_write(1, &vector, 1, &done), fd_write(2, &vector, 1, &done);
}
