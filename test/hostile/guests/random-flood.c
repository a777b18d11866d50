#include "hostile.h"

/* Randomness without end, a whole memory at a time. */
void _start(void) {
  __builtin_wasm_memory_grow(0, 2000);
  for (;;) random_get((void *)131072, 2000u << 16);
}
