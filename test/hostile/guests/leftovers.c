#include "hostile.h"

/* Looks for what another guest or the host left: memory, files, descriptors, variables, the arguments' room. */
extern u8 __heap_base;
void _start(void) {
  u8 found = 0;
  u32 pages = __builtin_wasm_memory_size(0);
  __builtin_wasm_memory_grow(0, 1000);
  for (u64 *at = (u64 *)(pages << 16), *end = (u64 *)((pages + 1000) << 16); at < end; at++) found |= *at != 0;
  /* Left for the next one. */
  for (u64 *at = (u64 *)(pages << 16), *end = (u64 *)((pages + 1000) << 16); at < end; at++) *at = ~0ULL;
  say("memory: "), say_number(found), put('\n');
  u32 count = 9, size = 9, fd, open = 0;
  environ_sizes_get(&count, &size);
  say("variables: "), say_number(count), put(' '), say_number(size), put('\n');
  char stat[64];
  for (fd = 0; fd < 5000; fd++) open += fd_fdstat_get(fd, stat) == 0;
  say("descriptors: "), say_number(open), put('\n');
  report("the last one's file", path_filestat_get(top, 0, P("left"), stat));
  make_file("left", "here");
}
